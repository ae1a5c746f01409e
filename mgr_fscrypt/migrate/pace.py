"""How fast a migration may copy: so that those who use the cluster meanwhile have some of it left."""

import time
from collections.abc import Callable
from dataclasses import dataclass

_STEP = 0.25
"""Seconds that are slept at a time: in between it is asked whether to go on."""

_SLACK = 1.0
"""Seconds: what one limit holds up is no reason to be held up by the other as well."""


@dataclass(frozen=True)
class Limits:
    """At most so many files, and so many bytes of contents, a second; 0: as fast as it goes."""

    files: float = 0.0
    size: float = 0.0

    def shared(self, count: int) -> "Limits":
        """The part of each of so many who copy at the same time."""
        return Limits(self.files / count, self.size / count)


UNLIMITED = Limits()


class Pace:
    """Keeps one who copies to its limits, by pauses after what was done.

    Args:
        go_on: called in each pause; what it raises ends it.
        clock: seconds that only go forward; `sleep` lets so many pass.
    """

    def __init__(
        self,
        limits: Limits,
        go_on: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._limits = limits
        self._go_on = go_on
        self._clock = clock
        self._sleep = sleep
        self._files_due = self._size_due = clock()

    def done(self, *, files: int = 0, size: int = 0) -> None:
        """So much was copied: returns when more may be. Of time in which less was copied, a second is made up for."""
        earliest = self._clock() - _SLACK
        if self._limits.files:
            self._files_due = max(self._files_due, earliest) + files / self._limits.files
        if self._limits.size:
            self._size_due = max(self._size_due, earliest) + size / self._limits.size
        due = max(self._files_due, self._size_due)
        while (left := due - self._clock()) > 0:
            self._sleep(min(left, _STEP))
            self._go_on()
