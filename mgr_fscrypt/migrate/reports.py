"""What came of comparing both sides of a migration, entry by entry: a file for each class.

Each line is JSON, in ASCII: the path below the top (bytes that are no UTF-8 as os.fsdecode has them), and how the entry
differs. Names of encrypted files stand there in the clear, so the files are for their owner alone.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .verdict import CLASSES


class Reports:
    """Open files, by class."""

    def __init__(self, directory: Path, opened: ExitStack) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._files = {
            each: opened.enter_context(os.fdopen(_private(file_of(directory, each)), "w")) for each in CLASSES
        }

    def add(self, kind: str, below: bytes, how: str) -> None:
        """One entry."""
        value = {"path": os.fsdecode(below)} | ({"how": how} if how else {})
        self._files[kind].write(json.dumps(value) + "\n")


@contextmanager
def reports(directory: Path) -> Iterator[Reports]:
    """All of them, empty at first: what earlier ones said is gone.

    Raises:
        OSError: they cannot be made.
    """
    with ExitStack() as opened:
        yield Reports(directory, opened)


@contextmanager
def told_in(directory: Path | None) -> Iterator[Callable[[str, bytes, str], None]]:
    """What tells entries in them: class, path below the top, how it differs. Without a directory nobody is told.

    Raises:
        OSError: as `reports`.
    """
    if directory is None:
        yield lambda *_: None
    else:
        with reports(directory) as found:
            yield found.add


def file_of(directory: Path, kind: str) -> Path:
    """Where the entries of one class are told."""
    return directory / f"{kind}.jsonl"


def _private(file: Path) -> int:
    # not into what is there: others may own it, may read it, or have it open
    file.unlink(missing_ok=True)
    return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
