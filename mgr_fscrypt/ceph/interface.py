"""What the rest of the program may ask of a mounted CephFS: Protocols, and the values that they speak in.

Paths are bytes as stored (names are ciphertext below an encrypted directory), absolute within the mount, and never
followed through a symbolic link in the last component. Every call may raise `errors.CephError`.
"""

import os
import stat
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from enum import Enum
from types import TracebackType
from typing import Protocol, Self

# RADOS keeps what a client writes to one attribute in a 256-byte buffer when it reads it back (doc/facts.md F2)
VXATTR_LIMIT = 256

ENGINE = "fscrypt_engine"
"""The key of a session's metadata by which clients of this program announce themselves (doc/facts.md M9)."""

LAYOUT_XATTR = "ceph.dir.layout"
"""Of a directory that says itself how its new files lie; the others have none."""


class Kind(Enum):
    """What an inode is."""

    DIRECTORY = "directory"
    FILE = "file"
    SYMLINK = "symlink"
    SPECIAL = "special"


@dataclass(frozen=True)
class Stat:
    """An inode as the MDS has it: `size` is the raw size, times are seconds since 1970 (whole ones: the binding
    gives no more). `version` is the change attribute, where the call gives it; `rdev` the device's number (makedev),
    of a device, where the call gives it."""

    ino: int
    mode: int
    nlink: int
    uid: int
    gid: int
    size: int
    blocks: int
    atime: float
    mtime: float
    ctime: float
    version: int | None = None
    rdev: int = 0

    @property
    def kind(self) -> Kind:
        """Directory, regular file, symbolic link, or one of the special ones."""
        return kind_of_mode(self.mode)


@dataclass(frozen=True)
class Identity:
    """Which inode something is, and its type and permission bits."""

    ino: int
    mode: int

    @property
    def kind(self) -> Kind:
        """As `Stat.kind`."""
        return kind_of_mode(self.mode)


def kind_of_mode(mode: int) -> Kind:
    """What the type bits of `st_mode` say."""
    if stat.S_ISDIR(mode):
        return Kind.DIRECTORY
    if stat.S_ISREG(mode):
        return Kind.FILE
    return Kind.SYMLINK if stat.S_ISLNK(mode) else Kind.SPECIAL


@dataclass(frozen=True)
class Entry:
    """One name in a directory, as stored."""

    name: bytes
    ino: int
    kind: Kind


@dataclass(frozen=True)
class Capacity:
    """How much room there is: blocks of `block_size` bytes in all, free, and free for everybody; inodes in use; and
    the bytes of the longest name. With a quota it is the quota's, as far as libcephfs says so (doc/facts.md P4)."""

    block_size: int
    blocks: int
    free: int
    available: int
    inodes: int
    longest_name: int


@dataclass(frozen=True)
class Layout:
    """How a file's bytes lie on objects. `pool` and `namespace` say where, sizes are bytes."""

    stripe_unit: int
    stripe_count: int
    object_size: int
    pool: str
    namespace: str = ""

    @property
    def striped(self) -> bool:
        """Consecutive pieces go to different objects: the kernel refuses encryption there."""
        return self.stripe_count > 1

    @property
    def unstriped(self) -> "Layout":
        """The same, but with each object filled before the next."""
        return replace(self, stripe_unit=self.object_size, stripe_count=1)

    @classmethod
    def parse(cls, text: bytes) -> "Layout":
        """Of `stripe_unit=4194304 stripe_count=1 object_size=4194304 pool=data [pool_namespace=x]`."""
        fields = dict(word.split("=", 1) for word in text.decode().split(" "))
        return cls(
            stripe_unit=int(fields["stripe_unit"]),
            stripe_count=int(fields["stripe_count"]),
            object_size=int(fields["object_size"]),
            pool=fields["pool"],
            namespace=fields.get("pool_namespace", ""),
        )

    @property
    def attributes(self) -> list[tuple[str, bytes]]:
        """What a directory is given to have it, in this order. The sizes and the pool as one, for the parts have to fit
        each other; 18.2 takes no namespace there. Without a namespace it keeps what it has, or inherits."""
        words = (
            f"stripe_unit={self.stripe_unit} stripe_count={self.stripe_count} "
            f"object_size={self.object_size} pool={self.pool}"
        )
        given = [(LAYOUT_XATTR, words.encode())]
        if self.namespace:
            given.append((f"{LAYOUT_XATTR}.pool_namespace", self.namespace.encode()))
        return given


