"""One file under random reads, writes, truncates and holes, compared with a model of it in memory, byte by byte."""

import ctypes
import os
import random
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Sequence_
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mgr_fscrypt.engine import File, FileSystem
from mgr_fscrypt.engine.files import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE

LARGEST = 512 << 10
_LONGEST = 64 << 10
_BLOCK = 4096
_CHECK_EVERY = 250


class FileUnderTest(Protocol):
    """One file that is open for reading and writing."""

    def pread(self, length: int, offset: int) -> bytes:
        """Up to `length` bytes; fewer only at the end of the file."""

    def pwrite(self, data: bytes, offset: int) -> None:
        """All of `data`."""

    def truncate(self, size: int) -> None:
        """Up or down; what is new reads as zeros."""

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        """Punch a hole, or zero a range."""

    def size(self) -> int:
        """As stat tells it."""

    def fsync(self) -> None:
        """Everything is durable."""

    def reopen(self) -> None:
        """Close it, and open it again."""

    def replace(self, data: bytes) -> None:
        """Rename a new file with this content over it; what follows is done to the new one."""


class EngineFile:
    """A file through the engine's interface."""

    def __init__(self, files: FileSystem, path: bytes) -> None:
        self._files = files
        self._path = path
        self._file: File = files.create(path)

    def pread(self, length: int, offset: int) -> bytes:
        return self._file.pread(length, offset)

    def pwrite(self, data: bytes, offset: int) -> None:
        self._file.pwrite(data, offset)

    def truncate(self, size: int) -> None:
        self._file.truncate(size)

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        self._file.fallocate(mode, offset, length)

    def size(self) -> int:
        return self._file.size

    def fsync(self) -> None:
        self._file.fsync()

    def reopen(self) -> None:
        self._file.close()
        self._file = self._files.open(self._path, os.O_RDWR)

    def replace(self, data: bytes) -> None:
        with self._files.create(self._path + b".new") as new:
            new.pwrite(data, 0)
        self._file.close()
        self._files.rename(self._path + b".new", self._path)
        self._file = self._files.open(self._path, os.O_RDWR)

    def close(self) -> None:
        self._file.close()


class SharedFile:
    """One file that several clients have open; each operation is done by one of them, who fsyncs what it changed."""

    def __init__(self, clients: Sequence_[FileSystem], path: bytes, chance: random.Random) -> None:
        clients[0].create(path).close()
        self._clients = clients
        self._path = path
        self._chance = chance
        self._handles = [files.open(path, os.O_RDWR) for files in clients]

    def pread(self, length: int, offset: int) -> bytes:
        return self._chance.choice(self._handles).pread(length, offset)

    def pwrite(self, data: bytes, offset: int) -> None:
        with self._acknowledged() as handle:
            handle.pwrite(data, offset)

    def truncate(self, size: int) -> None:
        with self._acknowledged() as handle:
            handle.truncate(size)

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        with self._acknowledged() as handle:
            handle.fallocate(mode, offset, length)

    def size(self) -> int:
        return self._chance.choice(self._handles).size

    def fsync(self) -> None:
        for handle in self._handles:
            handle.fsync()

    def reopen(self) -> None:
        number = self._chance.randrange(len(self._handles))
        self._handles[number].close()
        self._handles[number] = self._clients[number].open(self._path, os.O_RDWR)

    def replace(self, data: bytes) -> None:
        files = self._chance.choice(self._clients)
        with files.create(self._path + b".new") as new:
            new.pwrite(data, 0)
        self.close()
        files.rename(self._path + b".new", self._path)
        self._handles = [files.open(self._path, os.O_RDWR) for files in self._clients]

    def close(self) -> None:
        for handle in self._handles:
            handle.close()

    @contextmanager
    def _acknowledged(self) -> Iterator[File]:
        handle = self._chance.choice(self._handles)
        yield handle
        handle.fsync()


