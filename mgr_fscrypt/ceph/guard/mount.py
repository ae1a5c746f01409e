"""A `Mount` whose libcephfs may die: each call is done by a child process, and again by its successor if it is safe.

What only reads is repeated. A change that was under way when the child died is not: it may or may not have been made,
and another client may have gone on from there, so it is an error (`ClientDiedError`). What was written through a
descriptor and not flushed is lost with the child: every further call on that descriptor is an error, until it is
closed. Descriptors that lost nothing are opened again where they are used next.
"""

import errno
import logging
import os
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from ..cluster import Cluster
from ..errors import CephError, ClientDiedError
from ..interface import Capacity, Entry, Identity, Layout, RangeLock, Session, Stat
from ..leases import NAMESPACE, Keeper, ObjectLease
from ..presence import Registry
from . import values
from .changes import Changes
from .descriptors import Descriptor, Descriptors, lost
from .process import Child, DiedError
from .succession import Succession, Terms

if TYPE_CHECKING:
    import rados

T = TypeVar("T")

COMMAND = (sys.executable, "-P", "-m", f"{__package__}.child")
_TRIES = 4
"""How often a call is repeated by a successor: it may be what they die of."""
_PAGE = 1000
"""Entries of a directory in one answer; the MDS gives up to 1024 at once."""
_log = logging.getLogger(__name__)


