"""How often somebody may ask, and when somebody who guesses is not listened to any more."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from .problems import ProblemError

A_SECOND = 50.0
"""Requests a second that one identity may make for long."""
AT_ONCE = 200.0
"""And at one moment."""
FAILURES = 10
"""Attempts to log in that may fail, from one address, before it is shut out."""
SHUT_OUT = 300.0
"""Seconds for which it is; and in which failures add up."""
_MOST = 10_000
"""Identities and addresses that are remembered: the one that was met longest ago is forgotten."""


@dataclass(frozen=True)
class Bucket:
    """What is left of what somebody may ask, and when that was so."""

    left: float
    at: float


class Limits:
    """Counts requests and failures.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait(self, who: str) -> float:
        """Count a request; give the seconds after which it may come again, 0: it is welcome now."""
        now = self._clock()
        with self._lock:
            before = self._buckets.pop(who, Bucket(AT_ONCE, now))
            left = min(AT_ONCE, before.left + (now - before.at) * A_SECOND)
            welcome = left >= 1
            self._buckets[who] = Bucket(left - 1 if welcome else left, now)
            if len(self._buckets) > _MOST:
                self._buckets.popitem(last=False)
        return 0.0 if welcome else (1 - left) / A_SECOND

    def count(self, who: str) -> None:
        """Count a request. Raises `ProblemError`: there were too many."""
        seconds = self.wait(who)
        if seconds:
            raise ProblemError(
                429,
                "these are too many requests, nothing was changed",
                "wait as long as Retry-After says",
                {"Retry-After": str(int(seconds) + 1)},
            )

    def failed(self, address: str) -> bool:
        """Count an attempt that failed; True: it was the last one."""
        now = self._clock()
        with self._lock:
            count, since = self._failures.pop(address, (0, now))
            count, since = (1, now) if now - since > SHUT_OUT else (count + 1, since)
            self._failures[address] = (count, now if count == FAILURES else since)
            if len(self._failures) > _MOST:
                self._failures.popitem(last=False)
        return count == FAILURES

    def shut_out(self, address: str) -> float:
        """Seconds for which nothing that an address proves is looked at; 0: it is."""
        count, since = self._failures.get(address, (0, 0.0))
        return max(0.0, since + SHUT_OUT - self._clock()) if count >= FAILURES else 0.0
