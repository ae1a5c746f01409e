"""How long to wait before something that failed is tried again."""

import random
from collections.abc import Callable

FIRST, LONGEST = 1.0, 60.0
"""Seconds."""
_SPREAD = 0.25


class Backoff:
    """Waiting times that double from `first` to `longest`, each cut by chance by up to a quarter.

    Chance keeps many who failed together from coming back together.
    """

    def __init__(
        self,
        chance: Callable[[], float] = random.random,
        *,
        first: float = FIRST,
        longest: float = LONGEST,
    ) -> None:
        """`chance` gives numbers from 0 to 1; the rest are seconds."""
        self._chance = chance
        self._first = first
        self._longest = longest
        self._next = first

    def delay(self) -> float:
        """Seconds to wait now."""
        delay = self._next * (1 - _SPREAD * self._chance())
        self._next = min(2 * self._next, self._longest)
        return delay

    def reset(self) -> None:
        """It succeeded: begin anew."""
        self._next = self._first
