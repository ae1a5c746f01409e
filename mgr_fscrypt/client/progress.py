"""What a person sees while files are copied or looked at, and the figures at the end."""

import time
from collections.abc import Callable
from typing import TextIO

REDRAW = 0.2
"""Seconds between two pictures of the line: more often is not seen."""
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
BAR = 24
"""Characters of the bar."""


def size_text(count: float) -> str:
    """Write a number of bytes in the largest binary unit that leaves at least 1."""
    if count < 1024:
        return f"{count:.0f} B"
    power = min(4, (int(count).bit_length() - 1) // 10)
    return f"{count / 1024**power:.1f} {UNITS[power]}"


class Progress:
    """Counts entries and bytes, and keeps one line of a terminal up to date.

    Args:
        stream: where the line is drawn; when it is no terminal, nothing is drawn.
        total: bytes that are to come; 0 when nobody knows.
        clock: seconds that only go forward.
    """

    def __init__(
        self, stream: TextIO | None, total: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream if stream is not None and stream.isatty() else None
        self._total = total
        self._clock = clock
        self._begun = clock()
        self._drawn = float("-inf")
        self.entries = 0
        self.bytes = 0

    @property
    def seconds(self) -> float:
        """Time since the beginning."""
        return self._clock() - self._begun

    @property
    def rate(self) -> float:
        """Bytes a second, on average."""
        return self.bytes / self.seconds if self.seconds > 0 else 0.0

    def entry(self) -> None:
        """Count one more file, directory or link that is done."""
        self.entries += 1
        self._draw()

    def advance(self, count: int) -> None:
        """Count more bytes."""
        self.bytes += count
        self._draw()

    def reach(self, entries: int, count: int) -> None:
        """So many entries and bytes are done by now."""
        self.entries, self.bytes = entries, count
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
        share = min(1.0, self.bytes / self._total) if self._total else 0.0
        bar = ("=" * round(BAR * share)).ljust(BAR)
        percent = f"{100 * share:3.0f}% [{bar}] " if self._total else ""
        if self.bytes or self._total:
            pace = f"{size_text(self.bytes)}, {size_text(self.rate)}/s"
        else:
            pace = f"{self.entries / max(self.seconds, REDRAW):.0f}/s"
        self._stream.write(f"\r{percent}{self.entries} entries, {pace}\x1b[K")
        self._stream.flush()
