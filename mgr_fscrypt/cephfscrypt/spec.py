"""`cephfscrypt://` for fsspec: encrypted CephFS for pandas, pyarrow, Dask and all else that opens files by it.

The part behind `cephfscrypt://` is a path from the mount's root; which file system, and where its keys lie, say the
storage options, which are the arguments of `CephFscryptFileSystem`. Found by the entry point in setup.cfg.
"""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from shutil import SameFileError
from typing import Any

from fsspec.spec import AbstractFileSystem
from fsspec.utils import stringify_path

from ..ceph.errors import NotFoundError, SessionLostError
from ..ceph.interface import Kind
from ..client.put import PIECE
from ..engine import RefusedError
from .client import Client
from .connecting import Place
from .links import following, real_path
from .opened import OpenedReader, OpenedUpdater, OpenedWriter, PendingFile
from .shared import SharedClients
from .streams import READ_SIZE, WRITE_SIZE, flags_of

_FSSPECS_OWN = ("use_listings_cache", "listings_expiry_time", "max_paths", "asynchronous", "loop")
"""Options that fsspec gives to any of its kind. Listings are never cached: other clients write."""
_TYPES = {Kind.FILE: "file", Kind.DIRECTORY: "directory", Kind.SYMLINK: "link", Kind.SPECIAL: "other"}
Info = dict[str, Any]
"""What fsspec is told of a file or directory."""


