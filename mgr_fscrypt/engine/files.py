"""Open files: reading, writing and truncating encrypted contents.

Contents are whole blocks of 4096 bytes under the file's own key. What lies past the end of the file in its last
block is zeroed before it is encrypted, and never trusted when it is read (doc/format.md D4). A block that is stored as
zeros is a hole; none is made by writing zeros (traps 1 and 2).

A file that was made here is private (half made to others) until its first `fsync` or `close` publishes it. Every
other writer holds the inode's lease while it writes, and tells the new size last when a file grows, first when it
shrinks.
"""

import errno
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from types import TracebackType
from typing import Self

from ..ceph.errors import LeaseLostError
from ..ceph.interface import Lease, Mount
from ..format import (
    AUTH_XATTR,
    BLOCK_SIZE,
    ENGINE_XATTR,
    FILE_XATTR,
    LARGEST_SIZE,
    Contents,
    Context,
    EngineRecord,
    encode_file_size,
    raw_size,
)
from .errors import BusyError, DamagedError, EngineError, RefusedError
from .inodes import LEASE_TIMEOUT, ByDescriptor, FileFacts, FileMode, look, recover, settle
from .making import require_linked
from .paths import named

PIECE = 4 << 20
"""Bytes of file that are in memory at once."""


class File:
    """A readable file in either mode. Calls may come from several threads. A context manager."""

    def __init__(self, mount: Mount, fd: int, stored: bytes, plain: bytes, contents: Contents) -> None:
        self._mount = mount
        self._fd = fd
        self._stored = stored
        self._plain = plain
        self._contents = contents
        self._turn = RLock()
        self._open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def is_open(self) -> bool:
        """Until `close`."""
        return self._open

    @property
    def size(self) -> int:
        """The real size, in bytes, as it stands now."""
        with self._acting():
            return self._facts().real_size

    def pread(self, length: int, offset: int) -> bytes:
        """Up to `length` bytes at `offset`; fewer only at the end of the file."""
        with self._acting():
            self._require_open()
            stop = min(offset + length, self.size)
            if offset >= stop:
                return b""
            plain = bytearray(stop - offset)
            for start, end in _pieces(offset, stop):
                first = start - start % BLOCK_SIZE
                blocks = self._load(first, raw_size(end) - first)
                plain[start - offset : end - offset] = memoryview(blocks)[start - first : end - first]
            return bytes(plain)

    def pwrite(self, data: bytes | bytearray | memoryview, offset: int) -> int:
        """Raises `RefusedError` EBADF: it was not opened for writing."""
        raise self._read_only()

    def truncate(self, size: int) -> None:
        """Raises `RefusedError` EBADF: it was not opened for writing."""
        raise self._read_only()

    def fsync(self) -> None:
        """Nothing is waiting in a file that is only read."""

    def close(self) -> None:
        """End it; a second time does nothing."""
        with self._acting():
            if self._open:
                self._open = False
                self._contents.close()
                self._mount.close(self._fd)

    @contextmanager
    def _acting(self) -> Iterator[None]:
        """One thread at a time, and errors that tell the plain path."""
        with self._turn, named(self._plain):
            yield

    def _facts(self) -> FileFacts:
        subject = ByDescriptor(self._mount, self._fd)
        found = look(subject, self._plain)
        if found is None:
            raise DamagedError(
                errno.EUCLEAN,
                "its context is gone",
                self._plain,
                remedy="Something removed it while the file was open: look at who writes there.",
            )
        return settle(self._mount, self._stored, subject, self._plain, found)

    def _load(self, first: int, length: int) -> bytearray:
        """Decrypted whole blocks; what is not stored is zeros."""
        blocks = bytearray(self._mount.pread(self._fd, length, first))
        blocks.extend(bytes(length - len(blocks)))
        self._contents.decrypt_into(blocks, blocks, first // BLOCK_SIZE, holes=True)
        return blocks

    def _require_open(self) -> None:
        if not self._open:
            raise RefusedError(errno.EBADF, "the file is closed", self._plain, remedy="Open it again.")

    def _read_only(self) -> EngineError:
        return RefusedError(
            errno.EBADF, "not opened for writing", self._plain, remedy="Open it with write=True."
        )


class _WritableFile(File, ABC):
    """What writers have in common: whole blocks out of any range, and zeros past the end.

    `_prepare` is called before each piece and gives the real size to start from; `_grown` and `_shrinking` store
    a new one.
    """

    def pwrite(self, data: bytes | bytearray | memoryview, offset: int) -> int:
        """Write all of `data` at `offset`; the answer is its length.

        Raises:
            RefusedError: EFBIG: past what a file can have.
            CephError: what was written before it stays.
        """
        with self._acting():
            self._require_open()
            source = memoryview(data).cast("B")
            if offset + len(source) > LARGEST_SIZE:
                raise self._too_big()
            for start, end in _pieces(offset, offset + len(source)):
                self._write_piece(source[start - offset : end - offset], start)
            return len(source)

    def truncate(self, size: int) -> None:
        """Set the real size; what is new reads as zeros."""
        with self._acting():
            self._require_open()
            if not 0 <= size <= LARGEST_SIZE:
                raise self._too_big()
            old = self._prepare()
            if size > old:
                self._zero_tail(old)
                self._mount.ftruncate(self._fd, raw_size(size))
                self._grown(size)
            elif size < old:
                self._shrinking(size)
                self._zero_tail(size)
                self._mount.ftruncate(self._fd, raw_size(size))

    @abstractmethod
    def _prepare(self) -> int:
        """Be sure to be the one who writes; the real size."""

    @abstractmethod
    def _grown(self, size: int) -> None:
        """Data and raw size are there."""

    @abstractmethod
    def _shrinking(self, size: int) -> None:
        """Tail and raw size are still the old ones."""

    def _write_piece(self, data: memoryview, start: int) -> None:
        old = self._prepare()
        end = start + len(data)
        first, last = start - start % BLOCK_SIZE, raw_size(end)
        if first > old:
            self._zero_tail(old)
        blocks = bytearray(last - first)
        if start > first:
            blocks[:BLOCK_SIZE] = self._edge(first, old)
        if end < last and (last - BLOCK_SIZE > first or start == first):
            blocks[-BLOCK_SIZE:] = self._edge(last - BLOCK_SIZE, old)
        blocks[start - first : end - first] = data
        self._contents.encrypt_into(blocks, blocks, first // BLOCK_SIZE)
        self._mount.pwrite(self._fd, bytes(blocks), first)
        if end > old:
            self._grown(end)

    def _edge(self, first: int, size: int) -> bytearray:
        """One block as it is, with zeros past the end of the file."""
        if first >= size:
            return bytearray(BLOCK_SIZE)
        block = self._load(first, BLOCK_SIZE)
        kept = min(size - first, BLOCK_SIZE)
        block[kept:] = bytes(BLOCK_SIZE - kept)
        return block

    def _zero_tail(self, size: int) -> None:
        """Make the last block of a file of `size` bytes end in zeros. A hole stays one."""
        first = size - size % BLOCK_SIZE
        if first == size:
            return
        if not any(self._mount.pread(self._fd, BLOCK_SIZE, first)):
            return
        block = self._load(first, BLOCK_SIZE)
        if any(block[size - first :]):
            block[size - first :] = bytes(first + BLOCK_SIZE - size)
            self._contents.encrypt_into(block, block, first // BLOCK_SIZE)
            self._mount.pwrite(self._fd, bytes(block), first)

    def _too_big(self) -> EngineError:
        return RefusedError(
            errno.EFBIG,
            "no file can have that size",
            self._plain,
            remedy=f"Stay within 0 and {LARGEST_SIZE}.",
        )


class LeasedFile(_WritableFile):
    """A published file in engine mode, open for writing under its lease.

    The lease is kept until `close`, used or not. A handle that lost it nevertheless, because its client slept or was
    cut off for longer than it lasts, takes it again, and reads the size again, at its next write.
    """

    def __init__(
        self, mount: Mount, fd: int, stored: bytes, plain: bytes, contents: Contents, lease: Lease
    ) -> None:
        super().__init__(mount, fd, stored, plain, contents)
        self._lease = lease
        self._known = self._known_facts()

    def fsync(self) -> None:
        """Everything is durable when it returns."""
        with self._acting():
            self._require_open()
            self._mount.fsync(self._fd)

    def seal(self) -> None:
        """Zeros past the end of the file, for readers that trust what is there: a kernel does when it grows one."""
        with self._acting():
            self._require_open()
            self._zero_tail(self._prepare())

    def close(self) -> None:
        """Durable, then the lease goes, then the descriptor. A second time does nothing."""
        with self._acting():
            if self._open:
                try:
                    self._mount.fsync(self._fd)
                finally:
                    try:
                        self._lease.release()
                    finally:
                        super().close()

    def _known_facts(self) -> FileFacts:
        known = self._facts_under_lease()
        if known.mode is not FileMode.ENGINE:
            raise kernel_owned(self._plain)
        return known

    def _facts_under_lease(self) -> FileFacts:
        subject = ByDescriptor(self._mount, self._fd)
        found = look(subject, self._plain, thorough=True)
        if found is None:
            return self._facts()
        return found if found.settled else recover(self._mount, self._fd, self._plain, found)

    def _facts(self) -> FileFacts:
        self._hold()
        return self._known

    def _hold(self) -> None:
        try:
            self._lease.renew()
        except LeaseLostError:
            self._lease.acquire(LEASE_TIMEOUT)
            self._known = self._known_facts()

    def _prepare(self) -> int:
        self._hold()
        return self._known.real_size

    def _grown(self, size: int) -> None:
        self._mount.fsync(self._fd)
        self._store(size)

    def _shrinking(self, size: int) -> None:
        self._store(size)

    def _store(self, size: int) -> None:
        context = self._known.context
        self._mount.fsetxattr(self._fd, ENGINE_XATTR, EngineRecord(context, size).encode())
        self._known = FileFacts(FileMode.ENGINE, context, size, self._known.raw)


class NewFile(_WritableFile):
    """A file that was just made: nobody else can use it before it is published, so it needs no lease until then.

    In engine mode it becomes a leased file when `fsync` publishes it. In kernel mode it is complete then, and further
    writes are refused: they belong to the kernel.
    """

    def __init__(
        self,
        mount: Mount,
        fd: int,
        stored: bytes,
        plain: bytes,
        contents: Contents,
        context: Context,
        *,
        mode: FileMode,
        permissions: int,
    ) -> None:
        super().__init__(mount, fd, stored, plain, contents)
        self._context = context
        self._mode = mode
        self._permissions = permissions
        self._size = 0
        self._published: LeasedFile | None = None
        self._complete = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and not self._complete:
            self.discard()
        else:
            self.close()

    def discard(self) -> None:
        """End it without publishing, and remove its name: what is not complete must not be used by anybody.

        A `with` block that an exception ends does this. Once it was published, this only closes it.
        """
        with self._acting():
            if not self._open or self._complete:
                self.close()
                return
            try:
                # a name that somebody removed may be another's by now
                ours = self._mount.fstat(self._fd).nlink > 0
            finally:
                super().close()
            if ours:
                self._mount.unlink(self._stored)

    @property
    def size(self) -> int:
        """The real size, in bytes."""
        with self._acting():
            return self._published.size if self._published else self._size

    def pwrite(self, data: bytes | bytearray | memoryview, offset: int) -> int:
        """As of any file that is open for writing.

        Raises:
            BusyError: it was published in kernel mode.
        """
        with self._acting():
            return self._published.pwrite(data, offset) if self._published else super().pwrite(data, offset)

    def truncate(self, size: int) -> None:
        """As `pwrite`."""
        with self._acting():
            if self._published:
                self._published.truncate(size)
            else:
                super().truncate(size)

    def fsync(self) -> None:
        """Everything is durable, and the file is there for everybody, when it returns."""
        with self._acting():
            self._require_open()
            if self._mode is FileMode.ENGINE and self._published is None:
                lease = self._mount.lease(self._mount.fstat(self._fd).ino)
                lease.acquire(LEASE_TIMEOUT)
                try:
                    self._publish()
                    self._published = LeasedFile(
                        self._mount, self._fd, self._stored, self._plain, self._contents, lease
                    )
                except BaseException:
                    lease.release()
                    raise
            elif self._published is not None:
                self._published.fsync()
            elif not self._complete:
                self._publish()

    def close(self) -> None:
        """Publish, if that was not done; end it. A second time does nothing."""
        with self._acting():
            if not self._open:
                return
            if self._published is not None:
                self._open = False
                self._published.close()
                return
            try:
                if not self._complete:
                    self._publish()
            finally:
                super().close()

    def _publish(self) -> None:
        """Data first: sizes and attributes reach the MDS without it, and would be believed (doc/spikes.md, 1)."""
        self._mount.fsync(self._fd)
        if self._mode is FileMode.ENGINE:
            self._mount.fsetxattr(self._fd, ENGINE_XATTR, EngineRecord(self._context, self._size).encode())
        else:
            # not before it is complete: afterwards this client could not write it any more (F3)
            self._mount.fsetxattr(self._fd, FILE_XATTR, encode_file_size(self._size))
            self._mount.fsetxattr(self._fd, AUTH_XATTR, self._context.encode_auth())
        self._mount.fchmod(self._fd, self._permissions)
        self._mount.fsync(self._fd)
        require_linked(self._mount.fstat(self._fd), self._plain)
        self._complete = True

    def _facts(self) -> FileFacts:
        return FileFacts(self._mode, self._context, self._size, self._mount.fstat(self._fd))

    def _prepare(self) -> int:
        if self._complete:
            raise kernel_owned(self._plain)
        return self._size

    def _grown(self, size: int) -> None:
        self._size = size

    def _shrinking(self, size: int) -> None:
        self._size = size


def kernel_owned(plain: bytes) -> BusyError:
    """Contents that only kernel clients change."""
    return BusyError(
        errno.EBUSY,
        "a file in kernel mode: its contents belong to kernel clients",
        plain,
        remedy="Write it through a kernel mount, write a new file and rename it over, or hold the subtree.",
    )


def _pieces(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Cut a range at multiples of `PIECE`."""
    while start < stop:
        end = min(stop, start - start % PIECE + PIECE)
        yield start, end
        start = end