@dataclass(frozen=True)
class Session:
    """A client that is connected to the file system's MDSs."""

    number: int
    entity: str
    address: str
    root: bytes
    metadata: Mapping[str, str]
    capabilities: int
    manager: bool

    @property
    def engine(self) -> bool:
        """Does it say that it is a client of this program? Anybody may."""
        return ENGINE in self.metadata

    def reaches(self, path: bytes) -> bool:
        """Can this client meet what lies at `path` (of the file system) or below it, by its root alone?"""
        root = normal(self.root)
        return lies_at_or_below(path, root) or lies_at_or_below(root, path)

    def __str__(self) -> str:
        where = self.metadata.get("hostname", "unknown host")
        return f"client {self.number} ({self.entity} on {where}, root {self.root.decode(errors='replace')})"


def normal(root: bytes) -> bytes:
    """The root of a session, which is told as whoever mounted wrote it: `//a/./b/` and `a/b` are `/a/b`."""
    return os.path.normpath(b"/" + root.lstrip(b"/"))


def lies_at_or_below(path: bytes, top: bytes) -> bool:
    """Is `path` the directory `top` or something in it? Both absolute and normal."""
    prefix = top.rstrip(b"/")
    return path.rstrip(b"/") == prefix or path.startswith(prefix + b"/")


@dataclass(frozen=True)
class RangeLock:
    """fcntl(2)'s lock on bytes: `kind` is F_RDLCK, F_WRLCK or F_UNLCK of `fcntl`; a `length` of 0 means all from
    `start` on; `process` is what its holder says it is."""

    kind: int
    start: int
    length: int
    process: int = 0


class LeaseState(Enum):
    """Whose a lease is."""

    FREE = "nobody's"
    HELD = "somebody's, or of one who died within the last seconds"
    LEFT = "nobody's any more: its holder died and left it behind"


