"""What a person sees while files are copied or looked at, and the figures at the end."""

import time
from collections.abc import Callable
from typing import TextIO

REDRAW = 0.2
"""Seconds between two pictures of the line: more often is not seen."""
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_ENTRY = 1 << 20
"""Bytes that take as long as an entry: an entry is some milliseconds, whatever is in it."""
_EARLIEST = 2.0
"""Seconds before anything is said of how long it will take."""
BAR = 24
"""Characters of the bar."""


def size_text(count: float) -> str:
    """Write a number of bytes in the largest binary unit that leaves at least 1."""
    if count < 1024:
        return f"{count:.0f} B"
    power = min(4, (int(count).bit_length() - 1) // 10)
    return f"{count / 1024**power:.1f} {UNITS[power]}"


def time_text(seconds: float) -> str:
    """Write a time that nobody knows exactly."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


class Progress:
    """Counts entries and bytes, and keeps one line of a terminal up to date.

    Args:
        stream: where the line is drawn; when it is no terminal, nothing is drawn.
        total: bytes that are to come; 0 when nobody knows.
        entries: entries that are to come, which then count as well.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        stream: TextIO | None,
        total: int = 0,
        clock: Callable[[], float] = time.monotonic,
        entries: int = 0,
    ) -> None:
        self._all = total + entries * _ENTRY
        self._entry = _ENTRY if entries else 0
        self._stream = stream if stream is not None and stream.isatty() else None
        self._clock = clock
        self._begun = clock()
        self._drawn = float("-inf")
        self.entries = 0
        self._errors = ""
        self.bytes = 0

    @property
    def seconds(self) -> float:
        """Time since the beginning."""
        return self._clock() - self._begun

    @property
    def rate(self) -> float:
        """Bytes a second, on average."""
        return self.bytes / self.seconds if self.seconds > 0 else 0.0

    @property
    def share(self) -> float:
        """How much of all is done; 0 when nobody knows."""
        return min(1.0, (self.bytes + self.entries * self._entry) / self._all) if self._all else 0.0

    @property
    def left(self) -> float | None:
        """Seconds that the rest will take if it goes on like this; None when nobody knows."""
        share = self.share
        if not 0 < share < 1 or self.seconds < _EARLIEST:
            return None
        return self.seconds * (1 - share) / share

    def entry(self) -> None:
        """Count one more file, directory or link that is done."""
        self.entries += 1
        self._draw()

    def advance(self, count: int) -> None:
        """Count more bytes."""
        self.bytes += count
        self._draw()

    def reach(self, entries: int, count: int, errors: str = "") -> None:
        """So many entries and bytes are done by now, but for these."""
        self.entries, self.bytes, self._errors = entries, count, errors
        self._draw()

    def close(self) -> None:
        """Take the line away."""
        if self._stream is not None:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _draw(self) -> None:
        now = self._clock()
        if self._stream is None or now - self._drawn < REDRAW:
            return
        self._drawn = now
        bar = ("=" * round(BAR * self.share)).ljust(BAR)
        percent = f"{100 * self.share:3.0f}% [{bar}] " if self._all else ""
        told = f"; not copied: {self._errors}" if self._errors else ""
        left = "" if self.left is None else f", {time_text(self.left)} left"
        if self.bytes or self._all:
            pace = f"{size_text(self.bytes)}, {size_text(self.rate)}/s"
        else:
            pace = f"{self.entries / max(self.seconds, REDRAW):.0f}/s"
        self._stream.write(f"\r{percent}{self.entries} entries, {pace}{left}{told}\x1b[K")
        self._stream.flush()
