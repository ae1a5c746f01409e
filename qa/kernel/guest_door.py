"""A guest's way to a directory of its kernel mount, as a `Door` (qa/load/doors.py)."""

from collections.abc import Iterator, Sequence
from typing import Any

from qa.load.doors import Status

from .guest import Guest


class GuestHandle:
    """A file that the guest has open."""

    def __init__(self, guest: Guest, number: int) -> None:
        self._guest = guest
        self._number = number

    @property
    def size(self) -> int:
        return int(self._ask("size"))

    def pread(self, length: int, offset: int) -> bytes:
        return bytes(self._ask("pread", length, offset))

    def preadv(self, buffers: Sequence[bytearray], offset: int) -> int:
        data = self.pread(sum(map(len, buffers)), offset)
        done = 0
        for buffer in buffers:
            piece = data[done : done + len(buffer)]
            buffer[: len(piece)] = piece
            done += len(piece)
        return done

    def pwrite(self, data: bytes, offset: int) -> int:
        return int(self._ask("pwrite", data, offset))

    def pwritev(self, buffers: Sequence[bytes], offset: int) -> int:
        return int(self._ask("pwritev", buffers, offset))

    def truncate(self, size: int) -> None:
        self._ask("truncate", size)

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        self._ask("fallocate", mode, offset, length)

    def seek(self, offset: int, whence: int) -> int:
        return int(self._ask("seek", offset, whence))

    def fsync(self) -> None:
        self._ask("fsync")

    def close(self) -> None:
        self._guest.ask("close", self._number)

    def _ask(self, act: str, *arguments: object) -> Any:
        return self._guest.ask("of_handle", self._number, act, *arguments)


class GuestDoor:
    """Through the guest's kernel."""

    caches = False
    finds_holes = False

    def __init__(self, guest: Guest, top: str) -> None:
        self._guest = guest
        self._top = top

    def open(self, path: bytes, flags: int) -> GuestHandle:
        return GuestHandle(self._guest, self._guest.ask("open", self._top, path, flags))

    def truncate(self, path: bytes, size: int) -> None:
        self._ask("truncate", path, size)

    def mkdir(self, path: bytes) -> None:
        self._ask("mkdir", path)

    def symlink(self, target: bytes, path: bytes) -> None:
        self._ask("symlink", target, path)

    def link(self, existing: bytes, new: bytes) -> None:
        self._ask("link", existing, new)

    def rename(self, old: bytes, new: bytes) -> None:
        self._ask("rename", old, new)

    def unlink(self, path: bytes) -> None:
        self._ask("unlink", path)

    def rmdir(self, path: bytes) -> None:
        self._ask("rmdir", path)

    def chmod(self, path: bytes, mode: int) -> None:
        self._ask("chmod", path, mode)

    def utimens(self, path: bytes, atime: int, mtime: int) -> None:
        self._ask("utimens", path, atime, mtime)

    def readlink(self, path: bytes) -> bytes:
        return bytes(self._ask("readlink", path))

    def names(self, directory: bytes) -> Iterator[bytes]:
        return iter(self._guest.ask("names", self._top, directory))

    def stat(self, path: bytes) -> Status:
        found: Status = self._ask("stat", path)
        return found

    def _ask(self, act: str, *arguments: object) -> Any:
        return self._guest.ask("of_door", self._top, act, *arguments)
