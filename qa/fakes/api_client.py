"""A client of the API's own server, and the server switched on for tests."""

import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from qa.fakes.ports import free_port
from qa.lab.cluster import Cluster, ClusterError

ROOT = "/api/fscrypt"
ACCEPT = "application/vnd.ceph.api.v1.0+json"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


@dataclass
class ApiServer:
    """The API's own server of one cluster.

    Args:
        cluster: whose it is.
        address: where it listens.
        context: what is believed of it.
    """

    cluster: Cluster
    address: str
    context: ssl.SSLContext
    _tokens: dict[str, str] = field(default_factory=dict)

    def token(self, role: str) -> str:
        """A token for a role, made when it is first asked for."""
        if role not in self._tokens:
            name = f"test.{role}.{free_port()}"
            self._tokens[role] = self.cluster.ceph("fscrypt", "api", "token", "create", name, role).strip()
        return self._tokens[role]

    def forget(self) -> None:
        """Make new tokens from now on: somebody may have revoked the old ones."""
        self._tokens.clear()

    def send(
        self,
        method: str,
        path: str,
        role: str | None = "security-officer",
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        context: ssl.SSLContext | None = None,
    ) -> Answer:
        """Send a request, on a connection of its own; as somebody of a role, None: as nobody."""
        place = urlsplit(self.address)
        assert place.hostname is not None
        said = {"Accept": ACCEPT, "Content-Type": "application/json"}
        if role is not None:
            said["Authorization"] = f"Bearer {self.token(role)}"
        text = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        connection = http.client.HTTPSConnection(
            place.hostname, place.port, context=context or self.context, timeout=60
        )
        try:
            connection.request(method, path, text, said | dict(headers or {}))
            reply = connection.getresponse()
            return Answer(reply.status, dict(reply.headers), reply.read())
        finally:
            connection.close()

    def logged_in(self, role: str) -> Mapping[str, str]:
        """The cookie of a session of the pages that a token of a role began, as a header."""
        form = self.send("GET", "/login", None)
        tied = form.headers["Set-Cookie"].partition(";")[0]
        fields = urlencode({"csrf": tied.partition("=")[2], "token": self.token(role)}).encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": tied}
        reply = self.send("POST", "/login", None, fields, headers=kind)
        assert reply.status == 303, reply
        return {"Cookie": reply.headers["Set-Cookie"].partition(";")[0]}

    def page(self, path: str, cookie: Mapping[str, str]) -> str:
        """A page, in a session."""
        reply = self.send("GET", path, None, headers=cookie)
        assert reply.status == 200, reply
        return reply.body.decode()


@contextmanager
def served(cluster: Cluster, **options: str) -> Iterator[ApiServer]:
    """The server, switched on for a while, on a port that nobody else has."""
    cluster.enable_module("fscrypt")
    wanted = {"api_address": "127.0.0.1", "api_port": str(free_port()), **options, "api_server": "true"}
    for name, value in wanted.items():
        cluster.ceph("config", "set", "mgr", f"mgr/fscrypt/{name}", value)
    address = f"https://127.0.0.1:{wanted['api_port']}"

    def listens() -> bool:
        # 18.2.7's mgr crashes by itself (doc/facts.md M1)
        cluster.start("mgr", "x")
        try:
            doors = json.loads(cluster.ceph("fscrypt", "api", "show", "--format", "json", timeout=20))
        except ClusterError:
            return False
        return bool(doors["address"] == address)

    try:
        cluster.wait(f"the API at {address}", listens, timeout=120)
        yield ApiServer(cluster, address, trusting(address))
    finally:
        for name in reversed(wanted):
            cluster.ceph("config", "rm", "mgr", f"mgr/fscrypt/{name}")


def trusting(address: str) -> ssl.SSLContext:
    """Believe the certificate that is shown there now, and no other one."""
    place = urlsplit(address)
    assert place.hostname is not None
    shown = ssl.get_server_certificate((place.hostname, place.port or 443))
    return ssl.create_default_context(cadata=shown)
