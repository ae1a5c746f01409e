"""Regular files that are open here: one `OpenInode` for all handles of an inode, so they never wait for each other.

A file that was made here is *private* (half made to others) until it is flushed or ended, which publishes it: it needs
no lease until then. Every other writer holds the inode's lease. While it does, it alone knows the real size; others
are told at each flush: last when the file grows (data, raw size, attribute), first when it shrinks below what was told
(doc/engine-xattr.md). What was not told is not acknowledged.
"""

import errno
import fcntl
import os
import random
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from threading import Lock, RLock

from ..ceph.errors import CephError, LeaseLostError, NoAttributeError
from ..ceph.interface import Lease, Mount, RangeLock
from ..format import (
    AUTH_XATTR,
    ENGINE_XATTR,
    FILE_XATTR,
    LARGEST_SIZE,
    Context,
    EngineRecord,
    encode_file_size,
    raw_size,
)
from .attributes import Attributes
from .blocks import Blocks, Pair, Source, pieces
from .errors import BusyError, DamagedError, EngineError, RefusedError
from .filling import filled
from .inodes import LEASE_TIMEOUT, ByDescriptor, FileMode, leased_facts, look, settle
from .making import require_linked, require_usable_mode
from .paths import named
from .sharing import Sharing, alone

FILE_CAPABILITIES = "security.capability"
"""The attribute by which a program runs with rights that its user does not have (capabilities(7))."""
QUANTUM = 0.05
"""Seconds that a shared file's lease is kept for one client's turn."""
_PAUSES = (0.02, 0.06)
"""Seconds between two turns of one client: longer than those who wait sleep, and never the same for all."""


