"""One mount for each place in a process: fsspec makes an instance for each thread, and keeps it for good."""

import os
from contextlib import ExitStack, suppress
from multiprocessing.util import Finalize
from threading import Lock
from typing import ClassVar

from .client import Client
from .connecting import Place


class SharedClients:
    """Those of one process. At its end they are closed, which unmounts."""

    _here: ClassVar["SharedClients | None"] = None

    def __init__(self) -> None:
        """None yet."""
        self._process = os.getpid()
        self._turn = Lock()
        self._clients: dict[Place, Client] = {}
        self._lost: list[Client] = []
        # at the exit of a worker that multiprocessing made as well, where `atexit` does nothing; not in a forked child
        Finalize(None, self.close, exitpriority=0)

    @classmethod
    def here(cls) -> "SharedClients":
        """Those of this process. What a forked child has of its parent's is dead (`Client.keep_all`)."""
        found = cls._here
        if found is None or found._process != os.getpid():
            found = cls._here = SharedClients()
        return found

    def get(self, place: Place) -> Client:
        """The client of a place; connected now, if it is the first time. Raises as `Place.connect`."""
        with self._turn:
            found = self._clients.get(place)
            if found is None:
                found = self._clients[place] = place.connect()
            return found

    def give_up(self, place: Place, lost: Client) -> None:
        """Whoever asks for the client of a place again gets a new one. The lost one is closed only at the end: other
        threads may be in its calls, which libcephfs would not outlive."""
        with self._turn:
            if self._clients.get(place) is lost:
                del self._clients[place]
                self._lost.append(lost)

    def drop(self, place: Place) -> None:
        """Close the client of a place, which nobody uses any more. Raises as `Client.close`."""
        with self._turn:
            found = self._clients.pop(place, None)
        if found is not None:
            found.close()

    def close(self) -> None:
        """All of them."""
        with self._turn:
            ended = [*self._clients.values(), *self._lost]
            lost = set(map(id, self._lost))
            self._clients.clear()
            self._lost.clear()
        with ExitStack() as closing:
            for client in ended:
                closing.callback(_let_go if id(client) in lost else Client.close, client)


def _let_go(lost: Client) -> None:
    with suppress(OSError):
        lost.close()
