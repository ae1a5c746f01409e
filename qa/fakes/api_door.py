"""The module's API without a socket: requests as its own server would hand them in."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from mgr_fscrypt.api.exchange import MEDIA_TYPE, ROOT, Reply, Request
from qa.fakes.manager import Loaded, loaded


class Door:
    """The site of one module, and tokens for it.

    Attributes:
        manager: whose site it is.
    """

    def __init__(self, manager: Loaded) -> None:
        self.manager = manager
        self._site = manager.module.serving.site(open_metrics=False)
        self._tokens: dict[str, str] = {}

    def token(self, role: str, tenant: str | None = None) -> str:
        """A token for a role, made when it is first asked for."""
        name = f"{role}.{tenant or 'all'}"
        if name not in self._tokens:
            reply = self.manager.run("api token create", name, role, tenant=tenant)
            assert reply.retval == 0, reply.stderr
            self._tokens[name] = reply.stdout
        return self._tokens[name]

    def send(
        self,
        method: str,
        path: str,
        role: str | None = "security-officer",
        body: object = None,
        *,
        tenant: str | None = None,
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Reply:
        """Send a request as somebody of a role; None: as nobody."""
        said = {"accept": MEDIA_TYPE, "content-type": "application/json"}
        if role is not None:
            said["authorization"] = f"Bearer {self.token(role, tenant)}"
        place, _, query = path.partition("?")
        text = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        answer: Reply = self._site.respond(
            Request(
                method=method,
                path=place,
                query=query,
                headers=said | dict(headers or {}),
                body=text,
                address="192.0.2.7",
            )
        )
        return answer

    def ask(self, path: str, role: str = "security-officer", **more: Any) -> Any:
        """What an operation that only shows answers, as JSON."""
        reply = self.send("GET", f"{ROOT}{path}", role, **more)
        assert reply.status == 200, reply.body
        return json.loads(reply.body)["value"]


def told(reply: Reply) -> Any:
    """The JSON of a reply."""
    return json.loads(reply.body)


@pytest.fixture(scope="module")
def first_manager() -> Iterator[Loaded]:
    with loaded() as found:
        yield found


@pytest.fixture
def door(first_manager: Loaded) -> Iterator[Door]:
    """The door of a module with a database in memory."""
    with first_manager.anew() as manager:
        yield Door(manager)
