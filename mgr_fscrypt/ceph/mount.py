"""A mounted CephFS through libcephfs."""

import errno
import fcntl
import json
import os
import time
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from itertools import islice
from threading import Lock
from types import TracebackType
from typing import Any, Self

import cephfs
import rados

from . import capabilities
from .access import Access
from .cluster import Cluster
from .dentries import alternate_names
from .errors import (
    CephError,
    NoAttributeError,
    NotFoundError,
    UnreachableError,
    UnsupportedReleaseError,
    error_of,
)
from .gathering import gather_nothing
from .interface import (
    LAYOUT_XATTR,
    VXATTR_LIMIT,
    Capacity,
    Entry,
    Identity,
    Kind,
    Layout,
    RangeLock,
    Session,
    Stat,
    kind_of_mode,
)
from .leases import NAMESPACE, Keeper, ObjectLease
from .presence import Calls, Presence, Remedies, Watcher, new_uuid
from .range_locks import RangeLocks
from .read_ahead import ReadAhead
from .reclaim import ANNOUNCED, reset
from .releases import Release, require_usable, require_writable
from .sessions import session_of
from .waiting_reads import WaitingReads

_STATX_MASK = cephfs.CEPH_STATX_BASIC_STATS | cephfs.CEPH_STATX_VERSION
_IDENTITY_MASK = cephfs.CEPH_STATX_INO | cephfs.CEPH_STATX_MODE
_XATTR_SIZES = (4096, 65536)
_TARGET_SIZE = 8192
_RESERVE = cephfs.FALLOC_FL_KEEP_SIZE
_PUNCH = cephfs.FALLOC_FL_PUNCH_HOLE | cephfs.FALLOC_FL_KEEP_SIZE
_EVICTION_TIMEOUT = 30.0
_PAGE = 256
"""Entries of a directory that are read in one go: libcephfs has asked for more of them at once anyway."""


class _Call:
    """A call of libcephfs: noted while it is under way, and its exceptions turned into ours.

    A class with slots, because this is around every call: it takes half the time of a `contextmanager`.
    """

    __slots__ = ("_action", "_begun", "_subject")

    def __init__(self, begun: dict[int, float], action: str, subject: bytes | None) -> None:
        self._begun = begun
        self._action = action
        self._subject = subject

    def __enter__(self) -> None:
        self._begun[id(self)] = time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._begun[id(self)]
        if isinstance(error, cephfs.Error):
            raise error_of(getattr(error, "errno", 0) or errno.EIO, self._action, self._subject) from error


def _new_library(access: Access) -> Any:
    """libcephfs, configured and not mounted."""
    kind, _, name = access.entity.partition(".")
    if kind == "client":
        return cephfs.LibCephFS(conffile=access.conf_file, auth_id=name)
    # it calls all others clients, too, unless it shares the configuration of librados: ceph-mgr's own modules do
    return cephfs.LibCephFS(rados_inst=rados.Rados(name=access.entity, conffile=access.conf_file))


