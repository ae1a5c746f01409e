"""A CephFS in memory, behind the `Mount` protocol. The engine's cases hold it against the real one.

It does what one cluster does for clients that see each other at once. A mount can be told to die before its n-th
change (`FakeMount.die_after`), which is how crashes at every point are tried. Sizes and attributes outlive their client
at once, data and changed modes only when they were flushed: the worst that was measured (doc/spikes.md, 1 and 2).
Either may have been flushed by itself before, so that a test can have them kept (`Loss`).
"""

import errno
import fcntl
import os
import stat
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Self

from mgr_fscrypt.ceph.errors import CephError, LeaseHeldError, LeaseLostError, error_of
from mgr_fscrypt.ceph.interface import (
    LAYOUT_XATTR,
    Capacity,
    Entry,
    Identity,
    Kind,
    Layout,
    LeaseState,
    RangeLock,
    Session,
    Stat,
    kind_of_mode,
)
from mgr_fscrypt.engine.acls import ACCESS_ACL

from . import acls, snapshots
from .ranges import Ranges

_NAMESPACE = "ceph.dir.layout.pool_namespace"
_VIRTUAL = (
    "ceph.fscrypt.auth",
    "ceph.fscrypt.file",
    "ceph.dir.layout",
    _NAMESPACE,
    "ceph.quota.max_bytes",
    "ceph.quota.max_files",
)


_RECURSIVE: dict[str, Callable[["Inode"], int]] = {
    "ceph.dir.rfiles": lambda inode: inode.kind is not Kind.DIRECTORY,
    "ceph.dir.rsubdirs": lambda inode: inode.kind is Kind.DIRECTORY,
    "ceph.dir.rentries": lambda inode: 1,
    "ceph.dir.rbytes": lambda inode: len(inode.data),
    "ceph.dir.rsnaps": lambda inode: len(inode.snapshots),
}


class DiedError(Exception):
    """The client's process ended here."""


class Loss(Enum):
    """What a client that dies takes with it of what it has not flushed."""

    ALL = "data and modes"
    DATA = "data"
    MODES = "modes"
    NOTHING = "nothing"


@dataclass
class Inode:
    ino: int
    mode: int
    nlink: int = 1
    uid: int = 0
    gid: int = 0
    atime: float = 0.0
    mtime: float = 0.0
    version: int = 0
    data: bytearray = field(default_factory=bytearray)
    flushed: bytes = b""
    """The data as its writers flushed it last: what is left of it when they die."""
    target: bytes = b""
    rdev: int = 0
    locks: dict[int, tuple[int, int]] = field(default_factory=dict)
    """flock(2): by owner, what it has and the descriptor that took it."""
    ranges: Ranges = field(default_factory=Ranges)
    names: dict[bytes, "Inode"] = field(default_factory=dict)
    attributes: dict[str, bytes] = field(default_factory=dict)
    snapshots: dict[bytes, "Inode"] = field(default_factory=dict)
    frozen: bool = False
    lists: "Inode | None" = None
    """The directory whose `.snap` this is."""
    alternate_names: dict[bytes, bytes] = field(default_factory=dict)
    """What kernels stored beside the names in it."""
    extents: dict[int, int] = field(default_factory=dict)
    """Lengths of objects that are not what the data says, until the file is truncated."""

    @property
    def kind(self) -> Kind:
        return kind_of_mode(self.mode)


def _all_below(directory: Inode) -> Iterator[Inode]:
    """The inodes of all names below a directory, and its own, once."""
    yield directory
    for inode in directory.names.values():
        yield from _all_below(inode)


