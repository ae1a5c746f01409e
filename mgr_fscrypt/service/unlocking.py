"""What unlocks a master key, as a border, and what is known of the key managers behind it."""

import threading
from dataclasses import dataclass
from typing import Protocol

from ..format import MasterKey
from ..messages.service import BackendState
from .clock import Clock


@dataclass(frozen=True)
class Unlocked:
    """A key, and the name of the key manager that unlocked it; empty where none was asked."""

    key: MasterKey
    backend: str = ""


class UnlockError(Exception):
    """The key was not unlocked. No text of it has a secret in it."""

    def __init__(
        self, happened: str, *, kind: str, remedy: str = "", backend: str = "", again: bool = False
    ) -> None:
        """Say what happened.

        Args:
            happened: in words.
            kind: the class of error, for lists.
            remedy: what to do next.
            backend: the key manager that was asked.
            again: it could not be reached, and trying again later may help.
        """
        super().__init__(happened)
        self.kind = kind
        self.remedy = remedy
        self.backend = backend
        self.again = again


class Unlocker(Protocol):
    """Unlocks keys. Called from several threads; each call ends within a time of its own."""

    def unlock(self, identifier: bytes) -> Unlocked:
        """The master key of this identifier.

        Raises:
            UnlockError: and why.
        """


class Backends:
    """What was met last, by the key manager's name. For several threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._turn = threading.Lock()
        self._known: dict[str, BackendState] = {}

    def now(self) -> float:
        """When it is, for `answered`."""
        return self._clock.now()

    def answered(self, name: str, asked: float | None = None) -> None:
        """It did what was asked; and when it was asked, where somebody took the time."""
        took = None if asked is None else self._clock.now() - asked
        self._met(name, reachable=True, error="", took=took)

    def failed(self, error: UnlockError) -> None:
        """It refused, or could not be reached."""
        self._met(error.backend, reachable=not error.again, error=error.kind)

    def states(self) -> tuple[BackendState, ...]:
        """All that were met, by name."""
        with self._turn:
            return tuple(self._known[name] for name in sorted(self._known))

    def _met(self, name: str, *, reachable: bool, error: str, took: float | None = None) -> None:
        if not name:
            return
        with self._turn:
            before = self._known.get(name)
            same = before is not None and before.reachable == reachable
            now = self._clock.date()
            since = before.since if before is not None and same else now
            if took is None and before is not None:
                took = before.took
            self._known[name] = BackendState(name, reachable, since, error, now, took)
