"""What the kernel asks of a FUSE mount, done by the encrypted file system.

Every method is one operation of libfuse's high-level interface, under its name there; an `OSError` is its errno.
Calls come from several threads.
"""

import fcntl
import logging
import os
import stat as modes
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from threading import BoundedSemaphore

from ..ceph.errors import WouldBlockError
from ..ceph.interface import Kind, RangeLock
from ..engine import DirEntry, File, FileSystem
from .remote import joined

_log = logging.getLogger(__name__)

_TYPES = {
    Kind.DIRECTORY: modes.S_IFDIR,
    Kind.FILE: modes.S_IFREG,
    Kind.SYMLINK: modes.S_IFLNK,
    # DT_UNKNOWN: which one, only its inode tells
    Kind.SPECIAL: 0,
}
_UNKNOWN = (1 << 64) - 1
"""How many more inodes there can be: CephFS does not say."""
_LOCK_TIMEOUT = 10.0
"""Seconds that a request waits for a lock: the kernel cannot take it back, and it holds one thread."""
_WAITERS = 4
"""Requests that wait for locks at a time: some threads must be left for those who will unlock."""
_NANOSECONDS = 10**9
# utimensat(2): with them the seconds are 0, so they stand for two nanoseconds of January 1970 that no file needs
_UTIME_NOW, _UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2

ListedEntry = tuple[str, Mapping[str, int], int]
"""A name, what is known of its inode, and the offset that goes on after it."""


class Listing:
    """A directory that is being read, in pieces that begin where the kernel says."""

    def __init__(self, entries: Callable[[], Iterator[DirEntry]]) -> None:
        self._start = entries
        self._entries = self._all()
        self._last: ListedEntry | None = None
        self._next = 1

    def after(self, offset: int) -> Iterator[ListedEntry]:
        """What follows the entry of that offset (0: all); the caller may stop at any entry and ask for it again."""
        if self._last is not None and offset == self._next - 2:
            yield self._last
        elif offset != self._next - 1:
            self._entries, self._last, self._next = self._all(), None, 1
            while self._next <= offset and self._step() is not None:
                pass
        while (entry := self._step()) is not None:
            yield entry

    def _step(self) -> ListedEntry | None:
        found = next(self._entries, None)
        if found is None:
            return None
        self._last = (found[0], found[1], self._next)
        self._next += 1
        return self._last

    def _all(self) -> Iterator[tuple[str, Mapping[str, int]]]:
        for name in (".", ".."):
            yield name, {"st_mode": modes.S_IFDIR}
        for entry in self._start():
            yield _text(entry.name), {"st_mode": _TYPES[entry.kind], "st_ino": entry.ino}


