"""Python's own kind of open files (`io`) on the engine's handles."""

import io
import os
from collections.abc import Callable
from typing import Any

from ..engine import File

READ_SIZE = 128 << 10
"""Bytes that are read at once for small reads; larger ones go past the buffer."""
WRITE_SIZE = 4 << 20
"""Bytes that small writes are gathered to: an object of the default layout."""

_KINDS = {
    "r": 0,
    "w": os.O_CREAT | os.O_TRUNC,
    "x": os.O_CREAT | os.O_EXCL,
    "a": os.O_CREAT | os.O_APPEND,
}


def flags_of(mode: str) -> int:
    """The flags of open(2) for one of the modes of `open`: a letter of `rwxa`, and `+` or not.

    Raises:
        ValueError: it is none of these.
    """
    kind, plus = mode.replace("b", "", 1).replace("+", "", 1), "+" in mode
    if kind not in _KINDS:
        raise ValueError(f"there is no mode {mode!r}: r, w, x or a, with + or without, in binary")
    access = os.O_RDWR if plus else os.O_RDONLY if kind == "r" else os.O_WRONLY
    return access | _KINDS[kind]


class Raw(io.RawIOBase):
    """A handle with a position, without a buffer. `name` is the path that it was opened by, `mode` how."""

    def __init__(self, file: File, name: str, mode: str, flags: int) -> None:
        self._file = file
        self._flags = flags
        self.name = name
        self.mode = mode
        self._position = file.size if flags & os.O_APPEND else 0

    def readable(self) -> bool:
        """Was it opened for reading?"""
        return self._flags & os.O_ACCMODE != os.O_WRONLY

    def writable(self) -> bool:
        """Was it opened for writing?"""
        return self._flags & os.O_ACCMODE != os.O_RDONLY

    def seekable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` from here on; how many bytes there were."""
        self._require_open()
        if not self.readable():
            raise io.UnsupportedOperation("not opened for reading")
        count = self._file.preadv([buffer], self._position)
        self._position += count
        return count

    def write(self, data: Any) -> int:
        """Write all of it here, or in mode `a` at the end of the file, wherever that is by then."""
        self._require_open()
        if not self.writable():
            raise io.UnsupportedOperation("not opened for writing")
        if self._flags & os.O_APPEND:
            count = self._file.append(data)
            self._position = self._file.size
        else:
            count = self._file.pwrite(data, self._position)
            self._position += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go somewhere, which may be past the end; whence as for `io.IOBase.seek`."""
        self._require_open()
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._file.size}.get(whence)
        if start is None:
            raise ValueError(f"there is no whence {whence}")
        if start + offset < 0:
            raise ValueError(f"{start + offset} is before the start of the file")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """Where it is."""
        self._require_open()
        return self._position

    def truncate(self, size: int | None = None) -> int:
        """Set the size, by default to where it is."""
        self._require_open()
        if not self.writable():
            raise io.UnsupportedOperation("not opened for writing")
        wanted = self._position if size is None else size
        self._file.truncate(wanted)
        return wanted

    def fsync(self) -> None:
        """What was written is durable, and there for everybody, when it returns."""
        self._require_open()
        self._file.fsync()

    def size(self) -> int:
        """The real size as it stands now, in bytes."""
        self._require_open()
        return self._file.size

    def close(self) -> None:
        """As `engine.File.close`; a second time does nothing."""
        if self.closed:
            return
        try:
            super().close()
        finally:
            self._file.close()

    def _require_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")


class _Durable:
    """What streams have that Python's own do not."""

    raw: Any
    flush: Callable[[], None]

    def fsync(self) -> None:
        """What was written is durable, and there for everybody, when it returns. (There is no `fileno` for
        `os.fsync`.)"""
        self.flush()
        self.raw.fsync()


class Reader(_Durable, io.BufferedReader):
    """A stream that is read."""


class Writer(_Durable, io.BufferedWriter):
    """A stream that is written."""


class Updater(_Durable, io.BufferedRandom):
    """A stream that is read and written."""


Stream = Reader | Writer | Updater


def buffered(raw: Raw, size: int | None = None) -> Stream:
    """Python's buffer over a handle, of `size` bytes; None: what suits it."""
    if not raw.writable():
        return Reader(raw, size or READ_SIZE)
    if not raw.readable():
        return Writer(raw, size or WRITE_SIZE)
    return Updater(raw, size or READ_SIZE)
