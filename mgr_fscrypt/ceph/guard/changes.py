"""Has everything that was changed been made durable?"""

import threading


class Changes:
    """Counts changes, and how many of them are durable. Calls may come from several threads."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._made = 0
        self._durable = 0

    @property
    def made(self) -> int:
        """How many there were."""
        return self._made

    @property
    def pending(self) -> bool:
        """Would some of them be lost with the child?"""
        return self._made > self._durable

    def add(self) -> None:
        """One more. To be counted before it is made: the child may die in between."""
        with self._turn:
            self._made += 1

    def take_back(self) -> None:
        """One that was counted was not made."""
        with self._turn:
            self._made -= 1
            self._durable = min(self._durable, self._made)

    def settle(self, made: int) -> None:
        """The first `made` of them are durable."""
        with self._turn:
            self._durable = max(self._durable, made)
