"""One client's way to a directory: through the engine's own interface, or through the kernel by paths.

Paths begin in that directory; their names are joined by slashes.
"""

import ctypes
import mmap
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mgr_fscrypt.ceph.interface import Kind
from mgr_fscrypt.engine import FileSystem

DURABLE = os.O_SYNC | os.O_DSYNC | os.O_DIRECT
"""With one of these a change is durable, and others see it, when its call returns."""
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Status:
    """What stat tells of a name. `size` is in bytes, `mtime` in seconds since 1970."""

    kind: Kind
    size: int
    permissions: int
    links: int
    mtime: float


class Handle(Protocol):
    """A file that is open. `engine.File` is one."""

    @property
    def size(self) -> int:
        """As fstat tells it."""

    def pread(self, length: int, offset: int) -> bytes:
        """Up to `length` bytes; fewer only at the end of the file."""

    def preadv(self, buffers: Sequence[bytearray], offset: int) -> int:
        """As `pread`, into several buffers; how many bytes there were."""

    def pwrite(self, data: bytes, offset: int) -> int:
        """All of `data`; with O_APPEND at the end."""

    def pwritev(self, buffers: Sequence[bytes], offset: int) -> int:
        """As `pwrite`, from several buffers."""

    def truncate(self, size: int) -> None:
        """Up or down; what is new reads as zeros."""

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        """Punch a hole, or zero a range."""

    def seek(self, offset: int, whence: int) -> int:
        """SEEK_DATA or SEEK_HOLE."""

    def fsync(self) -> None:
        """Everything is durable, and others see it."""

    def close(self) -> None:
        """As `fsync`; then the handle is gone."""


class Door(Protocol):
    """One client's way to a directory."""

    @property
    def caches(self) -> bool:
        """Do handles without O_DIRECT show what others wrote only once the file is opened again, and does fstat tell of
        what the name that they were opened by is now?"""

    @property
    def finds_holes(self) -> bool:
        """Does `Handle.seek` know which blocks are stored?"""

    def open(self, path: bytes, flags: int) -> Handle: ...
    def truncate(self, path: bytes, size: int) -> None: ...
    def mkdir(self, path: bytes) -> None: ...
    def symlink(self, target: bytes, path: bytes) -> None: ...
    def link(self, existing: bytes, new: bytes) -> None: ...
    def rename(self, old: bytes, new: bytes) -> None: ...
    def unlink(self, path: bytes) -> None: ...
    def rmdir(self, path: bytes) -> None: ...
    def chmod(self, path: bytes, mode: int) -> None: ...
    def utimens(self, path: bytes, atime: int, mtime: int) -> None: ...
    def readlink(self, path: bytes) -> bytes: ...
    def names(self, directory: bytes) -> Iterator[bytes]: ...
    def stat(self, path: bytes) -> Status: ...


class EngineDoor:
    """Through the engine's interface."""

    caches = False
    finds_holes = True

    def __init__(self, files: FileSystem, top: bytes) -> None:
        self._files = files
        self._top = top

    def open(self, path: bytes, flags: int) -> Handle:
        return self._files.open(self._at(path), flags)

    def truncate(self, path: bytes, size: int) -> None:
        with self._files.open(self._at(path), os.O_WRONLY) as file:
            file.truncate(size)

    def mkdir(self, path: bytes) -> None:
        self._files.mkdir(self._at(path))

    def symlink(self, target: bytes, path: bytes) -> None:
        self._files.symlink(target, self._at(path))

    def link(self, existing: bytes, new: bytes) -> None:
        self._files.link(self._at(existing), self._at(new))

    def rename(self, old: bytes, new: bytes) -> None:
        self._files.rename(self._at(old), self._at(new))

    def unlink(self, path: bytes) -> None:
        self._files.unlink(self._at(path))

    def rmdir(self, path: bytes) -> None:
        self._files.rmdir(self._at(path))

    def chmod(self, path: bytes, mode: int) -> None:
        self._files.chmod(self._at(path), mode)

    def utimens(self, path: bytes, atime: int, mtime: int) -> None:
        self._files.utimens(self._at(path), atime, mtime)

    def readlink(self, path: bytes) -> bytes:
        return self._files.readlink(self._at(path))

    def names(self, directory: bytes) -> Iterator[bytes]:
        return (entry.name for entry in self._files.scandir(self._at(directory)))

    def stat(self, path: bytes) -> Status:
        found = self._files.stat(self._at(path))
        return Status(found.kind, found.size, found.permissions, found.nlink, found.mtime)

    def _at(self, path: bytes) -> bytes:
        return self._top + b"/" + path if path else self._top


