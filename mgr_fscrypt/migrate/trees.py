"""Both sides of a migration by the same calls: an encrypted tree is an `engine.FileSystem`, a plain one a `PlainTree`.

So there is one copier: what is read on one side is decrypted or not, what is written on the other encrypted or not, and
neither the copier nor the comparison knows which.
"""

import errno
import os
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from types import TracebackType
from typing import Protocol, Self

from ..ceph.errors import (
    CephError,
    LeaseLostError,
    NoAttributeError,
    NotFoundError,
    QuotaError,
    SessionLostError,
    UnreachableError,
)
from ..ceph.interface import Kind, Mount
from ..engine import Attributes, DamagedError, DirEntry, LockedError, NameKind
from ..engine.paths import joined
from ..engine.xattrs import shown
from ..format.buffers import Buffer

_OF_ALL = (LeaseLostError, LockedError, QuotaError, SessionLostError, UnreachableError)
_OF_ALL_NUMBERS = (errno.ENOSPC, errno.ETIMEDOUT)
NEW_FILE = 0o600
"""The mode of a file until it has all its attributes."""


class Handle(Protocol):
    """An open file, as `engine.File`."""

    @property
    def size(self) -> int:
        """In bytes, as it stands now."""

    def pread(self, length: int, offset: int, /) -> bytes:
        """Fewer bytes only at the end."""

    def pwrite(self, data: Buffer, offset: int, /) -> int:
        """All of them."""

    def truncate(self, size: int, /) -> None:
        """What is new reads as zeros."""

    def chown(self, uid: int, gid: int, /) -> None:
        """Owner and group."""

    def utimens(self, atime: float, mtime: float, /) -> None:
        """Both times, seconds since 1970."""

    def close(self) -> None:
        """It may be durable only after `Tree.sync`."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Tree(Protocol):
    """One side, by absolute paths of the mount. Raises `CephError` and `EngineError`."""

    def stat(self, path: bytes, /) -> Attributes:
        """What is there; of a link itself."""

    def scandir(self, path: bytes, /) -> Generator[DirEntry]:
        """A stream, which whoever does not run it to its end closes."""

    def open(self, path: bytes, flags: int = os.O_RDONLY, mode: int = NEW_FILE, /) -> Handle:
        """As open(2)."""

    def mkdir(self, path: bytes, mode: int, /, *, attributes: Iterable[tuple[str, bytes]] = ()) -> None:
        """A directory. The `attributes` are set before it has a policy, as a layout has to be."""

    def mknod(self, path: bytes, mode: int, device: int, /) -> None:
        """A FIFO, socket or device, by the type bits of the mode."""

    def symlink(self, target: bytes, path: bytes, /) -> None:
        """A symbolic link."""

    def readlink(self, path: bytes, /) -> bytes:
        """Its target."""

    def link(self, existing: bytes, new: bytes, /) -> None:
        """A second name of a file."""

    def unlink(self, path: bytes, /) -> None:
        """Remove a name."""

    def rmdir(self, path: bytes, /) -> None:
        """Remove an empty directory."""

    def chmod(self, path: bytes, mode: int, /) -> None:
        """Permission bits."""

    def chown(self, path: bytes, uid: int, gid: int, /) -> None:
        """Owner and group."""

    def utimens(self, path: bytes, atime: float, mtime: float, /) -> None:
        """Both times, seconds since 1970."""

    def listxattr(self, path: bytes, /) -> list[str]:
        """Extended attributes, those of users."""

    def getxattr(self, path: bytes, name: str, /) -> bytes:
        """One of them, or a virtual one of Ceph."""

    def setxattr(self, path: bytes, name: str, value: bytes, /) -> None:
        """Create or replace."""

    def removexattr(self, path: bytes, name: str, /) -> None:
        """Remove one."""

    def sync(self) -> None:
        """What was made, changed and closed before is durable when it returns."""


class PlainFile:
    """A file that is stored as it is."""

    def __init__(self, mount: Mount, fd: int) -> None:
        self._mount = mount
        self._fd = fd

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def size(self) -> int:
        """In bytes."""
        return self._mount.fstat(self._fd).size

    def pread(self, length: int, offset: int, /) -> bytes:
        """Fewer bytes only at the end."""
        return self._mount.pread(self._fd, length, offset)

    def pwrite(self, data: Buffer, offset: int, /) -> int:
        """All of them."""
        self._mount.pwrite(self._fd, bytes(data), offset)
        return len(data)

    def truncate(self, size: int, /) -> None:
        """What is new reads as zeros."""
        self._mount.ftruncate(self._fd, size)

    def chown(self, uid: int, gid: int, /) -> None:
        """Owner and group."""
        self._mount.fchown(self._fd, uid, gid)

    def utimens(self, atime: float, mtime: float, /) -> None:
        """Both times, seconds since 1970."""
        self._mount.futimens(self._fd, atime, mtime)

    def close(self) -> None:
        """As the mount closes it."""
        self._mount.close(self._fd)


class PlainTree:
    """Directories that are not encrypted, by the calls of `engine.FileSystem`."""

    def __init__(self, mount: Mount) -> None:
        self._mount = mount
        self.mknod = mount.mknod
        self.symlink = mount.symlink
        self.readlink = mount.readlink
        self.link = mount.link
        self.unlink = mount.unlink
        self.rmdir = mount.rmdir
        self.chmod = mount.chmod
        self.chown = mount.chown
        self.utimens = mount.utimens
        self.getxattr = mount.getxattr
        self.removexattr = mount.removexattr
        self.sync = mount.sync

    def mkdir(self, path: bytes, mode: int, /, *, attributes: Iterable[tuple[str, bytes]] = ()) -> None:
        """A directory."""
        self._mount.mkdir(path, mode)
        for name, value in attributes:
            self._mount.setxattr(path, name, value)

    def stat(self, path: bytes, /) -> Attributes:
        """What is there; of a link itself."""
        found = self._mount.stat(path)
        return Attributes.of(found, size=found.size, encrypted=False)

    def scandir(self, path: bytes, /) -> Generator[DirEntry]:
        """A stream, which whoever does not run it to its end closes."""
        with closing(self._mount.scandir(path)) as entries:
            for entry in entries:
                yield DirEntry(entry.name, entry.name, entry.kind, entry.ino, NameKind.PLAIN)

    def open(self, path: bytes, flags: int = os.O_RDONLY, mode: int = NEW_FILE, /) -> PlainFile:
        """As open(2)."""
        return PlainFile(self._mount, self._mount.open(path, flags, mode))

    def listxattr(self, path: bytes, /) -> list[str]:
        """Those of users."""
        return shown(self._mount.listxattr(path))

    def setxattr(self, path: bytes, name: str, value: bytes, /) -> None:
        """Create or replace."""
        self._mount.setxattr(path, name, value)


@dataclass(frozen=True)
class Sides:
    """Both trees of a migration: the source below `top`, but for the inodes that are `excluded`, the new one below
    `new_top`. In `anchors` lie names of the new tree's files with several, until the cut-over."""

    source: Tree
    top: bytes
    new: Tree
    new_top: bytes
    anchors: bytes
    namespace: str = ""
    """Of all files of the new tree; empty: as the directories of the source have it."""
    excluded: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Met:
    """What a walk meets, by its path below the top (empty for the top itself). A directory is met twice: before what
    lies in it, and `leaving` after it."""

    below: bytes
    entry: DirEntry | None
    leaving: bool = False
    error: OSError | None = None
    """Why a directory could not be listed."""

    @property
    def is_directory(self) -> bool:
        """The top is one."""
        return self.entry is None or self.entry.kind is Kind.DIRECTORY


