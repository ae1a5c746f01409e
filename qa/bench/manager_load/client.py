"""One of those who load a manager: by commands, by requests to its API, and by looking at its pages."""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from qa.fakes.api_client import ACCEPT, ROOT, ApiServer

from .asking import Asking, NotNowError, asking


class Client:
    """One client, with connections and a name of its own."""

    def __init__(self, manager: Asking, server: ApiServer, name: str) -> None:
        self.ask = manager.ask
        made = server.send("POST", f"{ROOT}/access/tokens", body={"name": name, "role": "security-officer"})
        place = urlsplit(server.address)
        self._connection = http.client.HTTPSConnection(
            place.hostname or "", place.port, context=server.context, timeout=60
        )
        token = made.json["value"]["token"]
        self._headers = {"Accept": ACCEPT, "Authorization": f"Bearer {token}"}
        self._cookie = dict(server.logged_in("security-officer"))

    def call(self, method: str, path: str, body: bytes = b"") -> None:
        """Ask for an operation, of the API below its root.

        Raises:
            NotNowError: it is to be asked again, later.
            RuntimeError: it is refused.
        """
        self._sent(method, ROOT + path, body, {**self._headers, "Content-Type": "application/json"})

    def look(self, path: str) -> None:
        """Look at a page. Raises as `call`."""
        self._sent("GET", path, b"", self._cookie)

    def close(self) -> None:
        """End its connection."""
        self._connection.close()

    def _sent(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> None:
        self._connection.request(method, path, body or None, headers)
        reply = self._connection.getresponse()
        said = reply.read()
        if reply.status in (429, 503):
            raise NotNowError(f"{method} {path}: {reply.status}")
        if reply.status != 200:
            raise RuntimeError(f"{method} {path}: {reply.status} {said[:500]!r}")


@contextmanager
def working(server: ApiServer, name: str) -> Iterator[Client]:
    """Connected as the cluster's configuration says, and to its API."""
    with asking() as manager:
        client = Client(manager, server, name)
        try:
            yield client
        finally:
            client.close()
