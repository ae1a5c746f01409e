"""What the lab says while it works, and how it says that it cannot."""

import shutil
import sys
import time
from pathlib import Path
from typing import TextIO


class LabError(Exception):
    """The lab cannot go on; the message is one line that says what to do."""


class StepError(LabError):
    """A step of a run failed; `log` holds what it printed."""

    def __init__(self, what: str, log: Path) -> None:
        super().__init__(f"{what} failed")
        self.log = log

    def keep_log(self, logs: Path, whose: str) -> None:
        """Copy the log to where it stays: the folder of a run goes with the run."""
        self.log = Path(shutil.copy(self.log, logs / f"failed-{whose}-{self.log.name}"))


class Progress:
    """Progress lines with the seconds since the start, on standard error or where `stream` goes."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._start = time.monotonic()
        self._stream = stream or sys.stderr

    def say(self, line: str) -> None:
        """Print one line; each is whole, so that two releases may report side by side."""
        self._stream.write(f"[{time.monotonic() - self._start:6.1f} s] {line}\n")
        self._stream.flush()


def tail(log: Path, lines: int = 60) -> str:
    """The last lines of a log, for a person who reads why a step failed."""
    if not log.exists():
        return f"(no log at {log})"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
