"""Handles of open files: what one open(2) may do. All handles of an inode share one `OpenInode`."""

import errno
import os
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from ..format.buffers import Buffer
from .errors import RefusedError
from .open_inodes import OpenInode, OpenInodes, closed

FALLOC_FL_KEEP_SIZE = 0x01
FALLOC_FL_PUNCH_HOLE = 0x02
FALLOC_FL_ZERO_RANGE = 0x10
_DURABLE = os.O_SYNC | os.O_DSYNC | os.O_DIRECT


class File:
    """A regular file that is open. Calls may come from several threads. A context manager.

    With O_SYNC, O_DSYNC or O_DIRECT each change is durable, and told to others, when its call returns; else after
    `fsync` or `close`. (O_DIRECT asks nothing of offsets, lengths or memory here.)
    """

    def __init__(
        self, inode: OpenInode, inodes: OpenInodes, flags: int, plain: bytes, *, made: bool = False
    ) -> None:
        self._inode = inode
        self._inodes = inodes
        self._flags = flags
        self._plain = plain
        self._made = made
        self._open = True

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

    def pread(self, length: int, offset: int) -> bytes:
        """Up to `length` bytes at `offset`; fewer only at the end of the file.

        Raises:
            RefusedError: EBADF: not opened for reading; EINVAL: before the start.
        """
        if self._flags & os.O_ACCMODE == os.O_WRONLY:
            raise self._not_opened_for("reading", "O_RDONLY or O_RDWR")
        return self._using().read(length, self._required(offset))

    def preadv(self, buffers: Sequence[Buffer], offset: int) -> int:
        """Fill `buffers` one after the other; how many bytes were there. Raises as `pread`."""
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        data = self.pread(sum(map(len, views)), offset)
        done = 0
        for view in views:
            part = data[done : done + len(view)]
            view[: len(part)] = part
            done += len(part)
        return done

    def pwrite(self, data: Buffer, offset: int) -> int:
        """Write all of `data` at `offset`, or with O_APPEND at the end of the file; the answer is its length.

        Raises:
            RefusedError: EBADF: not opened for writing; EFBIG: past what a file can have; EINVAL: before the start.
            BusyError: it is in kernel mode by now.
            CephError: what was written before it stays.
        """
        inode = self._changing()
        place = None if self._flags & os.O_APPEND else self._required(offset)
        done = inode.write(memoryview(data).cast("B"), place)
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
        inode.zero(self._required(offset), length)
        if not mode & FALLOC_FL_KEEP_SIZE:
            inode.grow(offset + length)
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

    def close(self) -> None:
        """As `fsync` where it was written; then the handle is gone, also after an error. A second time does nothing."""
        if not self._open:
            return
        self._open = False
        if self._inodes.leave(self._inode):
            self._inode.end()
        elif self._writes:
            self._inode.flush()

    def discard(self) -> None:
        """End it; a file that was made by this handle and never published is removed, for it is not complete.

        A `with` block that an exception ends does this for what it made.
        """
        if not self._open:
            return
        self._open = False
        if self._inodes.leave(self._inode):
            if self._made and self._inode.permissions is not None:
                self._inode.abandon()
            else:
                self._inode.end()

    @property
    def _writes(self) -> bool:
        return self._flags & os.O_ACCMODE != os.O_RDONLY

    def _using(self) -> OpenInode:
        if not self._open:
            raise closed(self._plain)
        return self._inode

    def _changing(self) -> OpenInode:
        inode = self._using()
        if not self._writes:
            raise self._not_opened_for("writing", "O_WRONLY or O_RDWR")
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