class FakeCluster:
    """What all its mounts share."""

    def __init__(self) -> None:
        self.root = Inode(1, stat.S_IFDIR | 0o755)
        self.newest = 1
        self.identity = f"fake-{uuid.uuid4()}/1"
        self.leases: dict[int, FakeLease] = {}
        self.left_leases: set[int] = set()
        self.coded: set[str] = set()
        self.room = 1 << 32
        self.sessions: list[Session] = []
        self.mounts: list[FakeMount] = []
        self.telling = True
        """May clients `tell` the MDSs?"""

    def find(self, ino: int) -> Inode:
        """The inode of that number."""
        left = [self.root]
        while left:
            inode = left.pop()
            if inode.ino == ino:
                return inode
            left.extend(inode.names.values())
        raise AssertionError(f"no inode {ino}")

    def inode(self, mode: int) -> Inode:
        self.newest += 1
        return Inode(self.newest, mode, atime=time.time(), mtime=time.time())


class FakeLease:
    """Held until it is released: no time runs out here."""

    def __init__(self, cluster: FakeCluster, ino: int) -> None:
        self._leases = cluster.leases
        self._left = cluster.left_leases
        self._ino = ino

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self, timeout: float) -> None:
        give_up = time.monotonic() + timeout
        while self._leases.setdefault(self._ino, self) is not self:
            if time.monotonic() > give_up:
                raise LeaseHeldError(errno.EBUSY, f"held; nobody let go of it within {timeout} s")
            time.sleep(0.001)

    def renew(self) -> None:
        if self._leases.get(self._ino) is not self:
            raise LeaseLostError(errno.ESTALE, "lost")

    def release(self) -> None:
        if self._leases.get(self._ino) is self:
            del self._leases[self._ino]
            self._left.discard(self._ino)

    @property
    def token(self) -> str:
        return f"{id(self):x}"

    def holder(self) -> str:
        held = self._leases.get(self._ino)
        return held.token if held else ""

    def state(self) -> LeaseState:
        if self._ino in self._leases:
            return LeaseState.HELD
        return LeaseState.LEFT if self._ino in self._left else LeaseState.FREE


class FakeExtents:
    """The objects of all files, of 4 MiB."""

    def __init__(self, cluster: FakeCluster) -> None:
        self._cluster = cluster
        self.refused = False

    def extent(self, layout: Layout, ino: int, index: int) -> int | None:
        if self.refused:
            raise error_of(errno.EPERM, "look at object", str(ino))
        inode = self._cluster.find(ino)
        stored = len(inode.data[index * layout.object_size : (index + 1) * layout.object_size])
        return inode.extents.get(index, stored) or None