def walk(tree: Tree, top: bytes, excluded: frozenset[int] = frozenset()) -> Generator[Met]:
    """All below `top`, and it, but for the inodes that are `excluded`, with all below them. In memory is one open
    stream a level. What others remove meanwhile is passed over. Whoever does not run it to its end closes it."""
    yield Met(b"", None)
    streams = [(Met(b"", None), tree.scandir(top))]
    try:
        while streams:
            above, stream = streams[-1]
            error: OSError | None = None
            try:
                entry = next(stream, None)
            except NotFoundError:
                entry = None
            except OSError as found:
                if not_of_one_file(found):
                    raise
                entry, error = None, found
            if entry is None:
                streams.pop()
                yield Met(above.below, above.entry, leaving=True, error=error)
                continue
            if entry.ino in excluded:
                continue
            below = joined(above.below, entry.name) if above.below else b"/" + entry.name
            met = Met(below, entry)
            yield met
            if met.is_directory:
                streams.append((met, tree.scandir(top + below)))
    finally:
        for _, stream in streams:
            stream.close()


def not_of_one_file(error: OSError) -> bool:
    """Does an error concern all that is done, and not one file only?"""
    return isinstance(error, _OF_ALL) or (isinstance(error, CephError) and error.errno in _OF_ALL_NUMBERS)


