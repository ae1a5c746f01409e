"""Handles of open files: what one open(2) may do. All handles of an inode share one `OpenInode`."""

import errno
import fcntl
import os
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from ..ceph.interface import RangeLock
from ..format import raw_size
from ..format.buffers import Buffer
from .attributes import Attributes
from .errors import RefusedError
from .locks import until_free
from .open_inodes import OpenInode, OpenInodes, closed
from .publishing import DELAY, Publisher

FALLOC_FL_KEEP_SIZE = 0x01
FALLOC_FL_PUNCH_HOLE = 0x02
FALLOC_FL_ZERO_RANGE = 0x10
_DURABLE = os.O_SYNC | os.O_DSYNC | os.O_DIRECT


class File:
    """A regular file that is open. Calls may come from several threads. A context manager.

    With O_SYNC, O_DSYNC or O_DIRECT each change is durable, and told to others, when its call returns; else after
    `fsync` or `close`. Only a new file of up to a MiB becomes durable some moments after its `close`, or with
    `FileSystem.sync`. (O_DIRECT asks nothing of offsets, lengths or memory here.)
    """

    def __init__(
        self,
        inode: OpenInode,
        inodes: OpenInodes,
        publisher: Publisher,
        flags: int,
        plain: bytes,
        *,
        made: bool = False,
    ) -> None:
        self._inode = inode
        self._inodes = inodes
        self._publisher = publisher
        self._flags = flags
        self._plain = plain
        self._made = made
        self._open = True
        self._locked = False
        self._changed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and self._made:
            self.discard()
        else:
            self.close()

    @property
    def is_open(self) -> bool:
        """Until `close`."""
        return self._open

    @property
    def ino(self) -> int:
        """The inode's number."""
        return self._inode.ino

    @property
    def size(self) -> int:
        """The real size, in bytes, as it stands now."""
        return self._using().size

    @property
    def attributes(self) -> Attributes:
        """What `stat` tells of it, whatever its path is by now; without `version`."""
        return self._using().attributes

    def chmod(self, mode: int) -> None:
        """Permission bits. Raises `RefusedError` EINVAL for the mode that marks what is half made (0200)."""
        self._using().chmod(mode)

    def chown(self, uid: int, gid: int) -> None:
        """Owner and group, -1 for as it is."""
        self._using().chown(uid, gid)

    def utimens(self, atime: float, mtime: float) -> None:
        """Both times, seconds since 1970."""
        self._using().utimens(atime, mtime)

    def flock(self, operation: int, timeout: float | None = None) -> None:
        """flock(2): this handle's lock on the file (`fcntl.LOCK_SH`, `LOCK_EX`, `LOCK_UN`, `LOCK_NB`).

        It excludes every other handle, of all clients of the file system, and ends with the handle. What was written
        is durable, and seen by others, before it is unlocked.

        Args:
            timeout: seconds to wait for it without LOCK_NB; None: as long as it takes.

        Raises:
            WouldBlockError: another handle has it.
        """
        inode = self._using()
        if operation & fcntl.LOCK_NB:
            timeout = 0
        with inode.waiting():
            until_free(lambda: inode.flock(id(self), operation & ~fcntl.LOCK_NB), timeout)
        self._locked = not operation & fcntl.LOCK_UN

    def lock_range(self, lock: RangeLock, owner: int, timeout: float | None = 0) -> None:
        """fcntl(2): take a lock on a range of bytes, change it, or give it back.

        It excludes every other `owner` (a number that the caller gives to each of its users), of all clients of the
        file system, and ends with the last handle of the file here. Durability as `flock`.

        Args:
            timeout: seconds to wait for it; None: as long as it takes.

        Raises:
            WouldBlockError: another owner has some of it.
        """
        inode = self._using()
        with inode.waiting():
            until_free(lambda: inode.lock_range(lock, owner), timeout)

    def range_blocker(self, lock: RangeLock, owner: int) -> RangeLock | None:
        """A lock of another owner that is in the way of this one."""
        return self._using().range_blocker(lock, owner)

    def pread(self, length: int, offset: int) -> bytes:
        """Up to `length` bytes at `offset`; fewer only at the end of the file.

        Raises:
            RefusedError: EBADF: not opened for reading; EINVAL: before the start.
        """
        return self._reading().read(length, self._required(offset))

    def preadv(self, buffers: Sequence[Buffer], offset: int) -> int:
        """Fill `buffers` one after the other; how many bytes were there. Raises as `pread`."""
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        return self._reading().read_into(views, self._required(offset))

    def pwrite(self, data: Buffer, offset: int) -> int:
        """Write all of `data` at `offset`, or with O_APPEND at the end of the file; the answer is its length.

        Raises:
            RefusedError: EBADF: not opened for writing; EFBIG: past what a file can have; EINVAL: before the start.
            BusyError: it is in kernel mode by now.
            CephError: what was written before it stays.
        """
        if self._flags & os.O_APPEND:
            return self.append(data)
        done = self._changing().write(memoryview(data).cast("B"), self._required(offset))
        self._settle()
        return done

    def append(self, data: Buffer) -> int:
        """Write all of `data` at the end of the file, wherever that is by then; its length. Raises as `pwrite`."""
        done = self._changing().write(memoryview(data).cast("B"), None)
        self._settle()
        return done

    def pwritev(self, buffers: Sequence[Buffer], offset: int) -> int:
        """All of them, one after the other, as one `pwrite`."""
        return self.pwrite(b"".join(buffers), offset)

    def truncate(self, size: int) -> None:
        """Set the real size; what is new reads as zeros. Raises as `pwrite`."""
        self._changing().truncate(size)
        self._settle()

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        """Punch a hole (`FALLOC_FL_PUNCH_HOLE` with `FALLOC_FL_KEEP_SIZE`), or zero a range (`FALLOC_FL_ZERO_RANGE`).

        Both leave holes where whole blocks are meant; a zeroed range past the end makes the file longer, unless the
        size is to be kept.

        Raises:
            RefusedError: EOPNOTSUPP: any other mode (CephFS reserves no space); EINVAL: an empty range, or one that
                begins before the start; else as `pwrite`.
        """
        inode = self._changing()
        if mode not in (
            FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
            FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
            FALLOC_FL_ZERO_RANGE,
        ):
            raise RefusedError(
                errno.EOPNOTSUPP,
                "CephFS reserves no space for files",
                self._plain,
                remedy="Punch a hole, zero a range, or just write.",
            )
        if length <= 0:
            raise self._invalid("an empty range")
        stop, old = self._required(offset) + length, raw_size(inode.size)
        if not mode & FALLOC_FL_KEEP_SIZE:
            # first, since a quota may refuse it: nothing is zeroed then
            inode.grow(stop)
        if offset < old:
            inode.zero(offset, min(stop, old) - offset)
        self._settle()

    def seek(self, offset: int, whence: int) -> int:
        """Where the next data (`os.SEEK_DATA`) or hole (`os.SEEK_HOLE`) begins; the end of a file is a hole.

        Blocks that are stored as zeros are holes. A long hole is read through: nothing else tells where it ends.

        Raises:
            RefusedError: ENXIO: nothing of it before the end, or `offset` is past it; EINVAL: another `whence`.
        """
        inode = self._using()
        if whence not in (os.SEEK_DATA, os.SEEK_HOLE):
            raise self._invalid("handles have no position of their own")
        size = inode.size
        found = inode.next(self._required(offset), hole=whence == os.SEEK_HOLE)
        if found is None and whence == os.SEEK_HOLE and offset < size:
            return size
        if found is None:
            raise RefusedError(
                errno.ENXIO, "nothing there before the end", self._plain, remedy="Look further up."
            )
        return found

    def fsync(self) -> None:
        """Everything is durable, and there for everybody, when it returns."""
        self._using().flush()

    def show(self, delay: float = DELAY) -> None:
        """What was written is there for others: at once, and durable, or of a new file in so many seconds."""
        inode = self._using()
        if self._publisher.takes(inode):
            self._publisher.show(inode, delay)
        elif self._writes:
            inode.settle()

    def close(self) -> None:
        """As `fsync` where it was written, but for new small files; then the handle is gone, also after an error.

        A second time does nothing."""
        if not self._open:
            return
        self._open = False
        try:
            self._unlock()
        finally:
            if self._publisher.takes(self._inode):
                self._publisher.close(self._inode)
            elif self._inodes.leave(self._inode):
                self._inode.end()
            elif self._writes:
                self._inode.settle()

    def discard(self) -> None:
        """End it; a file that was made by this handle and never published is removed, for it is not complete.

        A `with` block that an exception ends does this for what it made.
        """
        if not self._open:
            return
        self._open = False
        if self._made:
            self._inode.give_up()
        if self._inodes.leave(self._inode):
            # with it the lock ends; to unlock before would publish what is given up
            self._inode.end()
        else:
            self._unlock()

    def _unlock(self) -> None:
        if self._locked:
            self._locked = False
            self._inode.flock(id(self), fcntl.LOCK_UN)

    @property
    def _writes(self) -> bool:
        return self._flags & os.O_ACCMODE != os.O_RDONLY

    def _using(self) -> OpenInode:
        if not self._open:
            raise closed(self._plain)
        return self._inode

    def _reading(self) -> OpenInode:
        if self._flags & os.O_ACCMODE == os.O_WRONLY:
            raise self._not_opened_for("reading", "O_RDONLY or O_RDWR")
        return self._using()

    def _changing(self) -> OpenInode:
        inode = self._using()
        if not self._writes:
            raise self._not_opened_for("writing", "O_WRONLY or O_RDWR")
        if not self._changed:
            inode.drop_rights()
            self._changed = True
        return inode

    def _settle(self) -> None:
        if self._flags & _DURABLE:
            self._inode.flush()

    def _required(self, offset: int) -> int:
        if offset < 0:
            raise self._invalid("before the start of the file")
        return offset

    def _invalid(self, what: str) -> RefusedError:
        return RefusedError(
            errno.EINVAL, what, self._plain, remedy="Ask for another range. Nothing was changed."
        )

    def _not_opened_for(self, what: str, flags: str) -> RefusedError:
        return RefusedError(
            errno.EBADF, f"not opened for {what}", self._plain, remedy=f"Open it with {flags}."
        )