class PathHandle:
    """A descriptor of the kernel's."""

    def __init__(self, path: bytes, flags: int) -> None:
        self._fd = os.open(path, flags, 0o644)

    @property
    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def pread(self, length: int, offset: int) -> bytes:
        return os.pread(self._fd, length, offset)

    def preadv(self, buffers: Sequence[bytearray], offset: int) -> int:
        return os.preadv(self._fd, buffers, offset)

    def pwrite(self, data: bytes, offset: int) -> int:
        return os.pwrite(self._fd, data, offset)

    def pwritev(self, buffers: Sequence[bytes], offset: int) -> int:
        return os.pwritev(self._fd, buffers, offset)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        if _libc.fallocate(self._fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def seek(self, offset: int, whence: int) -> int:
        return os.lseek(self._fd, offset, whence)

    def fsync(self) -> None:
        os.fsync(self._fd)

    def close(self) -> None:
        os.close(self._fd)

    def read_mapped(self, length: int, offset: int) -> bytes:
        """A range that the file has, through memory."""
        first = offset - offset % mmap.ALLOCATIONGRANULARITY
        with mmap.mmap(
            self._fd, offset + length - first, mmap.MAP_SHARED, mmap.PROT_READ, offset=first
        ) as memory:
            return memory[offset - first :]

    def write_mapped(self, data: bytes, offset: int) -> None:
        """Into a range that the file has, through memory that is shared with it, and msync."""
        first = offset - offset % mmap.ALLOCATIONGRANULARITY
        with mmap.mmap(self._fd, offset + len(data) - first, mmap.MAP_SHARED, offset=first) as memory:
            memory[offset - first :] = data
            memory.flush()


class PathDoor:
    """Through the kernel: a directory of `cephfs-fscrypt mount` (doc/commands.md, Mounting)."""

    caches = True
    finds_holes = False

    def __init__(self, top: Path) -> None:
        self._top = os.fsencode(top)

    def open(self, path: bytes, flags: int) -> Handle:
        return PathHandle(self._at(path), flags)

    # names are of any bytes here, hence no pathlib

    def truncate(self, path: bytes, size: int) -> None:
        os.truncate(self._at(path), size)

    def mkdir(self, path: bytes) -> None:
        os.mkdir(self._at(path), 0o755)  # noqa: PTH102

    def symlink(self, target: bytes, path: bytes) -> None:
        os.symlink(target, self._at(path))  # noqa: PTH211

    def link(self, existing: bytes, new: bytes) -> None:
        os.link(self._at(existing), self._at(new), follow_symlinks=False)

    def rename(self, old: bytes, new: bytes) -> None:
        os.rename(self._at(old), self._at(new))  # noqa: PTH104

    def unlink(self, path: bytes) -> None:
        os.unlink(self._at(path))  # noqa: PTH108

    def rmdir(self, path: bytes) -> None:
        os.rmdir(self._at(path))  # noqa: PTH106

    def chmod(self, path: bytes, mode: int) -> None:
        os.chmod(self._at(path), mode)  # noqa: PTH101

    def utimens(self, path: bytes, atime: int, mtime: int) -> None:
        os.utime(self._at(path), (atime, mtime), follow_symlinks=False)

    def readlink(self, path: bytes) -> bytes:
        return os.readlink(self._at(path))  # noqa: PTH115

    def names(self, directory: bytes) -> Iterator[bytes]:
        return iter(os.listdir(self._at(directory)))  # noqa: PTH208

    def stat(self, path: bytes) -> Status:
        found = os.lstat(self._at(path))
        kind = {stat.S_IFDIR: Kind.DIRECTORY, stat.S_IFLNK: Kind.SYMLINK}.get(
            stat.S_IFMT(found.st_mode), Kind.FILE
        )
        return Status(kind, found.st_size, stat.S_IMODE(found.st_mode), found.st_nlink, found.st_mtime)

    def _at(self, path: bytes) -> bytes:
        return self._top + b"/" + path if path else self._top
