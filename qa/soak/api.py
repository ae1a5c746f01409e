"""Whatever is sent to the API, it answers as it is described, and never with a mistake of its own: in full size.

One after the other: there is one server. What it cannot answer now (429, and 503 while the database is slow) is sent
again, as any client would; what it cannot answer three times is a failure.
"""

import http.client
import json
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

from qa.fakes.api_client import ACCEPT, ApiServer, served
from qa.lab.cluster import Cluster

from .state import main
from .workers import Cases

_SIZE = 20_000
_BUSY, _TOO_MANY = 503, 429
_TIMES = 3
_ROLES = ("read-only", "operator", "key-admin", "security-officer")
_TEXTS = (
    *(
        "cephfs",
        "cepfs",
        "/",
        "/a",
        "/../etc",
        "..",
        ".",
        "payroll",
        "isolate",
        "engine",
        "x" * 300,
        "/y" * 1000,
    ),
    *(
        "\x1b[2J",
        "\u202e",
        "<script>alert(1)</script>",
        "'; DROP TABLE Identity; --",
        "%2e%2e%2f",
        "a b",
        "a\nb",
    ),
    *(
        "\U0001d518",
        "5e" * 16,
        "0",
        "-1",
        "1:/a",
        "9" * 30,
        "true",
        "never",
        "90d",
        "operator",
        "vault",
        "\0",
        "",
    ),
)
_VALUES: tuple[object, ...] = (
    *_TEXTS,
    0,
    -1,
    1,
    5000,
    2**63,
    1.5,
    True,
    False,
    None,
    [],
    {},
    [[[]]],
    {"a": {"b": []}},
)
_HEADERS = (
    {"Accept": "application/json"},
    {"Accept": "*/*"},
    {"Content-Type": "text/plain"},
    {"If-Match": '"0"'},
    {"If-None-Match": "*"},
    {"Cookie": "__Host-fscrypt=x; a=b; ="},
    {"X-CSRF-Token": "x"},
)


class Sender:
    """Sends requests, and judges what comes back.

    Args:
        server: where to.
    """

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        described = server.send("GET", "/openapi.json")
        assert described.status == 200, described.body
        description = described.json
        self._operations: list[tuple[str, str, dict[str, Any]]] = [
            (method.upper(), path, operation)
            for path, item in description["paths"].items()
            for method, operation in item.items()
        ]
        place = urlsplit(server.address)
        self._connection = http.client.HTTPSConnection(
            place.hostname or "", place.port, context=server.context, timeout=60
        )

    def case(self, chance: random.Random) -> str | None:
        """One request: of an operation, with what it takes or something else."""
        method, path, operation = chance.choice(self._operations)
        query = []
        for each in operation["parameters"]:
            if each["in"] == "path":
                path = path.replace(f"{{{each['name']}}}", quote(_text(chance) or "x", safe=""))
            elif (
                each["in"] == "query"
                and (each["required"] or chance.random() < 0.4)
                and chance.random() < 0.95
            ):
                query.append(f"{each['name']}={quote(_text(chance), safe='')}")
        if chance.random() < 0.05:
            query.append(chance.choice(("nosuch=1", "%", "limit=1&limit=2", "=", "&&&", "a=%ff")))
        body = _body(chance, operation)
        headers = {"Accept": ACCEPT, "Content-Type": "application/json"}
        headers["Authorization"] = f"Bearer {self._server.token(chance.choice(_ROLES))}"
        if chance.random() < 0.1:
            headers |= chance.choice(_HEADERS)
        place = f"{path}{'?' if query else ''}{'&'.join(query)}"
        status, kind, answer = self._answered(method, place, body, headers)
        wrong = _judged(operation, status, kind, answer)
        told = f"{method} {place[:300]} {(body or b'')[:200]!r}: {status} {answer[:300]!r}"
        return f"{wrong}: {told}" if wrong else None

    def _answered(
        self, method: str, place: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, str, bytes]:
        """What the server says, once it may be asked; 503 after three times."""
        busy = 0
        while True:
            status, kind, answer = self._sent(method, place, body, headers)
            busy += status == _BUSY
            if status not in (_BUSY, _TOO_MANY) or busy == _TIMES:
                return status, kind, answer
            time.sleep(5 if status == _BUSY else 0.1)

    def _sent(
        self, method: str, place: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, str, bytes]:
        """Send it; once more on a new connection, where the old one was closed for its silence."""
        for last in (False, True):
            try:
                self._connection.request(method, place, body, headers)
                reply = self._connection.getresponse()
                return reply.status, reply.headers.get("Content-Type", ""), reply.read()
            except (http.client.HTTPException, OSError):
                self._connection.close()
                if last:
                    raise
        raise AssertionError


def _judged(operation: dict[str, Any], status: int, kind: str, answer: bytes) -> str:
    """What is wrong with an answer; empty: nothing."""
    if status not in {int(code) for code in operation["responses"]} | {304} or status >= 500:
        return "not described"
    if status == 304:
        return "a body" if answer else ""
    if kind != ACCEPT:
        return kind
    wanted = {"status", "value"} if status < 300 else {"code", "detail", "next"}
    return "" if wanted <= json.loads(answer).keys() else "another shape"


def _text(chance: random.Random) -> str:
    if chance.random() < 0.1:
        return "".join(chr(chance.choice((chance.randrange(32), chance.randrange(0xD7FF)))) for _ in range(8))
    return chance.choice(_TEXTS)


def _body(chance: random.Random, operation: dict[str, Any]) -> bytes | None:
    content = operation.get("requestBody", {}).get("content")
    if content is None:
        return b"{}" if chance.random() < 0.05 else None
    if chance.random() < 0.1:
        return chance.choice((b"", b"{", b"\xff", b"[" * 5000, b'{"a": 1, "a": 2}', b"NaN", b'"\\ud800"'))
    names = content["application/json"]["schema"].get("properties", {"kind": {}, "version": {}, "fs": {}})
    said = {name: chance.choice(_VALUES) for name in names if chance.random() < 0.6}
    if chance.random() < 0.05:
        said["nosuch"] = chance.choice(_VALUES)
    return json.dumps(said).encode()


@contextmanager
def _cases() -> Iterator[Cases]:
    with served(Cluster.current()) as server:
        yield {"requests": Sender(server).case}


if __name__ == "__main__":
    sys.exit(main("api", _SIZE, _cases, sys.argv[1:]))
