"""How fast a migration may copy, and when: so that those who use the cluster meanwhile have some of it left."""

import datetime
import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum

_STEP = 0.25
"""Seconds that are slept at a time: in between it is asked whether to go on."""

_SLACK = 1.0
"""Seconds: what one limit holds up is no reason to be held up by the other as well."""

_NEWEST = 0.25
"""How much the last call counts for the latency: one slow call among quick ones is none."""

_LONGEST = 5.0
"""Seconds of a pause for a slow call, at most: afterwards it is measured anew."""

_WINDOW = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")
_DAY = 24 * 3600


def local_time() -> datetime.datetime:
    """Now, by this host's clock and time zone."""
    return datetime.datetime.now().astimezone()


@dataclass(frozen=True)
class Window:
    """A part of each day, from `begin` to `end` in seconds after midnight; one that ends before it begins ends on the
    next day. The days are those of the `zone`, or of whoever is asked."""

    begin: int
    end: int
    zone: datetime.timezone | None = None

    @classmethod
    def parse(cls, text: str) -> "Window":
        """Of `22:00-06:00`.

        Raises:
            ValueError: it is none, or has no length.
        """
        found = _WINDOW.fullmatch(text)
        if found is None:
            raise ValueError(f"a window is written as 22:00-06:00, not {text!r}")
        hours, minutes, end_hours, end_minutes = map(int, found.groups())
        begin, end = 3600 * hours + 60 * minutes, 3600 * end_hours + 60 * end_minutes
        if begin == end:
            raise ValueError("a window that ends when it begins is none")
        return cls(begin, end)

    def closed_for(self, now: datetime.datetime) -> float:
        """Seconds until it opens; 0 while it is open."""
        now = now if self.zone is None else now.astimezone(self.zone)
        at = 3600 * now.hour + 60 * now.minute + now.second
        if (at - self.begin) % _DAY < (self.end - self.begin) % _DAY:
            return 0.0
        return float((self.begin - at) % _DAY)


@dataclass(frozen=True)
class Limits:
    """How fast: each 0 or None sets no limit.

    Attributes:
        files, size: so many files, and bytes of contents, a second at most.
        latency: seconds: while opening a file, or reading a piece of one, takes longer than this, pauses are made in
            which others are served.
        window: when it is copied at all.

    Raises:
        ValueError: negative, infinite, or no number.
    """

    files: float = 0.0
    size: float = 0.0
    latency: float = 0.0
    window: Window | None = None

    def __post_init__(self) -> None:
        for each in (self.files, self.size, self.latency):
            if not math.isfinite(each) or each < 0:
                raise ValueError(f"{each} is no limit")

    def shared(self, count: int) -> "Limits":
        """The part of each of so many who copy at the same time."""
        return replace(self, files=self.files / count, size=self.size / count)

    def elsewhere(self, now: datetime.datetime) -> "Limits":
        """For other hosts, which may have another time of the day: the window is that of this one, as it is `now`."""
        offset = now.utcoffset()
        if self.window is None or offset is None:
            return self
        return replace(self, window=replace(self.window, zone=datetime.timezone(offset)))

    @property
    def at_any_time(self) -> "Limits":
        """For what must not wait until tomorrow: nobody can reach the tree meanwhile."""
        return replace(self, window=None)


UNLIMITED = Limits()


class Asked(Enum):
    """Who has answered a call. Each is measured by itself: the one that is quick does not hide the other."""

    MDS = "mds"
    OSD = "osd"


class Pace:
    """Keeps one who copies to its limits, by pauses after what was done.

    Args:
        go_on: called in each pause; what it raises ends it.
        clock: seconds that only go forward; `sleep` lets so many pass.
        now: the time of the day.
    """

    def __init__(
        self,
        limits: Limits,
        go_on: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], datetime.datetime] = local_time,
    ) -> None:
        self._limits = limits
        self._go_on = go_on
        self._clock = clock
        self._sleep = sleep
        self._now = now
        self._files_due = self._size_due = clock()
        self._latency: dict[Asked, float] = {}

    def done(self, *, files: int = 0, size: int = 0) -> None:
        """So much was copied: returns when more may be. Of time in which less was copied, a second is made up for."""
        earliest = self._clock() - _SLACK
        if self._limits.files:
            self._files_due = max(self._files_due, earliest) + files / self._limits.files
        if self._limits.size:
            self._size_due = max(self._size_due, earliest) + size / self._limits.size
        self._pause_until(max(self._files_due, self._size_due))
        self.wait_for_window()

    @contextmanager
    def timed(self, asked: Asked) -> Iterator[None]:
        """For a call that waits for a server. Where its kind has become slower than the limit, a pause follows that
        leaves the servers alone for all of the time but limit / latency."""
        begun = self._clock()
        yield
        if not self._limits.latency:
            return
        took = self._clock() - begun
        latency = self._latency.get(asked, took)
        latency += _NEWEST * (took - latency)
        self._latency[asked] = latency
        excess = latency / self._limits.latency - 1
        if excess > 0:
            self._pause_until(self._clock() + min(took * excess, _LONGEST))

    def wait_for_window(self) -> None:
        """Returns when it is open."""
        window = self._limits.window
        while window is not None and (left := window.closed_for(self._now())) > 0:
            self._sleep(min(left, _STEP))
            self._go_on()

    def _pause_until(self, due: float) -> None:
        while (left := due - self._clock()) > 0:
            self._sleep(min(left, _STEP))
            self._go_on()
