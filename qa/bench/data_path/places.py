"""One directory, reached in one of two ways: by calls of a library, or by paths of a mounted file system."""

import os
from pathlib import Path
from typing import Any, Protocol

from mgr_fscrypt.engine import File, FileSystem


class OpenFile(Protocol):
    """A file that is open."""

    def write(self, data: bytes, offset: int) -> None: ...

    def read(self, length: int, offset: int) -> int:
        """How many bytes were there."""

    def sync(self) -> None: ...

    def close(self) -> None: ...


class Place(Protocol):
    """A directory that the cases work in. Names are below it."""

    def make(self, name: str) -> OpenFile:
        """A new file."""

    def open(self, name: str, *, write: bool = False) -> OpenFile:
        """One that is there."""

    def mkdir(self, name: str) -> None: ...

    def stat(self, name: str) -> int:
        """Its size."""

    def names(self, name: str) -> int:
        """List the directory; how many entries it has."""

    def unlink(self, name: str) -> None: ...

    def rmdir(self, name: str) -> None: ...

    def sync(self) -> None:
        """All that was written and closed is durable when it returns, as far as this way can say so."""


class _CephHandle:
    """A descriptor of python-cephfs."""

    def __init__(self, library: Any, fd: int) -> None:
        self._library = library
        self._fd = fd

    def write(self, data: bytes, offset: int) -> None:
        if self._library.write(self._fd, data, offset) != len(data):
            raise OSError("short write")

    def read(self, length: int, offset: int) -> int:
        return len(self._library.read(self._fd, offset, length))

    def sync(self) -> None:
        self._library.fsync(self._fd, 0)

    def close(self) -> None:
        self._library.close(self._fd)


class CephPlace:
    """By python-cephfs alone: plain files."""

    def __init__(self, library: Any, top: str) -> None:
        self._library = library
        self._top = top

    def make(self, name: str) -> OpenFile:
        return _CephHandle(
            self._library, self._library.open(self._at(name), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
        )

    def open(self, name: str, *, write: bool = False) -> OpenFile:
        flags = os.O_RDWR if write else os.O_RDONLY
        return _CephHandle(self._library, self._library.open(self._at(name), flags, 0))

    def mkdir(self, name: str) -> None:
        self._library.mkdir(self._at(name), 0o755)

    def stat(self, name: str) -> int:
        return int(self._library.stat(self._at(name), follow_symlink=False).st_size)

    def names(self, name: str) -> int:
        handle, count = self._library.opendir(self._at(name)), 0
        while (entry := self._library.readdir(handle)) is not None:
            count += entry.d_name not in (b".", b"..")
        handle.close()
        return count

    def unlink(self, name: str) -> None:
        self._library.unlink(self._at(name))

    def rmdir(self, name: str) -> None:
        self._library.rmdir(self._at(name))

    def sync(self) -> None:
        self._library.sync_fs()

    def _at(self, name: str) -> bytes:
        return f"{self._top}/{name}".encode()


class _EngineHandle:
    """A file of our engine."""

    def __init__(self, file: File) -> None:
        self._file = file

    def write(self, data: bytes, offset: int) -> None:
        self._file.pwrite(data, offset)

    def read(self, length: int, offset: int) -> int:
        return len(self._file.pread(length, offset))

    def sync(self) -> None:
        self._file.fsync()

    def close(self) -> None:
        self._file.close()


class EnginePlace:
    """By our engine's own calls."""

    def __init__(self, files: FileSystem, top: str) -> None:
        self._files = files
        self._top = top

    def make(self, name: str) -> OpenFile:
        return _EngineHandle(self._files.create(self._at(name)))

    def open(self, name: str, *, write: bool = False) -> OpenFile:
        return _EngineHandle(self._files.open(self._at(name), os.O_RDWR if write else os.O_RDONLY))

    def mkdir(self, name: str) -> None:
        self._files.mkdir(self._at(name))

    def stat(self, name: str) -> int:
        return self._files.stat(self._at(name)).size

    def names(self, name: str) -> int:
        return sum(1 for _ in self._files.scandir(self._at(name)))

    def unlink(self, name: str) -> None:
        self._files.unlink(self._at(name))

    def rmdir(self, name: str) -> None:
        self._files.rmdir(self._at(name))

    def sync(self) -> None:
        self._files.sync()

    def _at(self, name: str) -> bytes:
        return f"{self._top}/{name}".encode()


class _PathHandle:
    """A descriptor of the operating system."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, data: bytes, offset: int) -> None:
        done = 0
        while done < len(data):
            done += os.pwrite(self._fd, data[done:] if done else data, offset + done)

    def read(self, length: int, offset: int) -> int:
        done = 0
        while done < length and (part := os.pread(self._fd, length - done, offset + done)):
            done += len(part)
        return done

    def sync(self) -> None:
        os.fsync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


class PathPlace:
    """By system calls, on a mounted file system."""

    def __init__(self, top: Path) -> None:
        self._top = top

    def make(self, name: str) -> OpenFile:
        return _PathHandle(os.open(self._top / name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644))

    def open(self, name: str, *, write: bool = False) -> OpenFile:
        return _PathHandle(os.open(self._top / name, os.O_RDWR if write else os.O_RDONLY))

    def mkdir(self, name: str) -> None:
        (self._top / name).mkdir()

    def stat(self, name: str) -> int:
        return (self._top / name).lstat().st_size

    def names(self, name: str) -> int:
        with os.scandir(self._top / name) as entries:
            return sum(1 for _ in entries)

    def unlink(self, name: str) -> None:
        (self._top / name).unlink()

    def rmdir(self, name: str) -> None:
        (self._top / name).rmdir()

    def sync(self) -> None:
        # FUSE hears of syncfs(2) only where the server asked for it, so this costs nobody what others do not pay
        fd = os.open(self._top, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