class Lease(Protocol):
    """The exclusive right of one engine client on one inode (doc/engine-xattr.md, Leases).

    While it is held, its mount renews it twice a second, used or not.
    """

    def renew(self) -> None:
        """Make sure that it is ours for some time yet; cheap when it was renewed a moment ago.

        Raises:
            LeaseLostError: renewing it failed, so another client may have held it: `acquire` again and read again.
        """

    def acquire(self, timeout: float) -> None:
        """Take it, waiting up to `timeout` seconds.

        Raises:
            LeaseHeldError: somebody else kept it all that time.
        """

    def release(self) -> None:
        """Give it back; nothing happens when it is not ours any more."""

    def state(self) -> LeaseState:
        """Whose it is just now. It is only looked at."""

    @property
    def token(self) -> str:
        """Tells who has taken it by this object from all others; no secret."""

    def holder(self) -> str:
        """The token of whoever holds it just now, empty for nobody: so a holder's helpers know whose turn it is."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Mount(Protocol):
    """A mounted CephFS."""

    def identity(self) -> str:
        """Of the cluster and the file system: no other one has the inodes that are numbered in it."""

    def require_writable(self) -> None:
        """Raises `UnsupportedReleaseError` where this program must not write. Every writing call asks it itself."""

    def open(self, path: bytes, flags: int, mode: int = 0) -> int:
        """A file descriptor of this mount."""

    def close(self, fd: int) -> None:
        """End it; its dirty data may still be in the client's cache."""

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        """Up to `length` bytes; fewer only at the end of the file."""

    def pwrite(self, fd: int, data: bytes, offset: int) -> None:
        """All of `data`."""

    def ftruncate(self, fd: int, size: int) -> None:
        """Set the raw size. NEVER shrink a file that has or had `ceph.fscrypt.auth` (doc/facts.md F4, F5)."""

    def punch(self, fd: int, offset: int, length: int) -> None:
        """Make a hole of whole blocks inside the file."""

    def fsync(self, fd: int) -> None:
        """Data, size and attributes are durable when it returns."""

    def fstat(self, fd: int) -> Stat:
        """Of an open file; without `version`."""

    def fchmod(self, fd: int, mode: int) -> None:
        """Permission bits of an open file."""

    def fchown(self, fd: int, uid: int, gid: int) -> None:
        """Owner and group of an open file; -1 leaves one as it is."""

    def futimens(self, fd: int, atime: float, mtime: float) -> None:
        """Both times of an open file, seconds since 1970."""

    def flock(self, fd: int, operation: int, owner: int) -> None:
        """flock(2), which the descriptor's end undoes. An `owner` is what excludes all others, of this client and of
        every other one. Never waits: `WouldBlockError` where another owner has it."""

    def lock_range(self, ino: int, lock: RangeLock, owner: int) -> None:
        """Take a lock, change it, or give it back. Never waits: `WouldBlockError` where another owner has some."""

    def range_blocker(self, ino: int, lock: RangeLock, owner: int) -> RangeLock | None:
        """A lock of another owner that is in the way of this one."""

    def forget_ranges(self, ino: int) -> None:
        """Give everything back that this mount has locked by ranges in a file."""

    def waiting(self) -> AbstractContextManager[None]:
        """For a `with` block that waits for another client's lock: if that one is dead, its session is ended."""

    def fgetxattr(self, fd: int, name: str) -> bytes:
        """`NoAttributeError` when there is none."""

    def fsetxattr(self, fd: int, name: str, value: bytes) -> None:
        """Create or replace."""

    def fremovexattr(self, fd: int, name: str) -> None:
        """`NoAttributeError` when there is none. Not for `ceph.*` (F1)."""

    def capabilities(self, fd: int) -> str:
        """What this client may do and cache with the file right now, such as `pAsLsXsFscr` (F10)."""

    def stat(self, path: bytes) -> Stat:
        """Of the inode itself, never of a link's target."""

    def identify(self, path: bytes) -> Identity:
        """As `stat`, but for all that changes with what is in a file or directory: while others write there, `stat`
        costs a round trip each time, and this does not."""

    def getxattr(self, path: bytes, name: str) -> bytes:
        """`NoAttributeError` when there is none."""

    def listxattr(self, path: bytes) -> list[str]:
        """Names of the real attributes; virtual ones (`ceph.*`) are not among them."""

    def setxattr(self, path: bytes, name: str, value: bytes, flags: int = 0) -> None:
        """Create or replace, or only one of them (`os.XATTR_CREATE`, `os.XATTR_REPLACE`; not for `ceph.*`); an empty
        `ceph.fscrypt.*` unsets it. `ExistsError`, `NoAttributeError`; ENOSPC above 64 KiB of attributes.

        This mount itself may not see a `ceph.fscrypt.auth` that it has just set on a symlink, until `sync`
        (run on 18.2.7 and 20.2.4: the reply carries the old one; other mounts see the new one)."""

    def removexattr(self, path: bytes, name: str) -> None:
        """`NoAttributeError` when there is none. Not for `ceph.*` (F1)."""

    def statfs(self, path: bytes) -> Capacity:
        """Of the file system, or of the quota that `path` lies under."""

    def layout(self, path: bytes) -> Layout:
        """Of a file, or what new files of a directory get."""

    def erasure_coded(self, pool: str) -> bool:
        """Does the pool hold coded pieces instead of copies?"""

    def room(self, pool: str) -> int:
        """Bytes of contents that the pool can still take."""

    def mkdir(self, path: bytes, mode: int) -> None:
        """`ExistsError` when the name is taken."""

    def mknod(self, path: bytes, mode: int, device: int) -> None:
        """A FIFO, socket or device, by the type bits of `mode`. `ExistsError` when the name is taken."""

    def rmdir(self, path: bytes) -> None:
        """ENOTEMPTY when something is in it."""

    def unlink(self, path: bytes) -> None:
        """Remove the name."""

    def rename(self, source: bytes, target: bytes) -> None:
        """Replaces a file, a symlink or an empty directory silently (F12)."""

    def link(self, existing: bytes, new: bytes) -> None:
        """A second name of a file."""

    def symlink(self, target: bytes, path: bytes) -> None:
        """`target` is stored as it is."""

    def readlink(self, path: bytes) -> bytes:
        """The target as stored."""

    def scandir(self, path: bytes) -> Generator[Entry]:
        """Entries without `.` and `..`, as a stream: a directory of any size takes bounded memory.

        Whoever does not run it to its end closes it, before the mount ends."""

    def alternate_names(self, path: bytes) -> dict[bytes, bytes]:
        """What kernels stored beside the names of entries of a directory, by name, as far as the MDSs have it in their
        caches. Each tells of every entry that it has there (F8). Needs `tell` on the MDSs."""

    def chmod(self, path: bytes, mode: int) -> None:
        """Permission bits."""

    def chown(self, path: bytes, uid: int, gid: int) -> None:
        """Owner and group; -1 leaves one as it is."""

    def utimens(self, path: bytes, atime: float, mtime: float) -> None:
        """Both times, seconds since 1970."""

    def sync(self) -> None:
        """Everything that this client holds dirty is durable when it returns."""

    def lease(self, ino: int) -> Lease:
        """The lease of an inode, not yet acquired."""

    def sessions(self) -> list[Session]:
        """All clients but this mount and those made by `fresh` in it. Needs `tell` on the MDSs.

        The `root` of each is a path of the file system, as `absolute` gives one."""

    def evict(self, session: Session) -> None:
        """End a session and blocklist it; returns when the OSD map says so and the MDSs do not list it."""

    def absolute(self, path: bytes) -> bytes:
        """`path` of this mount as a path of the whole file system."""

    def fresh(self) -> "AbstractContextManager[Mount]":
        """A second mount like this one that has met no inode yet (doc/facts.md F5), for a `with` block."""

    def renew(self) -> None:
        """Forget every inode: unmount and mount again. No descriptor survives."""