class OpenInode:
    """One regular file. Calls may come from several threads, and take turns.

    Args:
        stored: a path of it, for as long as it is private.
        plain: the path for errors.
        permissions: what it gets when it is published; None where it was there before.
        source: where its blocks are read from until somebody writes it here; None: from the mount.
    """

    def __init__(
        self,
        mount: Mount,
        fd: int,
        stored: bytes,
        plain: bytes,
        pair: Pair,
        context: Context,
        mode: FileMode,
        sharing: Sharing,
        *,
        writable: bool,
        permissions: int | None = None,
        source: Source | None = None,
    ) -> None:
        self.ino = mount.fstat(fd).ino
        self.key: object = self.ino
        self.context = context
        self.mode = mode
        self.handles = 0
        self._mount = mount
        self._fd = fd
        self._stored = stored
        self._plain = plain
        self._pair = pair
        self._blocks = Blocks(mount, fd, pair, source)
        self._sharing = sharing
        self._writable = writable
        self._permissions = permissions
        self._unlinked = False
        self._lock_fd: int | None = None
        self._ranges_locked = False
        self._turn = RLock()
        self._lease: Lease | None = None
        self._size = None if permissions is None else 0
        self._told = 0
        self._next_look = 0.0
        self._next_turn = 0.0
        self._failure: OSError | None = None
        self._untold = False
        self._given_up = False

    # what it is

    @property
    def permissions(self) -> int | None:
        """What a private file will get; None once it is published."""
        return self._permissions

    @property
    def own_size(self) -> int | None:
        """The real size where only we know it: of a private file, or under our lease."""
        with self._turn:
            return self._known_size()

    @property
    def size(self) -> int:
        """The real size as it stands now."""
        with self._acting():
            known = self._known_size()
            return self._told_size() if known is None else known

    # attributes

    @property
    def attributes(self) -> Attributes:
        """What `stat` tells of it, whatever its path is by now; without `version`."""
        with self._acting():
            return Attributes.of(
                self._mount.fstat(self._fd),
                size=self.size,
                encrypted=True,
                permissions=self._permissions,
                file_mode=self.mode,
            )

    def chmod(self, mode: int) -> None:
        """Permission bits. Raises `RefusedError` EINVAL for the mode that marks what is half made."""
        require_usable_mode(mode, self._plain)
        with self._acting():
            if not self.set_permissions(mode):
                self._mount.fchmod(self._fd, mode)

    def chown(self, uid: int, gid: int) -> None:
        """Owner and group, -1 for as it is."""
        with self._acting():
            self._mount.fchown(self._fd, uid, gid)

    def utimens(self, atime: float, mtime: float) -> None:
        """Both times, seconds since 1970."""
        with self._acting():
            self._mount.futimens(self._fd, atime, mtime)

    def drop_rights(self) -> None:
        """Before a change: a program that others write has no rights of its own any more (`file_remove_privs`).

        libcephfs takes set-user-ID and set-group-ID away where somebody else than root or the owner writes
        (doc/facts.md P6); the kernel does so for the owner, too. Root's writes leave them.
        """
        with self._acting():
            if self._permissions is not None or self.mode is not FileMode.ENGINE:
                return
            with suppress(NoAttributeError):
                self._mount.fgetxattr(self._fd, FILE_CAPABILITIES)
                self._mount.fremovexattr(self._fd, FILE_CAPABILITIES)
            user = os.geteuid()
            if user != 0:
                found = self._mount.fstat(self._fd)
                kept = found.mode & ~(stat.S_ISUID | (stat.S_ISGID if found.mode & stat.S_IXGRP else 0))
                if found.uid == user and kept != found.mode:
                    self._mount.fchmod(self._fd, stat.S_IMODE(kept))

    def flock(self, owner: int, operation: int) -> None:
        """flock(2) for one of its handles, without waiting; what is unlocked was flushed before.

        All locks are taken by one descriptor, and end with it: one that is opened later would have to take them anew.
        """
        with self._acting():
            if self._lock_fd is None:
                self._lock_fd = self._fd
            try:
                if operation & fcntl.LOCK_UN:
                    self.flush()
            finally:
                self._mount.flock(self._lock_fd, operation, owner)

    def lock_range(self, lock: RangeLock, owner: int) -> None:
        """fcntl(2), without waiting; what is unlocked was flushed before."""
        with self._acting():
            unlocks = lock.kind == fcntl.F_UNLCK
            if unlocks and not self._ranges_locked:
                return
            self._ranges_locked = True
            try:
                if unlocks:
                    self.flush()
            finally:
                self._mount.lock_range(self.ino, lock, owner)

    def range_blocker(self, lock: RangeLock, owner: int) -> RangeLock | None:
        """A lock of another owner that is in the way of this one."""
        with self._acting():
            self._ranges_locked = True
            return self._mount.range_blocker(self.ino, lock, owner)

    def waiting(self) -> AbstractContextManager[None]:
        """For a `with` block that waits for another client's lock on it (`Mount.waiting`)."""
        return self._mount.waiting()

    # contents

    def read(self, length: int, offset: int) -> bytes:
        """Up to `length` bytes at `offset`; fewer only at the end of the file."""
        with self._acting():
            there = max(0, min(length, self.size - offset))
            return filled(there, lambda plain: self._blocks.read_into(plain, offset))

    def read_into(self, targets: Sequence[memoryview], offset: int) -> int:
        """Fill one after the other from `offset` on, in one turn; how many bytes were there: fewer only at the end of
        the file."""
        with self._acting():
            start, size = offset, self.size
            for target in targets:
                length = max(0, min(len(target), size - offset))
                self._blocks.read_into(target[:length], offset)
                offset += length
            return offset - start

    def write(self, data: memoryview, offset: int | None) -> int:
        """All of `data`, at the end where `offset` is None. What was written before an error stays.

        Raises:
            RefusedError: EFBIG: past what a file can have.
            BusyError: it is in kernel mode.
        """
        with self._writing() as size:
            start = size if offset is None else offset
            self._require_possible(start + len(data))
            for begin, end in pieces(start, start + len(data)):
                self._blocks.write(data[begin - start : end - start], begin, size)
                size = self._size = max(size, end)
            return len(data)

    def truncate(self, size: int) -> None:
        """Set the real size; what is new reads as zeros. Raises as `write`."""
        with self._writing() as old:
            self._require_possible(size)
            if size > old:
                self._blocks.zero_tail(old)
                self._mount.ftruncate(self._fd, raw_size(size))
                self._size = size
            elif size < old:
                self._require_ours()
                if size < self._told:
                    self._tell_size(size)
                self._blocks.zero_tail(size)
                self._mount.ftruncate(self._fd, raw_size(size))
                self._size = size

    def zero(self, offset: int, length: int) -> None:
        """Make a range read as zeros, as far as it is in the file; whole blocks become holes. Raises as `write`."""
        with self._writing() as size:
            self._blocks.zero(offset, offset + length, size)

    def grow(self, size: int) -> None:
        """At least this size; what is new reads as zeros."""
        with self._writing() as old:
            if size > old:
                self.truncate(size)

    def next(self, offset: int, *, hole: bool) -> int | None:
        """Where data, or a hole, begins at or after `offset`; None at and past the end. Holes are whole blocks."""
        with self._acting():
            return self._blocks.next(offset, self.size, hole=hole)

    def flush(self) -> None:
        """Everything is durable, and told, when it returns; a private file is published.

        Raises what failed since the last flush, once.
        """
        with self._acting():
            failure, self._failure = self._failure, None
            if failure is not None:
                raise failure
            if self._permissions is not None:
                self._publish()
            elif self._writable and self.mode is FileMode.ENGINE:
                self._tell()

    def settle(self) -> None:
        """As `flush`, where something was changed since the last one."""
        with self._acting():
            if self._untold or self._failure is not None or self._permissions is not None:
                self.flush()

    def publish(self) -> None:
        """Others may use a private file from now on; it is durable with the mount's next `sync`."""
        with self._acting():
            with self._acknowledging():
                self._mount.fsync(self._fd)
            self._complete()

    # handles

    def allow_writing(self, reopen: Callable[[], int]) -> None:
        """For the first handle that writes: `reopen` gives a descriptor for reading and writing.

        Raises `BusyError` where it is in kernel mode.
        """
        with self._acting():
            if self.mode is FileMode.KERNEL and self._permissions is None:
                raise kernel_owned(self._plain)
            if not self._writable:
                old, self._fd = self._fd, reopen()
                self._blocks = Blocks(self._mount, self._fd, self._pair)
                self._writable = True
                if old != self._lock_fd:
                    self._mount.close(old)

    def set_permissions(self, mode: int) -> bool:
        """Give a private file other permissions; False where it is published."""
        with self._turn:
            if self._permissions is None:
                return False
            self._permissions = mode
            return True

    def lose_name(self) -> None:
        """Its last name was removed here: while it is private, there is nothing to publish any more."""
        with self._turn:
            self._unlinked = True

    def give_up(self) -> None:
        """If it is still private at its end, it is removed: it is not complete."""
        with self._turn:
            self._given_up = True

    def end(self) -> None:
        """Flush, give the lease back, close. A private file whose flush fails is removed: nothing of it was
        acknowledged, and nobody could use it."""
        with self._acting():
            last = self._close
            try:
                if self._given_up and self._permissions is not None:
                    last = self._abandon
                else:
                    self.settle()
            except OSError:
                last = self._abandon
                raise
            finally:
                last()

    def let_go_if_shared(self) -> bool:
        """Give the lease back after our turn, if others have the file open; is it still held?

        An error is kept for the next `flush`.
        """
        if not self._turn.acquire(blocking=False):
            return True
        try:
            if self._size is None or self._lease is None:
                return False
            self._give_turn()
        except OSError as error:
            self._failure = error
            self._drop()
        finally:
            self._turn.release()
        return self._size is not None

    # parts

    @contextmanager
    def _acting(self) -> Iterator[None]:
        with self._turn, named(self._plain):
            yield

    @contextmanager
    def _writing(self) -> Iterator[int]:
        """The turn of one change; the real size before it."""
        with self._acting():
            size = self._hold()
            self._untold = True
            yield size
            self._give_turn()

    def _hold(self) -> int:
        if self._permissions is None and self.mode is FileMode.KERNEL:
            raise kernel_owned(self._plain)
        known = self._known_size()
        if known is not None:
            return known
        if self._lease is None:
            self._lease = self._mount.lease(self.ino)
        time.sleep(max(0.0, self._next_turn - time.monotonic()))
        self._lease.acquire(LEASE_TIMEOUT)
        try:
            size = self._size_under_lease()
        except BaseException:
            self._lease.release()
            raise
        self._size = self._told = size
        self._next_look = time.monotonic() + QUANTUM
        self._sharing.watch(self)
        return size

    def _size_under_lease(self) -> int:
        found = leased_facts(self._mount, self._fd, self._stored, self._plain)
        if found.mode is not FileMode.ENGINE:
            raise kernel_owned(self._plain)
        return found.real_size

    def _require_ours(self) -> None:
        """Raises `BusyError` where somebody has given it to kernels meanwhile: a client that shortens such a file is
        aborted, and so is everybody who knows it (doc/facts.md F4)."""
        if self._permissions is None:
            found = look(ByDescriptor(self._mount, self._fd), self._plain, thorough=True)
            if found is not None and found.mode is not FileMode.ENGINE:
                raise kernel_owned(self._plain)

    def _known_size(self) -> int | None:
        """Our own knowledge of the size, as long as it is the truth.

        Raises:
            DamagedError: EIO: the lease ran out, and with it what was not told.
        """
        if self._size is None or self._lease is None:
            return self._size
        try:
            self._lease.renew()
        except LeaseLostError as lost:
            untold = self._size != self._told
            self._size = None
            if untold:
                raise DamagedError(
                    errno.EIO,
                    "this client was away for longer than its lease lasts: what made the file longer since the last "
                    "fsync may be lost",
                    self._plain,
                    remedy="Write it again.",
                ) from lost
        return self._size

    def _told_size(self) -> int:
        subject = ByDescriptor(self._mount, self._fd)
        found = look(subject, self._plain)
        if found is None:
            raise DamagedError(
                errno.EUCLEAN,
                "its context is gone",
                self._plain,
                remedy="Something removed it while the file was open: look at who writes there.",
            )
        return settle(self._mount, self._stored, subject, self._plain, found).real_size

    def _give_turn(self) -> None:
        """Let go when our turn is over and others have the file open."""
        if self._lease is None or self._size is None or time.monotonic() < self._next_look:
            return
        if alone(self._mount.capabilities(self._fd)):
            self._next_look = time.monotonic() + QUANTUM
        else:
            self._tell()
            self._drop()

    def _drop(self) -> None:
        """Give the lease back, if it was ever taken."""
        self._next_turn = time.monotonic() + random.uniform(*_PAUSES)  # noqa: S311 - no secret
        if self._lease is not None:
            self._size = None
            self._lease.release()

    def _tell(self) -> None:
        """Data first: sizes and attributes reach the MDS without it, and would be believed (doc/spikes.md, 1)."""
        with self._acknowledging():
            self._mount.fsync(self._fd)
            size = self._known_size()
            if size is not None and size != self._told:
                self._tell_size(size)
                self._mount.fsync(self._fd)
        self._untold = False

    @contextmanager
    def _acknowledging(self) -> Iterator[None]:
        """If it fails, the file is as long as it was acknowledged.

        libcephfs drops what a full pool refuses, and says so once (doc/facts.md F16): a later flush, which has nothing
        left to do, must not tell a size for it.
        """
        try:
            yield
        except CephError:
            if self._permissions is None:
                self._drop()
            else:
                self._size = 0
                self._mount.ftruncate(self._fd, 0)
            raise

    def _tell_size(self, size: int) -> None:
        if self._permissions is None:
            self._mount.fsetxattr(self._fd, ENGINE_XATTR, EngineRecord(self.context, size).encode())
        self._told = size

    def _publish(self) -> None:
        """Data first, as `_tell`; last the mode, which completes it."""
        with self._acknowledging():
            self._mount.fsync(self._fd)
        if self._complete():
            self._mount.fsync(self._fd)
            require_linked(self._mount.fstat(self._fd), self._plain)

    def _complete(self) -> bool:
        """Give a private file whose data is durable its attributes and its mode; was there anything to complete?"""
        if self._unlinked or self._permissions is None or self._size is None:
            return False
        if self.mode is FileMode.ENGINE:
            record = EngineRecord(self.context, self._size)
            self._mount.fsetxattr(self._fd, ENGINE_XATTR, record.encode())
        else:
            # not before it is complete: afterwards this client could not write it any more (doc/facts.md F3)
            self._mount.fsetxattr(self._fd, FILE_XATTR, encode_file_size(self._size))
            self._mount.fsetxattr(self._fd, AUTH_XATTR, self.context.encode_auth())
        self._mount.fchmod(self._fd, self._permissions)
        self._permissions = self._size = None
        self._untold = False
        return True

    def _abandon(self) -> None:
        """Close; a private file is removed, for it is not complete."""
        ours = False
        try:
            # a name that somebody removed may be another's by now
            ours = self._permissions is not None and self._mount.fstat(self._fd).nlink > 0
        finally:
            self._close()
        if ours:
            self._mount.unlink(self._stored)

    def _close(self) -> None:
        try:
            self._drop()
        finally:
            self._pair.close()
            if self._ranges_locked:
                self._mount.forget_ranges(self.ino)
            if self._lock_fd not in (None, self._fd):
                self._mount.close(self._lock_fd)
            self._mount.close(self._fd)

    def _require_possible(self, size: int) -> None:
        if not 0 <= size <= LARGEST_SIZE:
            raise RefusedError(
                errno.EFBIG,
                "no file can have that size",
                self._plain,
                remedy=f"Stay within 0 and {LARGEST_SIZE}.",
            )