class CephFscryptFileSystem(AbstractFileSystem):  # type: ignore[misc] # fsspec has no types
    """Encrypted CephFS as fsspec has file systems.

    Directories are real ones, symbolic links are followed where the kernel follows them. Nothing is cached here but
    what CephFS itself keeps coherent with other clients. All instances of a process that name the same place share
    one mount, in whatever thread they were made; a forked or spawned child, and whoever unpickles one, mounts by
    itself. What was closed is durable. Keys come from files and key managers of the host that it is used on.

    Args:
        auto_mkdir: make the directories on the way to what is written.
        options: as `connecting.Place`; names of files are absolute, and keys themselves are refused.
    """

    protocol = "cephfscrypt"
    root_marker = "/"

    def __init__(self, *, auto_mkdir: bool = False, **options: Any) -> None:
        mine = {name: value for name, value in options.items() if name not in _FSSPECS_OWN}
        self._place = Place(**{"durable_close": True, **mine})
        self._place.require_absolute()
        self._auto_mkdir = auto_mkdir
        super().__init__(use_listings_cache=False)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        text = os.fsdecode(stringify_path(path)).removeprefix(f"{cls.protocol}://")
        return "/" + "/".join(name for name in text.split("/") if name not in ("", "."))

    @property
    def fsid(self) -> str:
        """Of the cluster and the file system."""
        with self._client() as client:
            return f"{self.protocol}:{client.identity}"

    def close(self) -> None:
        """Unmount, for all instances of this process that name the same place; what is used again mounts again.

        No other thread may be using it meanwhile. Raises what kept something from being durable."""
        SharedClients.here().drop(self._place)

    # names

    def ls(self, path: Any, detail: bool = True, **_: Any) -> list[Info] | list[str]:
        """What lies in a directory, sorted; of a file itself."""
        path = self._strip_protocol(path)
        with self._client() as client:
            if client.followed(path).kind is not Kind.DIRECTORY:
                return [self.info(path)] if detail else [path]
            real = real_path(client, path)
            names = sorted(os.fsdecode(each.name) for each in client.scandir(real))
            if not detail:
                return [_joined(path, name) for name in names]
            return [
                found
                for name in names
                if (found := _listed(client, _joined(path, name), _joined(real, name)))
            ]

    def info(self, path: Any, **_: Any) -> Info:
        """What is there: `size` is the real one. Of a link to a file it is the file's, with `islink`; a link to a
        directory, or to nothing, is of the type `link`. `destination` is a link's target."""
        path = self._strip_protocol(path)
        with self._client() as client:
            return following(client, path, lambda real: _info(client, path, real), last=False)

    def exists(self, path: Any, **_: Any) -> bool:
        """Is something there? What keeps it from being looked at is raised."""
        return self._kind(path) is not None

    def lexists(self, path: Any, **_: Any) -> bool:
        """The same, also for a link that leads nowhere."""
        try:
            self.info(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def isdir(self, path: Any) -> bool:
        """Is it a directory, or a link to one?"""
        return self._kind(path) is Kind.DIRECTORY

    def isfile(self, path: Any) -> bool:
        """Is it a regular file, or a link to one?"""
        return self._kind(path) is Kind.FILE

    def walk(
        self,
        path: Any,
        maxdepth: int | None = None,
        topdown: bool = True,
        on_error: Any = "omit",
        **kwargs: Any,
    ) -> Iterator[Any]:
        """As fsspec's, but what is left out is only what is not there any more: a tree that cannot be read is not an
        empty one."""
        on_error = _omit_vanished if on_error == "omit" else on_error
        yield from super().walk(path, maxdepth=maxdepth, topdown=topdown, on_error=on_error, **kwargs)

    def modified(self, path: Any) -> datetime:
        """When its contents were changed the last time."""
        return datetime.fromtimestamp(self.info(path)["mtime"], UTC)

    def ukey(self, path: Any) -> str:
        """Another one after each change of what is in it."""
        found = self.info(path)
        told = [str(found[each]) for each in ("ino", "version", "size", "mtime")]
        return sha256(" ".join(told).encode()).hexdigest()

    def checksum(self, path: Any) -> int:
        """`ukey` as a number."""
        return int(self.ukey(path), 16)

    # changes of names

    def mkdir(self, path: Any, create_parents: bool = True, **_: Any) -> None:
        """Make a directory. FileExistsError."""
        path = self._strip_protocol(path)
        if create_parents:
            self.makedirs(self._parent(path), exist_ok=True)
        with self._client() as client:
            following(client, path, client.mkdir, last=False)

    def makedirs(self, path: Any, exist_ok: bool = False) -> None:
        """Make a directory, and those on the way to it."""
        path = self._strip_protocol(path)
        if self.exists(path):
            if not (exist_ok and self.isdir(path)):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
            return
        self.makedirs(self._parent(path), exist_ok=True)
        try:
            self.mkdir(path, create_parents=False)
        except FileExistsError:
            # another one has made it meanwhile
            if not (exist_ok and self.isdir(path)):
                raise

    def rmdir(self, path: Any) -> None:
        """Remove an empty directory."""
        with self._client() as client:
            following(client, self._strip_protocol(path), client.rmdir, last=False)

    def rm_file(self, path: Any) -> None:
        """Remove a name of a file, or a link."""
        with self._client() as client:
            following(client, self._strip_protocol(path), client.unlink, last=False)

    _rm = rm_file

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove files, and with `recursive` directories with what is in them. Links are removed, not followed."""
        for each in self.expand_path(path):
            self._remove(each, maxdepth if recursive else 0)

    def mv(
        self,
        path1: Any,
        path2: Any,
        recursive: bool = False,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Rename, at once and whole, a file or a directory with all that is in it; into `path2` where that is a
        directory. What cannot be renamed there (patterns, other policies) is copied and removed."""
        old = self._strip_protocol(path1)
        if not isinstance(path1, str | os.PathLike) or not self.lexists(old):
            super().mv(path1, path2, recursive=recursive, maxdepth=maxdepth, **kwargs)
            return
        new = self._strip_protocol(path2)
        if old == new:
            return
        if self.isdir(new):
            new = new.rstrip("/") + "/" + old.rpartition("/")[2]
        try:
            with self._client() as client:
                client.rename(real_path(client, old, last=False), real_path(client, new, last=False))
        except RefusedError as error:
            if error.errno != errno.EXDEV:
                raise
            super().mv(old, new, recursive=self.isdir(old), **kwargs)

    def symlink(self, target: str, path: Any) -> None:
        """Make a symbolic link at `path`; its target is stored as it is said."""
        with self._client() as client:
            following(
                client, self._strip_protocol(path), lambda real: client.symlink(target, real), last=False
            )

    # contents

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: Any = None,
        permissions: int = 0o644,
        **_: Any,
    ) -> "OpenedReader | OpenedWriter | OpenedUpdater":
        flags = flags_of(mode)
        if self._auto_mkdir and flags & os.O_CREAT:
            self.makedirs(self._parent(path), exist_ok=True)
        with self._client() as client:
            if autocommit or "r" in mode:
                raw, pending = client.raw(path, mode, permissions), None
            else:
                pending = PendingFile.to_be(client, path, mode, permissions)
                raw = client.raw(pending.beside, mode, pending.permissions)
            opened: OpenedReader | OpenedWriter | OpenedUpdater
            if not raw.writable():
                opened = OpenedReader(raw, block_size or READ_SIZE)
            elif not raw.readable():
                opened = OpenedWriter(raw, block_size or WRITE_SIZE)
            else:
                opened = OpenedUpdater(raw, block_size or READ_SIZE)
            opened.begin(self, path, pending)
            return client.kept(opened)

    def touch(self, path: Any, truncate: bool = True, **kwargs: Any) -> None:
        """Make a file, or empty it; without `truncate` one that is there only gets the time of now."""
        path = self._strip_protocol(path)
        if truncate or not self.exists(path):
            with self.open(path, "wb", **kwargs):
                return
        with self._client() as client:
            now = time.time()
            client.utimens(real_path(client, path), now, now)

    def cp_file(self, path1: Any, path2: Any, **_: Any) -> None:
        """Copy a file, with its contents alone, in pieces; of a directory only make another one."""
        path1, path2 = self._strip_protocol(path1), self._strip_protocol(path2)
        with self._client() as client:
            source_is = client.followed(path1)
        if source_is.kind is Kind.DIRECTORY:
            self.makedirs(path2, exist_ok=True)
            return
        if self.exists(path2) and self.info(path2)["ino"] == source_is.ino:
            # opening it for writing would empty it
            raise SameFileError(errno.EINVAL, "a file is not copied onto itself", path2)
        with self.open(path1, "rb", block_size=PIECE) as source, self.open(path2, "wb") as target:
            while piece := source.read(PIECE):
                target.write(piece)

    # parts

    @contextmanager
    def _client(self) -> Iterator[Client]:
        """The mount of this process; one whose session the cluster has ended is given up, for the next call."""
        shared = SharedClients.here()
        client = shared.get(self._place)
        try:
            yield client
        except SessionLostError:
            shared.give_up(self._place, client)
            raise

    def _remove(self, path: str, depth: int | None) -> None:
        """`depth`: how many levels of directories may be emptied."""
        if self.info(path)["type"] != "directory" or depth == 0:
            self.rm_file(path)
            return
        for each in self.ls(path, detail=False):
            self._remove(str(each), None if depth is None else depth - 1)
        self.rmdir(path)

    def _kind(self, path: Any) -> Kind | None:
        """What a path leads to; None for nothing."""
        try:
            with self._client() as client:
                return client.followed(self._strip_protocol(path)).kind
        except (FileNotFoundError, NotADirectoryError):
            return None


def _joined(directory: str, name: str) -> str:
    return directory.rstrip("/") + "/" + name


def _listed(client: Client, path: str, real: str) -> Info | None:
    """None: it has been removed meanwhile."""
    try:
        return _info(client, path, real)
    except NotFoundError:
        return None


def _info(client: Client, path: str, real: str) -> Info:
    found, link = client.stat(real), {}
    kind = _TYPES[found.kind]
    if found.kind is Kind.SYMLINK:
        link = {"islink": True, "destination": os.fsdecode(client.readlink(real))}
        try:
            leads_to = client.followed(real)
        except (FileNotFoundError, NotADirectoryError, RefusedError):
            leads_to = found
        if leads_to.kind is Kind.FILE:
            found, kind = leads_to, "file"
    return {
        "name": path,
        "type": kind,
        "size": 0 if found.kind is Kind.DIRECTORY else found.size,
        "mode": found.kind_bits | found.permissions,
        "uid": found.uid,
        "gid": found.gid,
        "nlink": found.nlink,
        "ino": found.ino,
        "version": found.version,
        "atime": found.atime,
        "mtime": found.mtime,
        "ctime": found.ctime,
        "encrypted": found.encrypted,
        **link,
    }


def _omit_vanished(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error