class _Attributed(Protocol):
    """A `Tree`, or a mount."""

    def getxattr(self, path: bytes, name: str, /) -> bytes:
        """See there."""


def attribute(of: _Attributed, path: bytes, name: str) -> bytes | None:
    """An extended attribute, or None."""
    try:
        return of.getxattr(path, name)
    except NoAttributeError:
        return None


def existing(tree: Tree, path: bytes) -> Attributes | None:
    """What is there, or None."""
    try:
        return tree.stat(path)
    except NotFoundError:
        return None


def fingerprint(
    mount: Mount, top: bytes, go_on: Callable[[], None], excluded: frozenset[int] = frozenset()
) -> str:
    """Of all names below `top` as stored, with the inode of each and, but for directories, its change attribute:
    whoever writes, makes, removes or renames something changes it; but not what is `excluded`. `go_on` is called before
    each entry.

    Change attributes of directories are left out, as the MDS may bring them up to date late. It is a sum, so the order
    of a listing does not matter.
    """
    total = 0
    with closing(walk(PlainTree(mount), top, excluded)) as all_below:
        for met in all_below:
            go_on()
            if met.error is not None:
                raise met.error
            if met.entry is None or met.leaving:
                continue
            try:
                version = None if met.is_directory else mount.stat(top + met.below).version
            except NotFoundError:
                continue
            line = b"%d %d %b" % (met.entry.ino, version or 0, met.below)
            total += int.from_bytes(sha256(line).digest())
    return f"{total % (1 << 256):064x}"


def remove_all(tree: Tree, path: bytes, go_on: Callable[[], None] = lambda: None, *, kept: int = 0) -> None:
    """A file, or a directory with all below; nothing where nothing is. `go_on` is called before each entry.

    Raises:
        DamagedError: it meets the inode `kept`, which is left with all below it.
    """
    found = existing(tree, path)
    if found is None:
        return
    _require_other(found.ino, kept, path)
    if found.kind is not Kind.DIRECTORY:
        tree.unlink(path)
        return
    with closing(walk(tree, path)) as all_below:
        for met in all_below:
            go_on()
            if met.error is not None:
                raise met.error
            if met.entry is not None:
                _require_other(met.entry.ino, kept, path + met.below)
            if met.leaving:
                tree.rmdir(path + met.below)
            elif not met.is_directory:
                tree.unlink(path + met.below)


def _require_other(ino: int, kept: int, path: bytes) -> None:
    if kept and ino == kept:
        raise DamagedError(
            errno.EUCLEAN,
            "it lies in what is being removed, and must not go: it was left as it is",
            path,
            remedy="Move it back to where it belongs, and run the same again.",
        )