class OpenInodes:
    """All that are open in one file system, by inode number (in snapshots by a key of their own). Calls may come from
    several threads."""

    def __init__(self) -> None:
        self._inodes: dict[object, OpenInode] = {}
        self._turn = Lock()

    def __bool__(self) -> bool:
        return bool(self._inodes)

    @contextmanager
    def using(self, ino: int | None) -> Iterator[OpenInode | None]:
        """The open inode of this number, which stays open for the `with` block."""
        inode = None if ino is None else self.join(ino)
        try:
            yield inode
        finally:
            if inode is not None:
                self.let_go(inode)

    def join(self, ino: int) -> OpenInode | None:
        """The open inode of this number, with one handle more."""
        with self._turn:
            inode = self._inodes.get(ino)
            if inode is not None:
                inode.handles += 1
            return inode

    def add(self, inode: OpenInode) -> OpenInode | None:
        """With its first handle; the answer is another one of this number that was faster, with one handle more."""
        with self._turn:
            there = self._inodes.setdefault(inode.key, inode)
            there.handles += 1
            return None if there is inode else there

    def leave(self, inode: OpenInode) -> bool:
        """One handle less; was it the last?"""
        with self._turn:
            inode.handles -= 1
            if inode.handles:
                return False
            del self._inodes[inode.key]
            return True

    def hold(self, inode: OpenInode) -> bool:
        """One handle more, if the inode is still open."""
        with self._turn:
            if self._inodes.get(inode.key) is not inode:
                return False
            inode.handles += 1
            return True

    def let_go(self, inode: OpenInode) -> None:
        """One handle less; the last one ends the inode."""
        if self.leave(inode):
            inode.end()


def kernel_owned(plain: bytes) -> BusyError:
    """Contents that only kernel clients change."""
    return BusyError(
        errno.EBUSY,
        "a file in kernel mode: its contents belong to kernel clients",
        plain,
        remedy="Write it through a kernel mount, write a new file and rename it over, or hold the subtree.",
    )


def closed(plain: bytes) -> EngineError:
    """A handle that was closed."""
    return RefusedError(errno.EBADF, "the file is closed", plain, remedy="Open it again.")
