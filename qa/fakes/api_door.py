"""The module's API without a socket: requests as its own server would hand them in."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from mgr_fscrypt.api.exchange import MEDIA_TYPE, ROOT, Reply, Request
from qa.fakes.manager import Loaded, loaded

DESCRIPTION = Path(__file__).resolve().parents[2] / "doc" / "openapi.json"
_NAMED = re.compile(r"\{[a-z]+\}")


@cache
def _described() -> Mapping[str, Any]:
    """The description that is checked in, which a test compares with the one that is served."""
    return dict(json.loads(DESCRIPTION.read_text()))


@cache
def _validator(method: str, path: str, status: int) -> Draft202012Validator:
    """What holds answers of an operation, by its path in the description, against their schema."""
    answers = _described()["paths"][path][method]["responses"]
    assert str(status) in answers, f"{method} {path} answers {status}, which is not described"
    schema = answers[str(status)]["content"][MEDIA_TYPE]["schema"]
    return Draft202012Validator({**schema, "components": _described()["components"]})


def check_described(method: str, path: str, reply: Reply) -> None:
    """Hold an answer of an operation against its description; what is none is left alone."""
    fits = [each for each in _described()["paths"] if re.fullmatch(_NAMED.sub("[^/]+", each), path)]
    # a path in plain words goes before one with names
    fits.sort(key=lambda each: each.count("{"))
    method = method.lower()
    known = [each for each in fits if method in _described()["paths"][each]]
    if known and reply.headers.get("Content-Type") == MEDIA_TYPE:
        _validator(method, known[0], reply.status).validate(json.loads(reply.body))


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
        check_described(method, place, answer)
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