class GuardedMount:
    """The `Mount` of a real cluster, through a child process. A context manager. Calls may come from several threads.

    It is like `CephMount` in all but this: a call takes some 0.1 ms more, and may raise `ClientDiedError`.
    """

    def __init__(
        self, cluster: Cluster, command: Sequence[str] = COMMAND, *, own: set[str] | None = None
    ) -> None:
        """Mount as `cluster.access` says. `command` starts a child; `own` has the addresses of mounts that count as
        this one, and gets those of the children.

        Raises:
            UnreachableError: no MDS served the child in time.
            UnsupportedReleaseError: libcephfs or an MDS is below Ceph 18.
        """
        self.cluster = cluster
        self._command = command
        self._descriptors = Descriptors()
        self._own = set() if own is None else own
        self._unsynced_lost = False
        self._keeper = Keeper()
        self._leases: rados.Ioctx | None = None
        self._pool = ""
        access = values.of_access(cluster.access)
        self._succession = Succession(
            Terms(
                command,
                settings=lambda session, dead: (access, session, dead),
                started=self._started,
                died=self._died,
            )
        )
        try:
            self._leases = cluster.ioctx(self._pool, NAMESPACE)
        except BaseException:
            self.shutdown()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()

    def shutdown(self) -> None:
        """Unmount; a second time does nothing."""
        self._succession.end()
        self._keeper.end()
        if self._leases is not None:
            self._leases.close()
            self._leases = None

    @property
    def process(self) -> int:
        """The child that lives now."""
        return self._succession.living().pid

    def identity(self) -> str:
        """The cluster's fsid and the file system's number."""
        return str(self._read("identity"))

    def require_writable(self) -> None:
        """Raises `UnsupportedReleaseError` where this program must not write."""
        self._read("require_writable")

    # files

    def open(self, path: bytes, flags: int, mode: int = 0) -> int:
        """A descriptor; never of a link's target."""

        def act(child: Child) -> int:
            (fd, ino), _ = child.ask("open", path, flags, mode)
            return self._descriptors.add(Descriptor(path, flags, ino, child, fd))

        return self._attempt(act, changes=bool(flags & (os.O_CREAT | os.O_TRUNC)))

    def close(self, fd: int) -> None:
        """End a descriptor."""
        descriptor = self._descriptors.remove(fd)
        try:
            descriptor.child.ask("close", descriptor.fd)
        except DiedError:
            if descriptor.changes.pending and not descriptor.told:
                raise lost(descriptor.path) from None
        else:
            if descriptor.changes.pending:
                # what it leaves in the caches is the mount's from now on
                descriptor.child.unsynced.add()

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        """Up to `length` bytes."""
        return self._with(fd, lambda child, there: child.ask("pread", there, length, offset)[1])

    def pwrite(self, fd: int, data: bytes, offset: int) -> None:
        """All of `data`."""
        self._change_file(fd, "pwrite", offset, data=data)

    def ftruncate(self, fd: int, size: int) -> None:
        """Set the raw size (F4!)."""
        self._change_file(fd, "ftruncate", size)

    def punch(self, fd: int, offset: int, length: int) -> None:
        """Make a hole inside the file."""
        self._change_file(fd, "punch", offset, length)

    def fsync(self, fd: int) -> None:
        """Data, size and attributes are durable when it returns."""
        changes = self._descriptors.find(fd).changes

        def act(child: Child, there: int) -> None:
            made = changes.made
            child.ask("fsync", there)
            changes.settle(made)

        self._with(fd, act)

    def fstat(self, fd: int) -> Stat:
        """Of an open file."""
        return Stat(*self._with(fd, lambda child, there: child.ask("fstat", there)[0]))

    def fchmod(self, fd: int, mode: int) -> None:
        """Permission bits."""
        self._change_file(fd, "fchmod", mode)

    def fchown(self, fd: int, uid: int, gid: int) -> None:
        """Owner and group of an open file."""
        self._change_file(fd, "fchown", uid, gid)

    def futimens(self, fd: int, atime: float, mtime: float) -> None:
        """Both times of an open file."""
        self._change_file(fd, "futimens", atime, mtime)

    def flock(self, fd: int, operation: int, owner: int) -> None:
        """Refused, as all locks: those of a child that dies would be another client's, and nobody would know."""
        raise _no_locks()

    def lock_range(self, ino: int, lock: RangeLock, owner: int) -> None:
        """Refused, as `flock`."""
        raise _no_locks()

    def range_blocker(self, ino: int, lock: RangeLock, owner: int) -> RangeLock | None:
        """Refused, as `flock`."""
        raise _no_locks()

    def forget_ranges(self, ino: int) -> None:
        """There are none."""

    def waiting(self) -> AbstractContextManager[None]:
        """Nothing is waited for here but what the child waits for."""
        return nullcontext()

    def fgetxattr(self, fd: int, name: str) -> bytes:
        """An attribute of an open file."""
        return bytes(self._with(fd, lambda child, there: child.ask("fgetxattr", there, name)[0]))

    def fsetxattr(self, fd: int, name: str, value: bytes) -> None:
        """Create or replace an attribute of an open file."""
        self._change_file(fd, "fsetxattr", name, value)

    def fremovexattr(self, fd: int, name: str) -> None:
        """Remove a real attribute of an open file."""
        self._change_file(fd, "fremovexattr", name)

    def capabilities(self, fd: int) -> str:
        """Those of the child (F10)."""
        return str(self._with(fd, lambda child, there: child.ask("capabilities", there)[0]))

    # inodes by path

    def stat(self, path: bytes) -> Stat:
        """Of the inode itself."""
        return Stat(*self._read("stat", path))

    def identify(self, path: bytes) -> Identity:
        """Which inode it is."""
        return Identity(*self._read("identify", path))

    def getxattr(self, path: bytes, name: str) -> bytes:
        """An attribute of the inode itself."""
        return bytes(self._read("getxattr", path, name))

    def listxattr(self, path: bytes) -> list[str]:
        """Names of the real attributes."""
        return list(self._read("listxattr", path))

    def setxattr(self, path: bytes, name: str, value: bytes, flags: int = 0) -> None:
        """Create or replace an attribute of the inode itself, or only one of them."""
        self._change_attribute("setxattr", path, name, value, flags)

    def removexattr(self, path: bytes, name: str) -> None:
        """Remove a real attribute of the inode itself."""
        self._change_attribute("removexattr", path, name)

    def statfs(self, path: bytes) -> Capacity:
        """How much room there is."""
        return Capacity(*self._read("statfs", path))

    def layout(self, path: bytes) -> Layout:
        """Of a file; of a directory what its new files get."""
        return Layout(*self._read("layout", path))

    def erasure_coded(self, pool: str) -> bool:
        """Does the pool hold coded pieces instead of copies?"""
        return self.cluster.erasure_coded(pool)

    def room(self, pool: str) -> int:
        """Bytes of contents that the pool can still take."""
        return self.cluster.room(pool)

    def chmod(self, path: bytes, mode: int) -> None:
        """Permission bits, of a link itself too."""
        self._change_attribute("chmod", path, mode)

    def chown(self, path: bytes, uid: int, gid: int) -> None:
        """Owner and group of the inode itself."""
        self._change_attribute("chown", path, uid, gid)

    def utimens(self, path: bytes, atime: float, mtime: float) -> None:
        """Times of the inode itself."""
        self._change_attribute("utimens", path, atime, mtime)

    # names

    def mkdir(self, path: bytes, mode: int) -> None:
        """Make a directory."""
        self._change_names("mkdir", path, mode)

    def mknod(self, path: bytes, mode: int, device: int) -> None:
        """A FIFO, socket or device."""
        self._change_names("mknod", path, mode, device)

    def rmdir(self, path: bytes) -> None:
        """Remove an empty directory."""
        self._change_names("rmdir", path)

    def unlink(self, path: bytes) -> None:
        """Remove a name."""
        self._change_names("unlink", path)

    def rename(self, source: bytes, target: bytes) -> None:
        """Move a name."""
        self._change_names("rename", source, target)

    def link(self, existing: bytes, new: bytes) -> None:
        """A second name."""
        self._change_names("link", existing, new)

    def symlink(self, target: bytes, path: bytes) -> None:
        """A symbolic link."""
        self._change_names("symlink", target, path)

    def readlink(self, path: bytes) -> bytes:
        """The target as stored."""
        return bytes(self._read("readlink", path))

    def scandir(self, path: bytes) -> Generator[Entry]:
        """Entries as a stream, page by page; a page that a child's death cut off is read again."""
        place: int | None = 0
        while place is not None:
            entries, place = self._read("entries_from", path, place, _PAGE)
            yield from map(values.entry_of, entries)

    def alternate_names(self, path: bytes) -> dict[bytes, bytes]:
        """Of the entries of a directory. Raises as `CephMount.alternate_names`."""
        return dict(self._read("alternate_names", path))

    def sync(self) -> None:
        """Everything dirty is durable when it returns.

        Raises:
            ClientDiedError: attributes that were changed since the last time are lost; said once.
        """

        def act(child: Child) -> None:
            if self._unsynced_lost:
                self._unsynced_lost = False
                raise lost()
            made = [(each, each.made) for each in self._kept_by(child)]
            child.ask("sync")
            for each, number in made:
                each.settle(number)

        self._attempt(act)

    # other clients

    def lease(self, ino: int) -> ObjectLease:
        """The lease of an inode, not yet acquired. It is this process's own, and outlives a child."""
        self.require_writable()
        return ObjectLease(self._leases, ino, f"{self.cluster.access.entity} {os.getpid()}", self._keeper)

    def sessions(self) -> list[Session]:
        """All clients but ours. Raises as `CephMount.sessions`."""
        found = [Session(*plain) for plain in self._read("sessions")]
        return [session for session in found if session.address not in self._own]

    def evict(self, session: Session) -> None:
        """End a session everywhere and blocklist it. Raises as `CephMount.evict`."""
        self._read("evict", values.of_fields(session))
        # the child has waited for the OSD map, but librados is ours
        self.cluster.catch_up()

    def absolute(self, path: bytes) -> bytes:
        """`path` of this mount as a path of the whole file system."""
        return self.cluster.access.absolute(path)

    @contextmanager
    def fresh(self) -> Iterator["GuardedMount"]:
        """A second mount like this one, for a `with` block, with a child of its own."""
        with GuardedMount(self.cluster, self._command, own=self._own) as other:
            yield other

    def renew(self) -> None:
        """Forget every inode: the child unmounts and ends, and another one mounts."""
        self._descriptors.forget()
        self._succession.renew()

    # parts

    def _read(self, name: str, *arguments: object) -> Any:
        return self._attempt(lambda child: child.ask(name, *arguments)[0])

    def _change_attribute(self, name: str, *arguments: object) -> None:
        """Change an attribute of an inode, which the child may keep in its caches."""
        self._attempt(lambda child: _counted(child, child.unsynced, name, *arguments), changes=True)

    def _change_names(self, name: str, *arguments: object) -> None:
        """Change names: the MDS has them in its journal, whatever becomes of the child."""
        self._attempt(lambda child: child.ask(name, *arguments), changes=True)

    def _with(self, fd: int, act: Callable[[Child, int], T]) -> T:
        descriptor = self._descriptors.find(fd)
        return self._attempt(lambda child: act(child, descriptor.within(child)))

    def _change_file(self, fd: int, name: str, *arguments: object, data: bytes = b"") -> None:
        descriptor = self._descriptors.find(fd)

        def act(child: Child) -> None:
            _counted(child, descriptor.changes, name, descriptor.within(child), *arguments, data=data)

        self._attempt(act, changes=True)

    def _attempt(self, act: Callable[[Child], T], *, changes: bool = False) -> T:
        """Have a child do it, and its successors as long as that is safe."""
        for _ in range(_TRIES):
            child = self._succession.living()
            try:
                return act(child)
            except DiedError as death:
                self._succession.lost(child)
                if changes and death.asked:
                    raise _uncertain() from death
        raise ClientDiedError(
            errno.EIO,
            f"libcephfs died {_TRIES} times while it did this. Nothing was changed. The log says of what it dies",
        )

    def _kept_by(self, child: Child) -> list[Changes]:
        """Whose changes are in its caches."""
        return [child.unsynced, *(each.changes for each in self._descriptors.within(child))]

    def _started(self, greeting: tuple[str, str], dead: Sequence[str]) -> None:
        """A child is ready; it has ended the sessions of the `dead`, which others need not do any more."""
        address, self._pool = greeting
        self._own.add(address)
        if self._leases is None:
            return
        try:
            for session in dead:
                Registry(self._leases).remove(session)
        except CephError as error:
            _log.info("dead clients are still listed (%s): others will see to it", error)

    def _died(self, child: Child) -> None:
        if child.unsynced.pending:
            self._unsynced_lost = True


def _counted(child: Child, changes: Changes, name: str, *arguments: object, data: bytes = b"") -> None:
    """Have the child make a change that it may keep in its caches."""
    changes.add()
    try:
        child.ask(name, *arguments, data=data)
    except DiedError as death:
        if not death.asked:
            changes.take_back()
        raise


def _no_locks() -> CephError:
    return CephError(
        errno.EOPNOTSUPP,
        "a mount that survives the death of its libcephfs has no locks. Take them through a mount in engine mode, or "
        "through a kernel mount",
    )


def _uncertain() -> ClientDiedError:
    return ClientDiedError(
        errno.EIO,
        "libcephfs died while it did this: it may or may not have been done. Look, and do it again if need be",
    )