class FakeMount:
    """One client."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        cluster.mounts.append(self)
        self._files: dict[int, Inode] = {}
        self._written: set[int] = set()
        self._newest = 2
        self._left: int | None = None
        self._loss = Loss.ALL
        self._unflushed: list[Inode] = []
        self._old_modes: dict[int, tuple[Inode, int]] = {}
        self.dead = False
        self.streams = 0
        """Directories that are open."""

    def die_after(self, changes: int, loss: Loss = Loss.ALL) -> None:
        """Let this many changes happen; then every call raises `DiedError`, and what `loss` says is lost."""
        self._left = changes
        self._loss = loss

    def require_writable(self) -> None:
        """Every release of the fake is a proven one."""

    def identity(self) -> str:
        return self.cluster.identity

    # files

    def open(self, path: bytes, flags: int, mode: int = 0) -> int:
        self._live()
        writes = flags & (os.O_CREAT | os.O_TRUNC)
        try:
            inode = self._find(path)
        except FileNotFoundError:
            if not flags & os.O_CREAT:
                raise
            inode = self._add(path, stat.S_IFREG | mode)
        else:
            if flags & os.O_CREAT and flags & os.O_EXCL:
                raise error_of(errno.EEXIST, "open", path)
            if writes or flags & os.O_ACCMODE != os.O_RDONLY:
                snapshots.require_living(inode, path)
            if writes:
                self._change()
        if inode.kind is Kind.SYMLINK:
            raise error_of(errno.ELOOP, "open", path)
        if inode.kind is Kind.DIRECTORY and flags & (os.O_RDWR | os.O_WRONLY):
            raise error_of(errno.EISDIR, "open", path)
        self._newest += 1
        self._files[self._newest] = inode
        if flags & os.O_ACCMODE != os.O_RDONLY:
            self._written.add(self._newest)
        return self._newest

    def close(self, fd: int) -> None:
        # a process that died closes nothing more, and the engine's clean-up must not hide that it did
        inode = self._files.pop(fd, None)
        if inode is None:
            raise error_of(errno.EBADF, "close")
        inode.locks = {owner: lock for owner, lock in inode.locks.items() if lock[1] != fd}

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        return bytes(self._file(fd).data[offset : offset + length])

    def pwrite(self, fd: int, data: bytes, offset: int) -> None:
        inode = self._file(fd)
        self._change(inode)
        inode.data.extend(bytes(max(0, offset - len(inode.data))))
        inode.data[offset : offset + len(data)] = data
        self._unflushed.append(inode)

    def ftruncate(self, fd: int, size: int) -> None:
        inode = self._file(fd)
        if size < len(inode.data) and "ceph.fscrypt.auth" in inode.attributes:
            raise AssertionError("F4: a real client would be aborted here")
        self._change(inode)
        inode.extents.clear()
        del inode.data[size:]
        inode.flushed = inode.flushed[:size]
        inode.data.extend(bytes(size - len(inode.data)))

    def punch(self, fd: int, offset: int, length: int) -> None:
        inode = self._file(fd)
        self._change(inode)
        stop = min(offset + length, len(inode.data))
        inode.data[offset:stop] = bytes(stop - offset)

    def fsync(self, fd: int) -> None:
        inode = self._file(fd)
        self._change()
        inode.flushed = bytes(inode.data)
        self._unflushed = [other for other in self._unflushed if other is not inode]
        self._old_modes.pop(inode.ino, None)

    def fstat(self, fd: int) -> Stat:
        return self._stat(self._file(fd))

    def fchmod(self, fd: int, mode: int) -> None:
        self._chmod(self._file(fd), mode)

    def fchown(self, fd: int, uid: int, gid: int) -> None:
        self._chown(self._file(fd), uid, gid)

    def futimens(self, fd: int, atime: float, mtime: float) -> None:
        self._utimens(self._file(fd), atime, mtime)

    def flock(self, fd: int, operation: int, owner: int) -> None:
        inode = self._file(fd)
        if operation & fcntl.LOCK_UN:
            inode.locks.pop(owner, None)
            return
        wanted = operation & ~fcntl.LOCK_NB
        others = [kind for other, (kind, _) in inode.locks.items() if other != owner]
        if fcntl.LOCK_EX in others or (others and wanted == fcntl.LOCK_EX):
            raise error_of(errno.EAGAIN, "flock")
        inode.locks[owner] = (wanted, fd)

    def lock_range(self, ino: int, lock: RangeLock, owner: int) -> None:
        self._open_inode(ino).ranges.set(lock, (self, owner))

    def range_blocker(self, ino: int, lock: RangeLock, owner: int) -> RangeLock | None:
        return self._open_inode(ino).ranges.blocker(lock, (self, owner))

    def forget_ranges(self, ino: int) -> None:
        self._open_inode(ino).ranges.forget(self)

    def waiting(self) -> AbstractContextManager[None]:
        return nullcontext()

    def fgetxattr(self, fd: int, name: str) -> bytes:
        return self._get(self._file(fd), name)

    def fsetxattr(self, fd: int, name: str, value: bytes) -> None:
        self._set(self._file(fd), name, value)

    def fremovexattr(self, fd: int, name: str) -> None:
        self._remove(self._file(fd), name)

    def capabilities(self, fd: int) -> str:
        inode = self._file(fd)
        living = [mount for mount in self.cluster.mounts if not mount.dead]
        if not any(mount is not self and mount.has_open(inode) for mount in living):
            return "pAsxLsXsxFsxcrwb"
        return "pAsLsXsFrw" if any(mount.writes(inode) for mount in living) else "pAsLsXsFscr"

    def has_open(self, inode: Inode) -> bool:
        """Has this client the file open?"""
        return any(one is inode for one in list(self._files.values()))

    def writes(self, inode: Inode) -> bool:
        """Has this client the file open for writing?"""
        return any(self._files.get(fd) is inode for fd in list(self._written))

    # inodes

    def stat(self, path: bytes) -> Stat:
        return self._stat(self._find(path))

    def identify(self, path: bytes) -> Identity:
        inode = self._find(path)
        return Identity(inode.ino, inode.mode)

    def getxattr(self, path: bytes, name: str) -> bytes:
        return self._get(self._find(path), name, path)

    def listxattr(self, path: bytes) -> list[str]:
        return sorted(name for name in self._find(path).attributes if not name.startswith("ceph."))

    def setxattr(self, path: bytes, name: str, value: bytes, flags: int = 0) -> None:
        inode = self._find(path)
        snapshots.require_living(inode, path)
        acls.require_fit(inode, name)
        if flags & os.XATTR_CREATE and name in inode.attributes:
            raise error_of(errno.EEXIST, f"set {name}", path)
        if flags & os.XATTR_REPLACE:
            self._get(inode, name, path)
        self._set(inode, name, value)

    def removexattr(self, path: bytes, name: str) -> None:
        inode = self._find(path)
        snapshots.require_living(inode, path)
        self._remove(inode, name, path)

    def statfs(self, path: bytes) -> Capacity:
        self._find(path)
        return Capacity(1 << 22, 1000, 900, 800, self.cluster.newest, 255)

    def layout(self, path: bytes) -> Layout:
        """Of the nearest directory that says it, also for a file that was there before."""
        inode = self._find(path)
        while path != b"/" and not {LAYOUT_XATTR, _NAMESPACE} & set(inode.attributes):
            path = path.rpartition(b"/")[0] or b"/"
            inode = self._find(path)
        return self._layout(inode)

    def erasure_coded(self, pool: str) -> bool:
        return pool in self.cluster.coded

    def room(self, pool: str) -> int:
        return self.cluster.room

    def chmod(self, path: bytes, mode: int) -> None:
        self._chmod(self._find(path), mode)

    def chown(self, path: bytes, uid: int, gid: int) -> None:
        inode = self._find(path)
        snapshots.require_living(inode, path)
        self._chown(inode, uid, gid)

    def utimens(self, path: bytes, atime: float, mtime: float) -> None:
        inode = self._find(path)
        snapshots.require_living(inode, path)
        self._utimens(inode, atime, mtime)

    # names

    def mkdir(self, path: bytes, mode: int) -> None:
        parent, name = self._parent(path)
        if parent.lists is not None:
            self._change()
            snapshots.make(parent, name, path)
        else:
            self._add(path, stat.S_IFDIR | mode)

    def mknod(self, path: bytes, mode: int, device: int) -> None:
        self._add(path, mode).rdev = device

    def rmdir(self, path: bytes) -> None:
        parent, name = self._parent(path)
        if parent.lists is not None:
            self._change()
            snapshots.remove(parent, name, path)
            return
        snapshots.require_living(parent, path)
        inode = self._find(path)
        if inode.kind is not Kind.DIRECTORY:
            raise error_of(errno.ENOTDIR, "rmdir", path)
        if inode.names or inode.snapshots:
            raise error_of(errno.ENOTEMPTY, "rmdir", path)
        self._change()
        del parent.names[name]

    def unlink(self, path: bytes) -> None:
        parent, name = self._parent(path)
        inode = self._find(path)
        snapshots.require_living(parent, path)
        if inode.kind is Kind.DIRECTORY:
            raise error_of(errno.EISDIR, "unlink", path)
        self._change()
        del parent.names[name]
        inode.nlink -= 1

    def rename(self, source: bytes, target: bytes) -> None:
        inode = self._find(source)
        old_parent, old_name = self._parent(source)
        parent, name = self._parent(target)
        there = parent.names.get(name)
        if old_parent.frozen or parent.frozen:
            raise error_of(errno.EXDEV, "rename", source)
        if target.startswith(source + b"/"):
            raise error_of(errno.EINVAL, "rename", source)
        if there is not None and (there.kind is Kind.DIRECTORY) is not (inode.kind is Kind.DIRECTORY):
            wrong = errno.EISDIR if there.kind is Kind.DIRECTORY else errno.ENOTDIR
            raise error_of(wrong, "rename", source)
        if there is not None and there.names:
            raise error_of(errno.ENOTEMPTY, "rename", source)
        self._change()
        if there is not None:
            there.nlink -= 1
        del old_parent.names[old_name]
        parent.names[name] = inode

    def link(self, existing: bytes, new: bytes) -> None:
        inode = self._find(existing)
        parent, name = self._parent(new)
        snapshots.require_living(inode, existing)
        snapshots.require_living(parent, new)
        if name in parent.names:
            raise error_of(errno.EEXIST, "link", new)
        self._change()
        parent.names[name] = inode
        inode.nlink += 1

    def symlink(self, target: bytes, path: bytes) -> None:
        self._add(path, stat.S_IFLNK | 0o777).target = target

    def readlink(self, path: bytes) -> bytes:
        return self._find(path).target

    def scandir(self, path: bytes) -> Generator[Entry]:
        inode = self._find(path)
        if inode.kind is not Kind.DIRECTORY:
            raise error_of(errno.ENOTDIR, "opendir", path)
        self.streams += 1
        try:
            for name, child in list(inode.names.items()):
                yield Entry(name, child.ino, child.kind)
        finally:
            self.streams -= 1

    def alternate_names(self, path: bytes) -> dict[bytes, bytes]:
        inode = self._find(path)
        if not self.cluster.telling:
            raise error_of(errno.EACCES, "tell", path)
        return dict(inode.alternate_names)

    def sync(self) -> None:
        self._change()
        self._old_modes.clear()
        while self._unflushed:
            inode = self._unflushed.pop()
            inode.flushed = bytes(inode.data)

    # other clients

    def lease(self, ino: int) -> FakeLease:
        self._live()
        return FakeLease(self.cluster, ino)

    def sessions(self) -> list[Session]:
        return list(self.cluster.sessions)

    def evict(self, session: Session) -> None:
        self.cluster.sessions.remove(session)

    def absolute(self, path: bytes) -> bytes:
        return path

    @contextmanager
    def fresh(self) -> Iterator["FakeMount"]:
        other = FakeMount(self.cluster)
        other._left, other._loss = self._left, self._loss
        yield other
        self._left = other._left

    def renew(self) -> None:
        self._live()
        assert not self._files, "no descriptor survives a renewal"

    # parts

    def _layout(self, inode: Inode) -> Layout:
        said = inode.attributes.get("ceph.dir.layout", b"").decode()
        fields = dict(word.split("=", 1) for word in said.split())
        unit, size = (int(fields.get(name, 1 << 22)) for name in ("stripe_unit", "object_size"))
        pool = fields.get("pool", "cephfs_data")
        namespace = inode.attributes.get(_NAMESPACE, b"").decode()
        return Layout(unit, int(fields.get("stripe_count", 1)), size, pool, namespace)

    def _live(self) -> None:
        if self.dead:
            raise DiedError

    def _change(self, inode: Inode | None = None) -> None:
        self._live()
        if self._left == 0:
            self.dead = True
            self._lose()
            raise DiedError
        if self._left is not None:
            self._left -= 1
        if inode is not None:
            inode.version += 1

    def _lose(self) -> None:
        if self._loss in (Loss.ALL, Loss.DATA):
            for lost in self._unflushed:
                lost.data[:] = lost.flushed[: len(lost.data)].ljust(len(lost.data), b"\0")
        if self._loss in (Loss.ALL, Loss.MODES):
            for inode, mode in self._old_modes.values():
                inode.mode = mode

    def _find(self, path: bytes) -> Inode:
        self._live()
        inode = self.cluster.root
        way = [inode]
        for name in path.split(b"/"):
            if not name:
                continue
            if inode.kind is not Kind.DIRECTORY:
                raise error_of(errno.ENOTDIR, "look up", path)
            if name == snapshots.SNAPSHOTS and not inode.frozen:
                inode = snapshots.listed(way)
            elif name not in inode.names:
                raise error_of(errno.ENOENT, "look up", path)
            else:
                inode = inode.names[name]
            way.append(inode)
        return inode

    def _parent(self, path: bytes) -> tuple[Inode, bytes]:
        above, _, name = path.rpartition(b"/")
        return self._find(above), name

    def _add(self, path: bytes, mode: int) -> Inode:
        parent, name = self._parent(path)
        snapshots.require_living(parent, path)
        if name in parent.names:
            raise error_of(errno.EEXIST, "make", path)
        self._change()
        inode = parent.names[name] = self.cluster.inode(mode)
        if parent.mode & stat.S_ISGID:
            inode.gid = parent.gid
            inode.mode |= stat.S_ISGID if stat.S_ISDIR(mode) else 0
        acls.inherit(parent.attributes, inode)
        return inode

    def _file(self, fd: int) -> Inode:
        self._live()
        if fd not in self._files:
            raise error_of(errno.EBADF, "use a file")
        return self._files[fd]

    def _open_inode(self, ino: int) -> Inode:
        self._live()
        return next(inode for inode in self._files.values() if inode.ino == ino)

    def _get(self, inode: Inode, name: str, path: bytes | None = None) -> bytes:
        if name == "ceph.dir.entries":
            return b"%d" % len(inode.names)
        if name in _RECURSIVE:
            return b"%d" % sum(map(_RECURSIVE[name], _all_below(inode)))
        if name == LAYOUT_XATTR and {LAYOUT_XATTR, _NAMESPACE} & set(inode.attributes):
            found = self._layout(inode)
            return b" ".join((found.attributes[0][1], b"pool_namespace=" + found.namespace.encode()))
        if name not in inode.attributes:
            raise error_of(errno.ENODATA, f"get {name}", path)
        return inode.attributes[name]

    def _remove(self, inode: Inode, name: str, path: bytes | None = None) -> None:
        self._get(inode, name, path)
        if name in _VIRTUAL:
            raise error_of(errno.EINVAL, f"remove {name}", path)
        self._change(inode)
        del inode.attributes[name]

    def _set(self, inode: Inode, name: str, value: bytes) -> None:
        if name.startswith("ceph.") and len(value) > 256:
            raise CephError(errno.E2BIG, "too long for a vxattr")
        if name in (LAYOUT_XATTR, _NAMESPACE) and "ceph.fscrypt.auth" in inode.attributes:
            # doc/facts.md F13
            raise CephError(errno.EINVAL, "a layout after a policy")
        snapshots.require_living(inode)
        self._change(inode)
        if name == "ceph.dir.casesensitive" and value == b"0":
            inode.attributes["ceph.dir.charmap"] = b'{"casesensitive":false}'
        if name in _VIRTUAL and not value:
            inode.attributes.pop(name, None)
        elif name == ACCESS_ACL:
            acls.set_access(inode, value)
        else:
            inode.attributes[name] = value

    def _chmod(self, inode: Inode, mode: int) -> None:
        snapshots.require_living(inode)
        self._change(inode)
        self._old_modes.setdefault(inode.ino, (inode, inode.mode))
        inode.mode = stat.S_IFMT(inode.mode) | mode
        acls.follow_mode(inode)

    def _chown(self, inode: Inode, uid: int, gid: int) -> None:
        self._change(inode)
        inode.uid = inode.uid if uid == -1 else uid
        inode.gid = inode.gid if gid == -1 else gid

    def _utimens(self, inode: Inode, atime: float, mtime: float) -> None:
        self._change(inode)
        inode.atime, inode.mtime = atime, mtime

    def _stat(self, inode: Inode) -> Stat:
        self._live()
        return Stat(
            ino=inode.ino,
            mode=inode.mode,
            nlink=inode.nlink,
            uid=inode.uid,
            gid=inode.gid,
            size=len(inode.target or inode.data),
            blocks=(len(inode.data) + 511) // 512,
            atime=inode.atime,
            mtime=inode.mtime,
            ctime=inode.mtime,
            version=inode.version,
            rdev=inode.rdev,
        )