class CephMount:
    """The `Mount` of a real cluster. A context manager: a client that ends without `shutdown` holds others up for
    more than a minute (doc/facts.md F14).

    Calls may come from several threads: libcephfs serves them so, and this class keeps nothing between calls but
    the leases that it renews, and its presence. A call that a dead client holds up goes on within seconds
    (`presence`). Any call may raise `SessionLostError`, when we were taken for dead ourselves.
    """

    def __init__(self, cluster: Cluster, session: str | None = None) -> None:
        """Mount as `cluster.access` says, announcing ourselves: under the uuid `session`, by default a new one.

        Raises:
            UnreachableError: no MDS served us in time.
            UnsupportedReleaseError: libcephfs or an MDS is below Ceph 18.
        """
        self.cluster = cluster
        self._library = _new_library(cluster.access)
        self._refusal: UnsupportedReleaseError | None = None
        self._own: set[str] = set()
        self._leases: Any = None
        self._keeper = Keeper()
        self._calls = Calls()
        self._waiting_reads = WaitingReads(self._ask_for_size)
        self._read_ahead = ReadAhead(
            self._read_on, lambda fd: "c" in self.capabilities(fd).rpartition("F")[2]
        )
        self._uuid = session or new_uuid()
        self._presence: Presence | None = None
        self._watcher: Watcher | None = None
        self._locking: tuple[RangeLocks, Presence] | None = None
        self._locking_turn = Lock()
        self._mount()
        try:
            self._judge_releases()
            self._leases = cluster.ioctx(self.data_pool(), NAMESPACE)
            self._presence = self._new_presence()
            self._watcher = Watcher(
                self._leases,
                cluster.access.entity,
                lambda: self._uuid,
                self._calls,
                Remedies(partial(reset, cluster.access), self._evict_by_uuid),
            )
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
        if self._watcher is not None:
            self._watcher.end()
        self._unlock_ranges()
        self._read_ahead.end()
        self._waiting_reads.end()
        # we are present until everything is flushed and our session has ended: nobody ends it for us meanwhile
        self._library.shutdown()
        try:
            if self._presence is not None:
                self._presence.withdraw()
        finally:
            self._keeper.end()
            if self._leases is not None:
                self._leases.close()
                self._leases = None

    @property
    def address(self) -> str:
        """As sessions are listed by it: `ip:port/nonce`."""
        return str(self._library.get_addrs())

    def require_writable(self) -> None:
        """Raises `UnsupportedReleaseError` where this program must not write."""
        if self._refusal is not None:
            raise self._refusal
        self._show()

    def identity(self) -> str:
        """The cluster's fsid and the file system's number, which is never given again."""
        with self._call("find the file system"):
            return f"{self.cluster.identity}/{self._library.get_fscid()}"

    # files

    def open(self, path: bytes, flags: int, mode: int = 0) -> int:
        """A descriptor; never of a link's target."""
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            self.require_writable()
        else:
            self._show()  # what a dead reader may cache holds writers up, too
        with self._call("open", path):
            return int(self._library.open(path, flags | os.O_NOFOLLOW, mode))

    def close(self, fd: int) -> None:
        """End a descriptor."""
        self._read_ahead.forget(fd)
        with self._call("close"):
            self._library.close(fd)

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        """Up to `length` bytes."""
        with self._call("read"), self._waiting_reads.reading(fd):
            found = bytes(self._library.read(fd, offset, length))
        if len(found) == length:
            self._read_ahead.after(fd, offset, offset + length)
        return found

    def pwrite(self, fd: int, data: bytes, offset: int) -> None:
        """All of `data`; nothing at all for no bytes, which libcephfs would refuse (F15)."""
        self.require_writable()
        done = 0
        with self._call("write"):
            while done < len(data):
                done += self._library.write(fd, data[done:] if done else data, offset + done)

    def ftruncate(self, fd: int, size: int) -> None:
        """Set the raw size (F4!)."""
        self.require_writable()
        with self._call("truncate"):
            self._library.ftruncate(fd, size)

    def punch(self, fd: int, offset: int, length: int) -> None:
        """Make a hole inside the file. ENOSPC: the pool is full, and the hole may or may not be there."""
        self.require_writable()
        with self._call("punch"):
            # Reserving changes nothing, and is refused while the pool is full. A punch waits then, and may be answered
            # without having been done (doc/facts.md F16): so it counts if there was space before and after.
            self._library.fallocate(fd, offset, length, _RESERVE)
            self._library.fallocate(fd, offset, length, _PUNCH)
            self._library.fallocate(fd, offset, length, _RESERVE)

    def fsync(self, fd: int) -> None:
        """Data, size and attributes are durable when it returns."""
        with self._call("fsync"):
            self._library.fsync(fd, False)

    def fstat(self, fd: int) -> Stat:
        """Of an open file."""
        with self._call("fstat"):
            found = self._library.fstat(fd)
        return Stat(
            ino=found.st_ino,
            mode=found.st_mode,
            nlink=found.st_nlink,
            uid=found.st_uid,
            gid=found.st_gid,
            size=found.st_size,
            blocks=found.st_blocks,
            atime=found.st_atime.timestamp(),
            mtime=found.st_mtime.timestamp(),
            ctime=found.st_ctime.timestamp(),
        )

    def fchmod(self, fd: int, mode: int) -> None:
        """Permission bits."""
        self.require_writable()
        with self._call("fchmod"):
            self._library.fchmod(fd, mode)

    def fchown(self, fd: int, uid: int, gid: int) -> None:
        """Owner and group."""
        self.require_writable()
        with self._call("fchown"):
            self._library.fchown(fd, uid, gid)

    def futimens(self, fd: int, atime: float, mtime: float) -> None:
        """Times."""
        self.require_writable()
        with self._call("futimens"):
            self._library.futimens(fd, (atime, mtime))

    def flock(self, fd: int, operation: int, owner: int) -> None:
        """flock(2) by an owner, never waiting."""
        self._show()  # a dead holder keeps others out
        with self._call("flock"):
            self._library.flock(fd, operation | fcntl.LOCK_NB, owner)

    def lock_range(self, ino: int, lock: RangeLock, owner: int) -> None:
        """fcntl(2) by an owner, never waiting."""
        with self._call("lock a range"):
            self._range_locks().set(ino, lock, owner)

    def range_blocker(self, ino: int, lock: RangeLock, owner: int) -> RangeLock | None:
        """Who is in the way."""
        with self._call("look for a lock"):
            return self._range_locks().blocker(ino, lock, owner)

    def forget_ranges(self, ino: int) -> None:
        """Give all of a file back."""
        if self._locking is not None:
            with self._call("unlock"):
                self._range_locks().forget(ino)

    def waiting(self) -> AbstractContextManager[None]:
        """Counts as a call that is under way, so that dead clients are looked for."""
        return self._call("wait for a lock")

    def fgetxattr(self, fd: int, name: str) -> bytes:
        """An attribute of an open file."""
        with self._call(f"get {name}"):
            return self._attribute(name, lambda size: self._library.fgetxattr(fd, name, size))

    def fsetxattr(self, fd: int, name: str, value: bytes) -> None:
        """Create or replace an attribute of an open file."""
        self.require_writable()
        _check_length(name, value)
        with self._call(f"set {name}"):
            self._library.fsetxattr(fd, name, value, 0)

    def fremovexattr(self, fd: int, name: str) -> None:
        """Remove a real attribute of an open file."""
        self.require_writable()
        with self._call(f"remove {name}"):
            self._library.fremovexattr(fd, name)

    def capabilities(self, fd: int) -> str:
        """As the vxattr `ceph.caps` has them, which costs a round trip to the MDS (0.2 ms; this one 1 us) (F10)."""
        with self._call("look at capabilities"):
            return capabilities.in_letters(self._library.debug_get_fd_caps(fd))

    # inodes by path

    def stat(self, path: bytes) -> Stat:
        """Of the inode itself."""
        self._show()  # what a dead client knows of an inode holds up who changes it
        with self._call("stat", path):
            found = self._library.statx(path, _STATX_MASK, cephfs.AT_SYMLINK_NOFOLLOW)
        return Stat(
            **{name: found[name] for name in ("ino", "mode", "nlink", "uid", "gid", "size", "blocks")},
            **{name: found[name].timestamp() for name in ("atime", "mtime", "ctime")},
            version=found.get("version"),
            rdev=found["rdev"],
        )

    def identify(self, path: bytes) -> Identity:
        """Which inode it is."""
        self._show()
        with self._call("stat", path):
            found = self._library.statx(path, _IDENTITY_MASK, cephfs.AT_SYMLINK_NOFOLLOW)
        return Identity(found["ino"], found["mode"])

    def getxattr(self, path: bytes, name: str) -> bytes:
        """An attribute of the inode itself."""
        with self._call(f"get {name}", path):
            return self._attribute(name, lambda size: self._library.lgetxattr(path, os.fsencode(name), size))

    def listxattr(self, path: bytes) -> list[str]:
        """Names of the attributes of the inode itself."""
        with self._call("list attributes", path):
            names = self._attribute("", lambda size: self._library.llistxattr(path, size)[1])
        return [os.fsdecode(name) for name in names.split(b"\0") if name]

    def setxattr(self, path: bytes, name: str, value: bytes, flags: int = 0) -> None:
        """Create or replace an attribute of the inode itself."""
        self.require_writable()
        _check_length(name, value)
        with self._call(f"set {name}", path):
            self._library.lsetxattr(path, os.fsencode(name), value, flags)

    def removexattr(self, path: bytes, name: str) -> None:
        """Remove a real attribute of the inode itself."""
        self.require_writable()
        with self._call(f"remove {name}", path):
            self._library.lremovexattr(path, os.fsencode(name))

    def statfs(self, path: bytes) -> Capacity:
        """How much room there is."""
        with self._call("statfs", path):
            found = self._library.statfs(path)
        return Capacity(
            block_size=found["f_frsize"],
            blocks=found["f_blocks"],
            free=found["f_bfree"],
            available=found["f_bavail"],
            inodes=found["f_files"],
            longest_name=found["f_namemax"],
        )

    def layout(self, path: bytes) -> Layout:
        """Of a file; of a directory what its new files get, from the nearest directory that says it."""
        if self.stat(path).kind is Kind.FILE:
            return Layout.parse(self.getxattr(path, "ceph.file.layout"))
        while True:
            try:
                return Layout.parse(self.getxattr(path, LAYOUT_XATTR))
            except NoAttributeError:
                if path == b"/":
                    break
                path = path.rpartition(b"/")[0] or b"/"
        # nothing of this mount says it: the file system's own
        return Layout(stripe_unit=1 << 22, stripe_count=1, object_size=1 << 22, pool=self.data_pool())

    def data_pool(self) -> str:
        """The file system's default data pool."""
        with self._call("find the data pool"):
            return str(self._library.get_default_pool()["pool_name"])

    def erasure_coded(self, pool: str) -> bool:
        """Does the pool hold coded pieces instead of copies?"""
        return self.cluster.erasure_coded(pool)

    def room(self, pool: str) -> int:
        """Bytes of contents that the pool can still take."""
        return self.cluster.room(pool)

    def chmod(self, path: bytes, mode: int) -> None:
        """Permission bits, of a link itself too."""
        self.require_writable()
        with self._call("chmod", path):
            self._library.lchmod(path, mode)

    def chown(self, path: bytes, uid: int, gid: int) -> None:
        """Owner and group of the inode itself."""
        self.require_writable()
        with self._call("chown", path):
            self._library.lchown(path, uid, gid)

    def utimens(self, path: bytes, atime: float, mtime: float) -> None:
        """Times of the inode itself."""
        self.require_writable()
        with self._call("utimens", path):
            self._library.lutimes(path, (atime, mtime))

    # names

    def mkdir(self, path: bytes, mode: int) -> None:
        """Make a directory."""
        self.require_writable()
        self._require_free(path, "mkdir")
        with self._call("mkdir", path):
            self._library.mkdir(path, mode)

    def mknod(self, path: bytes, mode: int, device: int) -> None:
        """A special file."""
        self.require_writable()
        self._require_free(path, "mknod")
        with self._call("mknod", path):
            self._library.mknod(path, mode, device)

    def rmdir(self, path: bytes) -> None:
        """Remove an empty directory."""
        self.require_writable()
        with self._call("rmdir", path):
            self._library.rmdir(path)

    def unlink(self, path: bytes) -> None:
        """Remove a name."""
        self.require_writable()
        with self._call("unlink", path):
            self._library.unlink(path)

    def rename(self, source: bytes, target: bytes) -> None:
        """Move a name."""
        self.require_writable()
        with self._call("rename", source):
            self._library.rename(source, target)

    def link(self, existing: bytes, new: bytes) -> None:
        """A second name."""
        self.require_writable()
        self._require_free(new, "link")
        with self._call("link", new):
            self._library.link(existing, new)

    def symlink(self, target: bytes, path: bytes) -> None:
        """A symbolic link."""
        self.require_writable()
        self._require_free(path, "symlink")
        with self._call("symlink", path):
            self._library.symlink(target, path)

    def _require_free(self, path: bytes, action: str) -> None:
        """Raise `ExistsError` if the name is taken.

        libcephfs 20.2.4 follows a symbolic link that has the name, and makes what the link points at; 18.2.7 answers
        EEXIST. Against other clients that make the link in between, this is no help.
        """
        try:
            self.stat(path)
        except NotFoundError:
            return
        raise error_of(errno.EEXIST, action, path)

    def readlink(self, path: bytes) -> bytes:
        """The target as stored."""
        with self._call("readlink", path):
            return bytes(self._library.readlink(path, _TARGET_SIZE))

    def scandir(self, path: bytes) -> Generator[Entry]:
        """Entries as a stream. The directory is closed when the iterator ends or is closed."""
        with self._call("opendir", path):
            handle = self._library.opendir(path)
        try:
            more = True
            while more:
                with self._call("readdir", path):
                    page = list(islice(iter(handle.readdir, None), _PAGE))
                more = len(page) == _PAGE
                for entry in page:
                    if entry.d_name not in (b".", b".."):
                        yield _entry_of(entry)
        finally:
            handle.close()

    def entries_from(self, path: bytes, place: int, count: int) -> tuple[list[Entry], int | None]:
        """Up to `count` entries from a place on (0: all), and the place that goes on, in any mount; None at the end."""
        with self._call("read directory", path):
            handle = self._library.opendir(path)
            try:
                if place:
                    handle.seekdir(place)
                entries: list[Entry] = []
                while len(entries) < count:
                    entry = handle.readdir()
                    if entry is None:
                        return entries, None
                    if entry.d_name not in (b".", b".."):
                        entries.append(_entry_of(entry))
                return entries, int(handle.telldir())
            finally:
                handle.close()

    def alternate_names(self, path: bytes) -> dict[bytes, bytes]:
        """Of the entries of a directory; none where its path is not UTF-8, in which MDSs are asked."""
        try:
            asked = self.absolute(path).decode()
        except UnicodeDecodeError:
            return {}
        found: dict[bytes, bytes] = {}
        for rank in self._ranks():
            found |= alternate_names(self._tell(rank, "dump dir", path=asked, dentry_dump=True))
        return found

    def sync(self) -> None:
        """Everything dirty is durable when it returns."""
        with self._call("sync"):
            self._library.sync_fs()

    # other clients

    def lease(self, ino: int) -> ObjectLease:
        """The lease of an inode, not yet acquired."""
        self.require_writable()
        holder = f"{self.cluster.access.entity} {os.getpid()}"
        return ObjectLease(self._leases, ino, holder, self._keeper)

    def sessions(self) -> list[Session]:
        """All clients but ours, those of our service, and those that are only there to end others.

        Raises:
            CephError: EACCES or EPERM where the entity may not `tell` the MDSs.
        """
        managers = self.cluster.manager_addresses()
        found = {
            one.number: one
            for rank in self._ranks()
            for one in (session_of(listed, managers) for listed in self._tell(rank, "session ls"))
        }
        return [
            one
            for _, one in sorted(found.items())
            if one.address not in self._own
            and ANNOUNCED not in one.metadata
            and not self.cluster.access.kin(one.metadata)
        ]

    def evict(self, session: Session) -> None:
        """End a session everywhere and blocklist it (doc/facts.md M10).

        Raises:
            CephError: EPERM for one of ceph-mgr's own; ETIMEDOUT when it was not gone in time.
        """
        if session.manager:
            raise CephError(errno.EPERM, f"{session} belongs to ceph-mgr and is not evicted")
        if not self._listed(session.number):
            return  # it has left by itself, in good order: it would never be blocklisted
        for rank in self._ranks():
            self._tell(rank, "client evict", filters=[f"id={session.number}"])
        give_up = time.monotonic() + _EVICTION_TIMEOUT
        while session.address not in self.cluster.blocklisted() or self._listed(session.number):
            if time.monotonic() > give_up:
                raise CephError(errno.ETIMEDOUT, f"{session} was told to go but is still listed")
            time.sleep(0.2)
        self.cluster.catch_up()

    def absolute(self, path: bytes) -> bytes:
        """`path` of this mount as a path of the whole file system."""
        return self.cluster.access.absolute(path)

    @contextmanager
    def fresh(self) -> Iterator["CephMount"]:
        """A second mount like this one, for a `with` block. Nothing is shared but the connection to RADOS."""
        other = CephMount(self.cluster)
        other._own |= self._own
        self._own |= other._own
        try:
            yield other
        finally:
            other.shutdown()

    def renew(self) -> None:
        """Forget every inode: unmount and mount again."""
        self._unlock_ranges()
        with self._call("unmount"):
            self._library.unmount()
            self._library.shutdown()
        if self._presence is not None:
            self._presence.withdraw()
        self._uuid = new_uuid()
        self._library = _new_library(self.cluster.access)
        self._mount()
        self._presence = self._new_presence()

    def _range_locks(self) -> RangeLocks:
        with self._locking_turn:
            if self._locking is None:
                session = new_uuid()
                presence = Presence(self._leases, session, self.cluster.access.entity, self._keeper)
                presence.show()
                try:
                    locks = RangeLocks(self.cluster.access, session)
                except BaseException:
                    presence.withdraw()
                    raise
                self._own.add(locks.addresses)
                self._locking = locks, presence
            return self._locking[0]

    def _unlock_ranges(self) -> None:
        with self._locking_turn:
            if self._locking is not None:
                locks, presence = self._locking
                self._locking = None
                try:
                    locks.end()
                finally:
                    presence.withdraw()

    def _show(self) -> None:
        if self._presence is not None:
            self._presence.show()

    def _new_presence(self) -> Presence:
        return Presence(self._leases, self._uuid, self.cluster.access.entity, self._keeper)

    def _read_on(self, fd: int, length: int, offset: int) -> None:
        with suppress(CephError), self._call("read ahead"), self._waiting_reads.reading(fd):
            self._library.read(fd, offset, length)

    def _ask_for_size(self, fd: int) -> None:
        with suppress(CephError), self._call("fstat"):
            self._library.fstat(fd)

    def _call(self, action: str, subject: bytes | None = None) -> _Call:
        return _Call(self._calls.begun, action, subject)

    def _evict_by_uuid(self, session: str) -> None:
        for rank in self._ranks():
            self._tell(rank, "client evict", filters=[f"client_metadata.uuid={session}"])

    def _mount(self) -> None:
        access = self.cluster.access
        options = access.options | {
            "client_metadata": access.announced(uuid=self._uuid),
            # what it reads ahead is not always forgotten when others write (read_ahead.py)
            "client_readahead_min": "0",
        }
        if self.cluster.is_full():
            # before a client's first use of a pool, libcephfs tries whether it may write, which waits in a full one:
            # nothing could even be read (doc/facts.md F16)
            options["client_check_pool_perm"] = "false"
        try:
            gather_nothing(self._library)
            for name, value in options.items():
                self._library.conf_set(name, value)
            with self._watched_over():
                self._library.mount(mount_root=access.root, filesystem_name=access.file_system)
        except cephfs.Error as error:
            self._library.shutdown()
            number = getattr(error, "errno", 0) or errno.EIO
            if number in (errno.ETIMEDOUT, errno.EHOSTUNREACH):
                raise UnreachableError(
                    number,
                    f"no MDS of the file system answered within {access.timeout} s. Nothing was changed. "
                    f"Look at `ceph fs status`, then try again",
                ) from error
            raise error_of(number, "mount", access.root) from error
        self._own.add(self.address)

    @contextmanager
    def _watched_over(self) -> Iterator[None]:
        """For a mount, which waits for what a client had in its root that died. One of another entity, which only the
        MDS can be asked to end, has to be waited for."""
        leases = self.cluster.ioctx(self.cluster.file_system().data_pool, NAMESPACE)
        calls, access = Calls(), self.cluster.access
        remedies = Remedies(partial(reset, access), _not_yet)
        calls.begun[id(self)] = time.monotonic()
        watcher = Watcher(leases, access.entity, lambda: self._uuid, calls, remedies)
        try:
            yield
        finally:
            watcher.end()
            leases.close()

    def _judge_releases(self) -> None:
        library = Release(*self._library.version())
        servers = self.cluster.mds_releases()
        require_usable(library, servers)
        try:
            require_writable(library, servers)
        except UnsupportedReleaseError as refusal:
            self._refusal = refusal

    def _attribute(self, name: str, get: Any) -> bytes:
        if name.startswith("ceph."):
            return bytes(get(VXATTR_LIMIT))
        try:
            return bytes(get(_XATTR_SIZES[0]))
        except cephfs.OutOfRange:
            return bytes(get(_XATTR_SIZES[1]))

    def _ranks(self) -> list[str]:
        known = self.cluster.command("fs dump")
        wanted = self.cluster.access.file_system
        for one in known["filesystems"]:
            name = one["mdsmap"]["fs_name"]
            if name == wanted or (wanted is None and one["id"] == known["default_fscid"]):
                return [f"{name}:{rank}" for rank in one["mdsmap"]["in"]]
        raise error_of(errno.ENOENT, "find the file system", wanted)

    def _tell(self, rank: str, prefix: str, **arguments: object) -> Any:
        question = json.dumps({"prefix": prefix, "format": "json", **arguments})
        with self._call(f"tell mds.{rank} {prefix}"):
            code, answer, reason = self._library.mds_command(rank, question, "")
        if code != 0:
            raise CephError(abs(code), f"{reason or 'refused'} (tell mds.{rank} {prefix})")
        return json.loads(answer) if answer.strip() else []

    def _listed(self, number: int) -> bool:
        return any(one["id"] == number for rank in self._ranks() for one in self._tell(rank, "session ls"))


# d_type is the type bits of st_mode, shifted
_DTYPE_SHIFT = 12


def _not_yet(_: str) -> None:
    raise CephError(errno.EOPNOTSUPP, "only a client that has mounted can ask the MDS to end it")


def _entry_of(entry: Any) -> Entry:
    return Entry(bytes(entry.d_name), entry.d_ino, kind_of_mode(entry.d_type << _DTYPE_SHIFT))


def _check_length(name: str, value: bytes) -> None:
    if name.startswith("ceph.") and len(value) > VXATTR_LIMIT:
        raise CephError(errno.E2BIG, f"{name} of {len(value)} bytes would crash clients that read it (F2)")
