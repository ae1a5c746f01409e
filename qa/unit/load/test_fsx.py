"""The random load on one file finds what it is there to find: any single byte that is wrong, in any operation."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.engine.files import FALLOC_FL_KEEP_SIZE
from mgr_fscrypt.format import MasterKey
from qa.fakes.ceph import FakeCluster, FakeMount
from qa.load.doors import EngineDoor, Handle, PathDoor, PathHandle
from qa.load.fsx import LARGEST, Sequence

COUNT = 1500
KEY = MasterKey(bytes(range(64)))


class LocalHandle(PathHandle):
    """On a file system that may not know how to zero a range."""

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        stop = offset + length
        if mode & FALLOC_FL_KEEP_SIZE:
            stop = min(stop, self.size)
        for at in range(offset, stop, 4096):
            part = bytes(min(4096, stop - at))
            # pwrite would append, where it was opened for that
            if at + len(part) > self.size:
                self.truncate(at + len(part))
            self.write_mapped(part, at)


class LosesAByte(LocalHandle):
    def pwrite(self, data: bytes, offset: int) -> int:
        # the last byte of a block, where more follows
        edge = -(offset + 1) % 4096
        if len(data) > edge + 1 and offset > 100_000:
            data = data[:edge] + bytes([data[edge] ^ 1]) + data[edge + 1 :]
        return super().pwrite(data, offset)


class SwapsBuffers(LocalHandle):
    def pwritev(self, buffers: list[bytes], offset: int) -> int:
        return super().pwritev(buffers[::-1], offset)


class KeepsTheTail(LocalHandle):
    """A shrinking truncate within a block leaves what was past the end."""

    def truncate(self, size: int) -> None:
        tail = self.pread(-size % 4096, size)
        super().truncate(size)
        if tail and size % 4096 and self.size == size:
            self.tail = (size, tail)

    def pwrite(self, data: bytes, offset: int) -> int:
        size, tail = self.__dict__.pop("tail", (0, b""))
        if tail and offset > size + len(tail):
            super().truncate(size + len(tail))
            self.write_mapped(tail, size)
        return super().pwrite(data, offset)


class ReadsShort(LocalHandle):
    def pread(self, length: int, offset: int) -> bytes:
        return super().pread(length - 1 if length > 60_000 else length, offset)


class LosesSharedPages(LocalHandle):
    def write_mapped(self, data: bytes, offset: int) -> None:
        super().write_mapped(data[:-1], offset)


class AppendsAtTheStart(LocalHandle):
    def __init__(self, path: bytes, flags: int) -> None:
        super().__init__(path, flags & ~os.O_APPEND)


class CutsAtClose(LocalHandle):
    def close(self) -> None:
        if self.size % 4096 == 1:
            super().truncate(self.size - 1)
        super().close()


class Local(PathDoor):
    """A directory of this host, with handles of some kind."""

    def __init__(self, top: Path, handles: Callable[[bytes, int], Handle] = LocalHandle) -> None:
        super().__init__(top)
        self._handles = handles

    def open(self, path: bytes, flags: int) -> Handle:
        # what has to be aligned for a local file system need not be for a mount
        return self._handles(self._at(path), flags & ~os.O_DIRECT)


class RenamesNothing(Local):
    def rename(self, old: bytes, new: bytes) -> None:
        if old.endswith(b".new"):
            self.unlink(old)
        else:
            super().rename(old, new)


class CopiesInsteadOfLinking(Local):
    def link(self, existing: bytes, new: bytes) -> None:
        Path(os.fsdecode(self._at(new))).write_bytes(Path(os.fsdecode(self._at(existing))).read_bytes())


def test_a_file_that_keeps_everything_passes(tmp_path: Path):
    for clients in (1, 2):
        for direct in (False, True):
            place = tmp_path / f"{clients}{direct}"
            place.mkdir()
            sequence = Sequence([Local(place)] * clients, b"file", random.Random(1), direct=direct)
            assert sequence.run(COUNT // 3) is None


@pytest.mark.parametrize(
    "bug",
    [
        LosesAByte,
        SwapsBuffers,
        KeepsTheTail,
        ReadsShort,
        LosesSharedPages,
        AppendsAtTheStart,
        CutsAtClose,
    ],
)
def test_a_planted_bug_of_a_handle_is_found(bug: Callable[[bytes, int], Handle], tmp_path: Path):
    found(Local(tmp_path, bug))


@pytest.mark.parametrize("bug", [RenamesNothing, CopiesInsteadOfLinking])
def test_a_planted_bug_of_names_is_found(bug: Callable[[Path], Local], tmp_path: Path):
    found(bug(tmp_path))


def found(door: Local) -> None:
    wrong = Sequence([door], b"file", random.Random(1)).run(COUNT)
    assert wrong is not None
    assert wrong.startswith("operation ")
    assert "Mismatch" in wrong
    assert "the last ones: " in wrong


def test_the_same_seed_is_the_same_sequence(tmp_path: Path):
    said = []
    for each in ("one", "two"):
        (tmp_path / each).mkdir()
        door = Local(tmp_path / each, LosesAByte)
        said.append(Sequence([door], b"file", random.Random(7)).run(COUNT))
    assert said[0] == said[1]


def test_an_error_is_a_finding_and_nothing_stays_open(tmp_path: Path):
    class Full(LocalHandle):
        def fsync(self) -> None:
            raise OSError(28, "No space left on device")

    before = len(list(Path("/proc/self/fd").iterdir()))
    assert "No space" in str(Sequence([Local(tmp_path, Full)], b"file", random.Random(1)).run(COUNT))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_no_file_grows_past_the_limit(tmp_path: Path):
    sizes = set()

    class Watched(LocalHandle):
        def close(self) -> None:
            sizes.add(self.size)
            super().close()

    assert Sequence([Local(tmp_path, Watched)], b"file", random.Random(2)).run(COUNT) is None
    assert 4 << 20 < max(sizes) <= LARGEST


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("clients", [1, 2])
def test_the_engine_on_the_fake_passes(clients: int, direct: bool):
    cluster, systems = FakeCluster(), []
    for _ in range(clients):
        keyring = Keyring()
        keyring.add(KEY)
        systems.append(FileSystem(FakeMount(cluster), keyring))
    systems[0].mkdir(b"/s")
    systems[0].create_subtree(b"/s", KEY.identifier)
    doors = [EngineDoor(files, b"/s") for files in systems]
    assert Sequence(doors, b"file", random.Random(1), direct=direct).run(500) is None
    for files in systems:
        files.close()
