"""Time, as a border: tests have one that does not wait."""

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """What time it is, and waiting for it."""

    def now(self) -> float:
        """Seconds that only go forward."""

    def date(self) -> float:
        """Seconds since the epoch."""

    def wait(self, over: threading.Event, seconds: float) -> bool:
        """Wait so long, or until it is over; is it?"""


class SystemClock:
    """The machine's."""

    def now(self) -> float:
        """Seconds that only go forward."""
        return time.monotonic()

    def date(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def wait(self, over: threading.Event, seconds: float) -> bool:
        """Wait so long, or until it is over; is it?"""
        return over.wait(seconds)
