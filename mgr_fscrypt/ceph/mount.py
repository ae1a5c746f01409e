"""A mounted CephFS through libcephfs."""

import errno
import json
import os
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import cephfs

from .cluster import Cluster
from .errors import (
    CephError,
    NoAttributeError,
    NotFoundError,
    UnreachableError,
    UnsupportedReleaseError,
    error_of,
)
from .interface import VXATTR_LIMIT, Entry, Kind, Layout, Session, Stat, kind_of_mode
from .leases import NAMESPACE, Keeper, ObjectLease
from .releases import Release, require_usable, require_writable
from .sessions import session_of

_STATX_MASK = cephfs.CEPH_STATX_BASIC_STATS | cephfs.CEPH_STATX_VERSION
_XATTR_SIZES = (4096, 65536)
_TARGET_SIZE = 8192
_PUNCH = cephfs.FALLOC_FL_PUNCH_HOLE | cephfs.FALLOC_FL_KEEP_SIZE
_EVICTION_TIMEOUT = 30.0


@contextmanager
def _translated(action: str, subject: bytes | None = None) -> Iterator[None]:
    try:
        yield
    except cephfs.Error as error:
        raise error_of(getattr(error, "errno", 0) or errno.EIO, action, subject) from error


class CephMount:
    """The `Mount` of a real cluster. A context manager: a client that ends without `shutdown` holds others up for
    more than a minute (doc/facts.md F14).

    Calls may come from several threads: libcephfs serves them so, and this class keeps nothing between calls but
    the leases that it renews.
    """

    def __init__(self, cluster: Cluster) -> None:
        """Mount as `cluster.access` says, announcing ourselves.

        Raises:
            UnreachableError: no MDS served us in time.
            UnsupportedReleaseError: libcephfs or an MDS is below Ceph 18.
        """
        self.cluster = cluster
        self._library = cephfs.LibCephFS(
            conffile=cluster.access.conf_file, auth_id=cluster.access.entity.partition(".")[2]
        )
        self._refusal: UnsupportedReleaseError | None = None
        self._own: set[str] = set()
        self._leases: Any = None
        self._keeper = Keeper()
        self._mount()
        try:
            self._judge_releases()
            with _translated("find the data pool"):
                pool = self._library.get_default_pool()["pool_name"]
            self._leases = cluster.ioctx(pool, NAMESPACE)
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
        self._keeper.end()
        if self._leases is not None:
            self._leases.close()
            self._leases = None
        self._library.shutdown()

    def require_writable(self) -> None:
        """Raises `UnsupportedReleaseError` where this program must not write."""
        if self._refusal is not None:
            raise self._refusal

    # files

    def open(self, path: bytes, flags: int, mode: int = 0) -> int:
        """A descriptor; never of a link's target."""
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            self.require_writable()
        with _translated("open", path):
            return int(self._library.open(path, flags | os.O_NOFOLLOW, mode))

    def close(self, fd: int) -> None:
        """End a descriptor."""
        with _translated("close"):
            self._library.close(fd)

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        """Up to `length` bytes."""
        with _translated("read"):
            return bytes(self._library.read(fd, offset, length))

    def pwrite(self, fd: int, data: bytes, offset: int) -> None:
        """All of `data`; nothing at all for no bytes, which libcephfs would refuse (F15)."""
        self.require_writable()
        done = 0
        with _translated("write"):
            while done < len(data):
                done += self._library.write(fd, data[done:] if done else data, offset + done)

    def ftruncate(self, fd: int, size: int) -> None:
        """Set the raw size (F4!)."""
        self.require_writable()
        with _translated("truncate"):
            self._library.ftruncate(fd, size)

    def punch(self, fd: int, offset: int, length: int) -> None:
        """Make a hole inside the file."""
        self.require_writable()
        with _translated("punch"):
            self._library.fallocate(fd, offset, length, _PUNCH)

    def fsync(self, fd: int) -> None:
        """Data, size and attributes are durable when it returns."""
        with _translated("fsync"):
            self._library.fsync(fd, False)

    def fstat(self, fd: int) -> Stat:
        """Of an open file."""
        with _translated("fstat"):
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
        with _translated("fchmod"):
            self._library.fchmod(fd, mode)

    def fgetxattr(self, fd: int, name: str) -> bytes:
        """An attribute of an open file."""
        with _translated(f"get {name}"):
            return self._attribute(name, lambda size: self._library.fgetxattr(fd, name, size))

    def fsetxattr(self, fd: int, name: str, value: bytes) -> None:
        """Create or replace an attribute of an open file."""
        self.require_writable()
        _check_length(name, value)
        with _translated(f"set {name}"):
            self._library.fsetxattr(fd, name, value, 0)

    def capabilities(self, fd: int) -> str:
        """From the vxattr `ceph.caps`, such as `pAsxLsXsxFsxcrwb/0x3fdd` (F10)."""
        return self.fgetxattr(fd, "ceph.caps").decode().partition("/")[0]

    # inodes by path

    def stat(self, path: bytes) -> Stat:
        """Of the inode itself."""
        with _translated("stat", path):
            found = self._library.statx(path, _STATX_MASK, cephfs.AT_SYMLINK_NOFOLLOW)
        return Stat(
            **{name: found[name] for name in ("ino", "mode", "nlink", "uid", "gid", "size", "blocks")},
            **{name: found[name].timestamp() for name in ("atime", "mtime", "ctime")},
            version=found.get("version"),
        )

    def getxattr(self, path: bytes, name: str) -> bytes:
        """An attribute of the inode itself."""
        with _translated(f"get {name}", path):
            return self._attribute(name, lambda size: self._library.lgetxattr(path, name, size))

    def setxattr(self, path: bytes, name: str, value: bytes) -> None:
        """Create or replace an attribute of the inode itself."""
        self.require_writable()
        _check_length(name, value)
        with _translated(f"set {name}", path):
            self._library.lsetxattr(path, name, value, 0)

    def removexattr(self, path: bytes, name: str) -> None:
        """Remove a real attribute of the inode itself."""
        self.require_writable()
        with _translated(f"remove {name}", path):
            self._library.lremovexattr(path, name)

    def layout(self, path: bytes) -> Layout:
        """Of a file; of a directory what its new files get, from the nearest directory that says it."""
        if self.stat(path).kind is Kind.FILE:
            return _layout_of(self.getxattr(path, "ceph.file.layout"))
        while True:
            try:
                return _layout_of(self.getxattr(path, "ceph.dir.layout"))
            except NoAttributeError:
                if path == b"/":
                    break
                path = path.rpartition(b"/")[0] or b"/"
        # nothing of this mount says it: the file system's own
        with _translated("find the data pool"):
            pool = self._library.get_default_pool()["pool_name"]
        return Layout(stripe_unit=1 << 22, stripe_count=1, object_size=1 << 22, pool=pool)

    def erasure_coded(self, pool: str) -> bool:
        """Does the pool hold coded pieces instead of copies?"""
        return self.cluster.erasure_coded(pool)

    def chmod(self, path: bytes, mode: int) -> None:
        """Permission bits, of a link itself too."""
        self.require_writable()
        with _translated("chmod", path):
            self._library.lchmod(path, mode)

    def chown(self, path: bytes, uid: int, gid: int) -> None:
        """Owner and group of the inode itself."""
        self.require_writable()
        with _translated("chown", path):
            self._library.lchown(path, uid, gid)

    def utimens(self, path: bytes, atime: float, mtime: float) -> None:
        """Times of the inode itself."""
        self.require_writable()
        with _translated("utimens", path):
            self._library.lutimes(path, (atime, mtime))

    # names

    def mkdir(self, path: bytes, mode: int) -> None:
        """Make a directory."""
        self.require_writable()
        self._require_free(path, "mkdir")
        with _translated("mkdir", path):
            self._library.mkdir(path, mode)

    def rmdir(self, path: bytes) -> None:
        """Remove an empty directory."""
        self.require_writable()
        with _translated("rmdir", path):
            self._library.rmdir(path)

    def unlink(self, path: bytes) -> None:
        """Remove a name."""
        self.require_writable()
        with _translated("unlink", path):
            self._library.unlink(path)

    def rename(self, source: bytes, target: bytes) -> None:
        """Move a name."""
        self.require_writable()
        with _translated("rename", source):
            self._library.rename(source, target)

    def link(self, existing: bytes, new: bytes) -> None:
        """A second name."""
        self.require_writable()
        self._require_free(new, "link")
        with _translated("link", new):
            self._library.link(existing, new)

    def symlink(self, target: bytes, path: bytes) -> None:
        """A symbolic link."""
        self.require_writable()
        self._require_free(path, "symlink")
        with _translated("symlink", path):
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
        with _translated("readlink", path):
            return bytes(self._library.readlink(path, _TARGET_SIZE))

    def scandir(self, path: bytes) -> Generator[Entry]:
        """Entries as a stream. The directory is closed when the iterator ends or is closed."""
        with _translated("opendir", path):
            handle = self._library.opendir(path)
        try:
            while True:
                with _translated("readdir", path):
                    entry = self._library.readdir(handle)
                if entry is None:
                    return
                if entry.d_name not in (b".", b".."):
                    yield Entry(bytes(entry.d_name), entry.d_ino, kind_of_mode(entry.d_type << _DTYPE_SHIFT))
        finally:
            handle.close()

    def sync(self) -> None:
        """Everything dirty is durable when it returns."""
        with _translated("sync"):
            self._library.sync_fs()

    # other clients

    def lease(self, ino: int) -> ObjectLease:
        """The lease of an inode, not yet acquired."""
        self.require_writable()
        holder = f"{self.cluster.access.entity} {os.getpid()}"
        return ObjectLease(self._leases, ino, holder, self._keeper)

    def sessions(self) -> list[Session]:
        """All clients but ours.

        Raises:
            CephError: EACCES or EPERM where the entity may not `tell` the MDSs.
        """
        managers = self.cluster.manager_addresses()
        found = {
            one.number: one
            for rank in self._ranks()
            for one in (session_of(listed, managers) for listed in self._tell(rank, "session ls"))
        }
        return [found[number] for number in sorted(found) if found[number].address not in self._own]

    def evict(self, session: Session) -> None:
        """End a session everywhere and blocklist it (doc/facts.md M10).

        Raises:
            CephError: EPERM for one of ceph-mgr's own; ETIMEDOUT when it was not gone in time.
        """
        if session.manager:
            raise CephError(errno.EPERM, f"{session} belongs to ceph-mgr and is not evicted")
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
        return (self.cluster.access.root.rstrip(b"/") + path).rstrip(b"/") or b"/"

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
        with _translated("unmount"):
            self._library.unmount()
            self._library.shutdown()
        self._library = cephfs.LibCephFS(
            conffile=self.cluster.access.conf_file, auth_id=self.cluster.access.entity.partition(".")[2]
        )
        self._mount()

    def _mount(self) -> None:
        access = self.cluster.access
        try:
            for name, value in access.options.items():
                self._library.conf_set(name, value)
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
        self._own.add(self._library.get_addrs())

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
        with _translated(f"tell mds.{rank} {prefix}"):
            code, answer, reason = self._library.mds_command(rank, question, "")
        if code != 0:
            raise CephError(abs(code), f"{reason or 'refused'} (tell mds.{rank} {prefix})")
        return json.loads(answer) if answer.strip() else []

    def _listed(self, number: int) -> bool:
        return any(one["id"] == number for rank in self._ranks() for one in self._tell(rank, "session ls"))


# d_type is the type bits of st_mode, shifted
_DTYPE_SHIFT = 12


def _check_length(name: str, value: bytes) -> None:
    if name.startswith("ceph.") and len(value) > VXATTR_LIMIT:
        raise CephError(errno.E2BIG, f"{name} of {len(value)} bytes would crash clients that read it (F2)")


def _layout_of(text: bytes) -> Layout:
    """From `stripe_unit=4194304 stripe_count=1 object_size=4194304 pool=data [pool_namespace=x]`."""
    fields = dict(word.split("=", 1) for word in text.decode().split(" "))
    return Layout(
        stripe_unit=int(fields["stripe_unit"]),
        stripe_count=int(fields["stripe_count"]),
        object_size=int(fields["object_size"]),
        pool=fields["pool"],
        namespace=fields.get("pool_namespace", ""),
    )