class FuseOperations:
    """The operations below the directory `top` of `files`. `ready` is called when the kernel has mounted it."""

    use_ns = True
    """Times are whole nanoseconds."""

    def __init__(self, files: FileSystem, top: bytes, ready: Callable[[], None]) -> None:
        self._files = files
        self._top = top
        self._ready = ready
        self._handles: dict[int, File] = {}
        self._appending: set[int] = set()
        self._listings: dict[int, Listing] = {}
        self._numbers = count(1)
        self._waiters = BoundedSemaphore(_WAITERS)

    def init(self, path: str) -> None:
        """The mount is there."""
        self._ready()

    def close(self) -> None:
        """End every file that is still open: for after the mount is gone. Errors are logged."""
        while self._handles:
            self._end(self._handles.popitem()[1])

    # inodes

    def getattr(self, path: str, handle: int | None = None) -> dict[str, int]:
        """The real size; of a file that is open here as its writer knows it, by its handle where there is one: its
        path may name another file by now, by what other clients did."""
        found = self._files.stat(self._path(path)) if handle is None else self._handles[handle].attributes
        return {
            "st_ino": found.ino,
            "st_mode": found.kind_bits | found.permissions,
            "st_rdev": found.rdev,
            "st_nlink": found.nlink,
            "st_uid": found.uid,
            "st_gid": found.gid,
            "st_size": found.size,
            "st_blocks": found.blocks,
            "st_atime": round(found.atime * _NANOSECONDS),
            "st_mtime": round(found.mtime * _NANOSECONDS),
            "st_ctime": round(found.ctime * _NANOSECONDS),
        }

    def chmod(self, path: str, mode: int) -> None:
        """Permission bits."""
        self._files.chmod(self._path(path), modes.S_IMODE(mode))

    def chown(self, path: str, uid: int, gid: int) -> None:
        """-1 leaves one as it is."""
        self._files.chown(self._path(path), uid, gid)

    def utimens(self, path: str, times: tuple[int, int]) -> None:
        """Access and modification time in nanoseconds, or utimensat(2)'s words for now and for as it is."""
        where = self._path(path)
        known = self._files.stat(where)
        self._files.utimens(where, _seconds(times[0], known.atime), _seconds(times[1], known.mtime))

    def listxattr(self, path: str) -> list[str]:
        """Names of the extended attributes that users may see."""
        return self._files.listxattr(self._path(path))

    def getxattr(self, path: str, name: str) -> bytes:
        """An extended attribute."""
        return self._files.getxattr(self._path(path), name)

    def setxattr(self, path: str, name: str, value: bytes, flags: int) -> None:
        """Create or replace one, as the flags say."""
        self._files.setxattr(self._path(path), name, value, flags)

    def removexattr(self, path: str, name: str) -> None:
        """Remove one."""
        self._files.removexattr(self._path(path), name)

    def statfs(self, path: str) -> dict[str, int]:
        """How much room there is, for `df`."""
        found = self._files.statfs(self._path(path))
        return {
            "f_bsize": found.block_size,
            "f_frsize": found.block_size,
            "f_blocks": found.blocks,
            "f_bfree": found.free,
            "f_bavail": found.available,
            "f_files": found.inodes,
            "f_ffree": _UNKNOWN,
            "f_favail": _UNKNOWN,
            "f_namemax": found.longest_name,
        }

    # names

    def opendir(self, path: str) -> int:
        """A handle for reading a directory."""
        where = self._path(path)
        number = self._number()
        self._listings[number] = Listing(lambda: self._files.scandir(where))
        return number

    def readdir_with_offset(self, path: str, offset: int, handle: int) -> Iterator[ListedEntry]:
        """A stream: however many entries there are, no more than a piece of them is in memory."""
        return self._listings[handle].after(offset)

    def releasedir(self, path: str, handle: int) -> None:
        """End a handle of a directory."""
        del self._listings[handle]

    def mkdir(self, path: str, mode: int, umask: int = 0) -> None:
        """With the policy of its parent."""
        self._files.mkdir(self._path(path), modes.S_IMODE(mode), umask=umask)

    def mknod(self, path: str, mode: int, device: int, umask: int = 0) -> None:
        """A FIFO, socket or device, or an empty file."""
        if modes.S_ISREG(mode):
            self.release(path, self.create(path, mode, os.O_WRONLY | os.O_EXCL, umask))
        else:
            self._files.mknod(self._path(path), mode, device, umask=umask)

    def rmdir(self, path: str) -> None:
        """Remove an empty directory."""
        self._files.rmdir(self._path(path))

    def unlink(self, path: str) -> None:
        """Remove a name; libfuse has renamed a file that is still open to `.fuse_hidden...` instead."""
        self._files.unlink(self._path(path))

    def rename(self, old: str, new: str) -> None:
        """Move a name, over what is there."""
        self._files.rename(self._path(old), self._path(new))

    def link(self, new: str, existing: str) -> None:
        """A second name."""
        self._files.link(self._path(existing), self._path(new))

    def symlink(self, new: str, target: str) -> None:
        """A symbolic link at `new`."""
        self._files.symlink(_bytes(target), self._path(new))

    def readlink(self, path: str) -> str:
        """A link's target."""
        return _text(self._files.readlink(self._path(path)))

    # files

    def create(self, path: str, mode: int, flags: int, umask: int = 0) -> int:
        """Make a file and open it. It is there for other clients a moment later, whether it is still open or not."""
        file = self._files.open(
            self._path(path), flags & ~os.O_APPEND | os.O_CREAT, modes.S_IMODE(mode), umask=umask
        )
        file.show()
        return self._handle(file, flags)

    def open(self, path: str, flags: int) -> int:
        """A handle of a file that is there."""
        return self._handle(self._files.open(self._path(path), flags & ~os.O_APPEND), flags)

    def read(self, path: str, target: memoryview, offset: int, handle: int) -> int:
        """Fill `target`; how many bytes there were: fewer only at the end of the file."""
        return self._handles[handle].preadv([target], offset)

    def write(self, path: str, data: bytes | memoryview, offset: int, handle: int) -> int:
        """All of `data`. What is appended goes to the end as it is now, which the kernel may not know."""
        file = self._handles[handle]
        return file.append(data) if handle in self._appending else file.pwrite(data, offset)

    def write_page(self, data: bytes | memoryview, offset: int, handle: int) -> int:
        """What a program has written into a page of memory that it shares with the file: it has its place, whatever
        the handle is for."""
        return self._handles[handle].pwrite(data, offset)

    def truncate(self, path: str, length: int, handle: int | None = None) -> None:
        """Set the real size, of the open file where there is a handle."""
        if handle is not None:
            self._handles[handle].truncate(length)
            return
        with self._files.open(self._path(path), os.O_WRONLY) as file:
            file.truncate(length)

    def fallocate(self, path: str, mode: int, offset: int, length: int, handle: int) -> None:
        """Punch a hole or zero a range; what only reserves space is refused."""
        self._handles[handle].fallocate(mode, offset, length)

    def flock(self, path: str, handle: int, operation: int) -> None:
        """flock(2), against all clients. One that waits does so for some seconds, and is then told EAGAIN."""
        file, kind = self._handles[handle], operation & ~fcntl.LOCK_NB
        self._locked(lambda timeout: file.flock(kind, timeout), waits=not operation & fcntl.LOCK_NB)

    def lock(self, handle: int, lock: RangeLock, owner: int, *, waits: bool) -> None:
        """fcntl(2)'s F_SETLK and F_SETLKW, as `flock`."""
        file = self._handles[handle]
        self._locked(lambda timeout: file.lock_range(lock, owner, timeout), waits=waits)

    def range_blocker(self, handle: int, lock: RangeLock, owner: int) -> RangeLock | None:
        """fcntl(2)'s F_GETLK."""
        return self._handles[handle].range_blocker(lock, owner)

    def fsync(self, path: str, data_only: int, handle: int) -> None:
        """Everything is durable when it returns."""
        self._handles[handle].fsync()

    def flush(self, path: str, handle: int) -> None:
        """At each close(2), which gives this answer: others see what was written."""
        self._handles[handle].show()

    def release(self, path: str, handle: int) -> None:
        """The last close(2) of a handle; nobody hears its errors, so they are logged."""
        self._appending.discard(handle)
        self._end(self._handles.pop(handle))

    # parts

    def _locked(self, lock: Callable[[float], None], *, waits: bool) -> None:
        try:
            lock(0)
        except WouldBlockError:
            if not waits or not self._waiters.acquire(blocking=False):
                raise
            try:
                lock(_LOCK_TIMEOUT)
            finally:
                self._waiters.release()

    def _end(self, file: File) -> None:
        try:
            file.close()
        except OSError as error:
            _log.error("closing a file: %s", error)

    def _handle(self, file: File, flags: int) -> int:
        number = self._number()
        self._handles[number] = file
        if flags & os.O_APPEND:
            self._appending.add(number)
        return number

    def _number(self) -> int:
        return next(self._numbers)

    def _path(self, path: str) -> bytes:
        return self._top if path == "/" else joined(self._top, _bytes(path[1:]))


def _seconds(nanoseconds: int, known: float) -> float:
    if nanoseconds == _UTIME_NOW:
        return time.time()
    return known if nanoseconds == _UTIME_OMIT else nanoseconds / _NANOSECONDS


def _bytes(text: str) -> bytes:
    """As mfusepy turned it into text."""
    return text.encode("utf-8", "surrogateescape")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