class PathFile:
    """A file through the kernel, by its path."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)

    def pread(self, length: int, offset: int) -> bytes:
        return os.pread(self._fd, length, offset)

    def pwrite(self, data: bytes, offset: int) -> None:
        if os.pwrite(self._fd, data, offset) != len(data):
            raise OSError("a short write")

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.fallocate(self._fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def size(self) -> int:
        return self._path.stat().st_size

    def fsync(self) -> None:
        os.fsync(self._fd)

    def reopen(self) -> None:
        os.close(self._fd)
        self._fd = os.open(self._path, os.O_RDWR)

    def replace(self, data: bytes) -> None:
        new = self._path.with_name(self._path.name + ".new")
        new.write_bytes(data)
        new.replace(self._path)
        self.reopen()

    def close(self) -> None:
        os.close(self._fd)


class _MismatchError(Exception):
    """The file is not what the model says."""


@dataclass
class Sequence:
    """A sequence of operations on one file; the model begins empty, as the file must."""

    file: FileUnderTest
    chance: random.Random

    def __post_init__(self) -> None:
        self._model = bytearray()
        self._operations: list[tuple[int, Callable[[], str]]] = [
            (30, self._read),
            (30, self._write),
            (14, self._truncate),
            (8, self._punch),
            (6, self._zero),
            (10, self._append_past_the_end),
            (6, self._reopen),
            (6, self._fsync),
            (4, self._replace),
        ]

    def run(self, count: int) -> str | None:
        """Do that many operations; what went wrong first, with the operation's number, or None."""
        weights = [weight for weight, _ in self._operations]
        for number in range(1, count + 1):
            (_, operation) = self.chance.choices(self._operations, weights)[0]
            did = operation.__name__.strip("_")
            try:
                did = operation()
                if number % _CHECK_EVERY == 0 or number == count:
                    did += ", then the whole file"
                    self._compare(0, LARGEST)
            except (_MismatchError, OSError) as error:
                return f"operation {number} ({did}): {error!r}"
        return None

    def _read(self) -> str:
        offset, length = self._place(), self._length()
        self._compare(offset, length)
        return f"read {length} at {offset}"

    def _write(self) -> str:
        offset = min(self._place(), len(self._model))
        return self._write_at(offset)

    def _append_past_the_end(self) -> str:
        return self._write_at(self._place())

    def _write_at(self, offset: int) -> str:
        data = self.chance.randbytes(min(self._length(), LARGEST - offset))
        if data:
            self.file.pwrite(data, offset)
            self._model.extend(bytes(max(0, offset - len(self._model))))
            self._model[offset : offset + len(data)] = data
        return f"write {len(data)} at {offset}"

    def _truncate(self) -> str:
        size = self._place()
        self.file.truncate(size)
        before = len(self._model)
        del self._model[size:]
        self._model.extend(bytes(size - len(self._model)))
        return f"truncate {before} to {size}"

    def _punch(self) -> str:
        offset, length = self._place(), self._length()
        self.file.fallocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length)
        self._blank(offset, length)
        return f"punch {length} at {offset}"

    def _zero(self) -> str:
        offset, keep = self._place(), self.chance.choice((0, FALLOC_FL_KEEP_SIZE))
        length = min(self._length(), LARGEST - offset)
        if length:
            self.file.fallocate(FALLOC_FL_ZERO_RANGE | keep, offset, length)
            if not keep:
                self._model.extend(bytes(max(0, offset + length - len(self._model))))
            self._blank(offset, length)
        return f"zero {length} at {offset}{', size kept' if keep else ''}"

    def _blank(self, offset: int, length: int) -> None:
        stop = min(offset + length, len(self._model))
        self._model[offset:stop] = bytes(max(0, stop - offset))

    def _reopen(self) -> str:
        self.file.reopen()
        return "reopen"

    def _fsync(self) -> str:
        self.file.fsync()
        return "fsync"

    def _replace(self) -> str:
        data = self.chance.randbytes(self._length())
        self.file.replace(data)
        self._model = bytearray(data)
        return f"rename {len(data)} bytes over it"

    def _compare(self, offset: int, length: int) -> None:
        if self.file.size() != len(self._model):
            raise _MismatchError(f"its size is {self.file.size()}, not {len(self._model)}")
        expected = bytes(self._model[offset : offset + length])
        found = self.file.pread(length, offset)
        if len(found) != len(expected):
            raise _MismatchError(f"{len(found)} bytes at {offset}, not {len(expected)}")
        if found != expected:
            wrong = [at for at, (one, two) in enumerate(zip(found, expected, strict=True)) if one != two]
            raise _MismatchError(
                f"{len(wrong)} bytes between {offset + wrong[0]} and {offset + wrong[-1]} are wrong: "
                f"the first is {found[wrong[0]]:02x}, not {expected[wrong[0]]:02x}"
            )

    def _place(self) -> int:
        """An offset: anywhere, near a block's edge, or near the end of the file."""
        match self.chance.randrange(4):
            case 0:
                place = self.chance.randrange(LARGEST // _BLOCK + 1) * _BLOCK + self.chance.randint(-2, 2)
            case 1:
                place = len(self._model) + self.chance.randint(-2 * _BLOCK, 2 * _BLOCK)
            case 2 if self._model:
                place = self.chance.randrange(len(self._model))
            case _:
                place = self.chance.randrange(LARGEST + 1)
        return min(max(place, 0), LARGEST)

    def _length(self) -> int:
        """Mostly short, sometimes whole blocks."""
        if self.chance.randrange(4) == 0:
            return self.chance.randrange(1, _LONGEST // _BLOCK + 1) * _BLOCK
        return self.chance.randrange(1, self.chance.choice((16, _BLOCK, 4 * _BLOCK, _LONGEST)) + 1)
