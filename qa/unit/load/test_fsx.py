"""The random load on one file finds what it is there to find: any single byte that is wrong, in any operation."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from mgr_fscrypt.engine.files import FALLOC_FL_KEEP_SIZE
from qa.load.fsx import LARGEST, PathFile, Sequence

COUNT = 1500


class LocalFile(PathFile):
    """On a file system that may not know how to zero a range."""

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        stop = offset + length
        if mode & FALLOC_FL_KEEP_SIZE:
            stop = min(stop, self.size())
        if offset < stop:
            super().pwrite(bytes(stop - offset), offset)


class LosesAByte(LocalFile):
    def pwrite(self, data: bytes, offset: int) -> None:
        # the last byte of a block, where more follows
        edge = -(offset + 1) % 4096
        if len(data) > edge + 1 and offset > 100_000:
            data = data[:edge] + bytes([data[edge] ^ 1]) + data[edge + 1 :]
        super().pwrite(data, offset)


class KeepsTheTail(LocalFile):
    """A shrinking truncate leaves what was past the end, and a growing one shows it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._shown = 0

    def pwrite(self, data: bytes, offset: int) -> None:
        super().pwrite(data, offset)
        self._shown = max(self._shown, offset + len(data))

    def truncate(self, size: int) -> None:
        if size > self.size_below():
            super().truncate(size)
        self._shown = size

    def size_below(self) -> int:
        return super().size()

    def size(self) -> int:
        return self._shown

    def pread(self, length: int, offset: int) -> bytes:
        return super().pread(max(0, min(length, self._shown - offset)), offset)


class ReadsShort(LocalFile):
    def pread(self, length: int, offset: int) -> bytes:
        return super().pread(length - 1 if length > 60_000 else length, offset)


class ForgetsAtReopen(LocalFile):
    def reopen(self) -> None:
        super().truncate(super().size() // 4096 * 4096)
        super().reopen()


class RenamesAnOldOne(LocalFile):
    def replace(self, data: bytes) -> None:
        super().replace(data[:-1] + bytes([data[-1] ^ 1]))


def test_a_file_that_keeps_everything_passes(tmp_path: Path):
    file = LocalFile(tmp_path / "file")
    assert Sequence(file, random.Random(1)).run(COUNT) is None
    file.close()


@pytest.mark.parametrize("bug", [LosesAByte, KeepsTheTail, ReadsShort, ForgetsAtReopen, RenamesAnOldOne])
def test_a_planted_bug_is_found_and_its_operation_named(bug: Callable[[Path], PathFile], tmp_path: Path):
    file = bug(tmp_path / "file")
    wrong = Sequence(file, random.Random(1)).run(COUNT)
    assert wrong is not None
    assert wrong.startswith("operation ")
    assert "Mismatch" in wrong
    file.close()


def test_the_same_seed_is_the_same_sequence(tmp_path: Path):
    said = []
    for each in ("one", "two"):
        file = LosesAByte(tmp_path / each)
        said.append(Sequence(file, random.Random(7)).run(COUNT))
        file.close()
    assert said[0] == said[1]


def test_an_error_is_a_finding(tmp_path: Path):
    file = LocalFile(tmp_path / "file")
    file.close()
    assert "Bad file descriptor" in str(Sequence(file, random.Random(1)).run(COUNT))


def test_no_file_grows_past_the_limit(tmp_path: Path):
    sizes = set()

    class Watched(LocalFile):
        def size(self) -> int:
            sizes.add(super().size())
            return super().size()

    watched = Watched(tmp_path / "watched")
    assert Sequence(watched, random.Random(2)).run(COUNT) is None
    assert 0 < max(sizes) <= LARGEST
    watched.close()
