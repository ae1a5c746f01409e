"""Walking a tree of the host's own file systems."""

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from .remote import joined


@dataclass(frozen=True)
class Local:
    """A local file, directory or link.

    Args:
        path: where it is.
        target: where it goes.
        status: of itself, never of a link's target.
        leaving: True when all that lies in this directory has been given.
    """

    path: Path
    target: bytes
    status: os.stat_result
    leaving: bool = False


def walk(path: Path, target: bytes) -> Iterator[Local]:
    """Give a tree; each directory before its contents and once more after them."""
    status = path.lstat()
    yield Local(path, target, status)
    if stat.S_ISDIR(status.st_mode):
        with os.scandir(path) as entries:
            names = sorted(entry.name for entry in entries)
        for name in names:
            yield from walk(path / name, joined(target, os.fsencode(name)))
        yield Local(path, target, status, leaving=True)


def open_source(source: Local) -> FileIO:
    """Open a regular file that `walk` gave; never what has taken its name since, such as a link elsewhere.

    Raises:
        OSError: it cannot be read, or is another file by now (ESTALE).
    """
    # not blocking: a FIFO that took its place would wait for a writer
    descriptor = os.open(source.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    opened = FileIO(descriptor, "rb")
    if not os.path.samestat(os.fstat(descriptor), source.status):
        opened.close()
        raise OSError(errno.ESTALE, "another file took its place while it was copied", str(source.path))
    return opened


def given_permissions(mode: int) -> int:
    """Give the permissions that a copy gets: owners are not kept, so a file runs as nobody else's program either."""
    permissions = stat.S_IMODE(mode)
    return permissions if stat.S_ISDIR(mode) else permissions & ~(stat.S_ISUID | stat.S_ISGID)
