"""The descriptors that a guard has given out, which outlive the children that they are open in."""

import errno
import os
import threading
from dataclasses import dataclass, field

from ..errors import CephError, ClientDiedError, NotFoundError, error_of
from .changes import Changes
from .process import Child, DiedError

_MAKING = os.O_CREAT | os.O_EXCL | os.O_TRUNC


@dataclass
class Descriptor:
    """One open(2): by which path and how, which inode that was, and what it is called in which child."""

    path: bytes
    flags: int
    ino: int
    child: Child
    fd: int
    changes: Changes = field(default_factory=Changes)
    told: bool = False
    """Was it said that changes were lost?"""
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def within(self, child: Child) -> int:
        """Its number in that child, where it is opened again if it was open in a dead one.

        Raises:
            ClientDiedError: what was changed through it and not flushed is lost. This goes on until it is closed.
            CephError: ESTALE: its path does not lead to its inode any more.
            DiedError: that child died, too.
        """
        with self._turn:
            if self.child is not child:
                if self.changes.pending:
                    self.told = True
                    raise lost(self.path)
                self._open_again(child)
            return self.fd

    def _open_again(self, child: Child) -> None:
        try:
            (fd, ino), _ = child.ask("open", self.path, self.flags & ~_MAKING, 0)
        except NotFoundError as error:
            raise self._stale() from error
        except DiedError:
            raise DiedError(asked=False) from None  # nothing was asked but this
        if ino != self.ino:
            child.ask("close", fd)
            raise self._stale()
        self.child, self.fd = child, fd

    def _stale(self) -> CephError:
        return CephError(
            errno.ESTALE,
            "the process that had the file open died, and the file was removed or moved meanwhile. Open it again",
            self.path,
        )


class Descriptors:
    """All of one mount. Calls may come from several threads."""

    def __init__(self) -> None:
        self._open: dict[int, Descriptor] = {}
        self._newest = 2
        self._turn = threading.Lock()

    def add(self, descriptor: Descriptor) -> int:
        """Give it a number."""
        with self._turn:
            self._newest += 1
            self._open[self._newest] = descriptor
            return self._newest

    def find(self, fd: int) -> Descriptor:
        """By number. Raises `CephError`, EBADF, where it is not open."""
        descriptor = self._open.get(fd)
        if descriptor is None:
            raise error_of(errno.EBADF, "use a descriptor")
        return descriptor

    def remove(self, fd: int) -> Descriptor:
        """It is open no more. Raises as `find`."""
        with self._turn:
            descriptor = self.find(fd)
            del self._open[fd]
            return descriptor

    def within(self, child: Child) -> list[Descriptor]:
        """Those that are open in that child."""
        with self._turn:
            return [each for each in self._open.values() if each.child is child]

    def forget(self) -> None:
        """None is open any more."""
        with self._turn:
            self._open.clear()


def lost(path: bytes | None = None) -> ClientDiedError:
    """What was changed and not flushed went with a child."""
    text = (
        "libcephfs died, and what was written or changed since the last fsync is lost. What was fsynced stands. "
        "Close it, and write it again"
    )
    return ClientDiedError(errno.EIO, text) if path is None else ClientDiedError(errno.EIO, text, path)
