"""Reading by way of the cache on disk, on the fake cluster: never other bytes, never plaintext, fewer calls."""

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgr_fscrypt.engine import DiskCache, FileMode, FileSystem, Keyring
from mgr_fscrypt.engine.cached_reads import CachedFiles
from mgr_fscrypt.engine.files import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE
from mgr_fscrypt.engine.inodes import read_facts
from mgr_fscrypt.format import MasterKey
from qa.fakes.ceph import FakeCluster, FakeMount, Inode
from qa.fakes.engine_cases import SECRET

KEY = MasterKey(SECRET)
CHUNK = 128 << 10
PATH = b"/s/f"


class CountedMount(FakeMount):
    """One that notes what is read from it, and lets something happen in between."""

    def __init__(self, cluster: FakeCluster) -> None:
        super().__init__(cluster)
        self.reads: list[tuple[int, int]] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        self.reads.append((offset, length))
        happens, self.meanwhile = self.meanwhile, lambda: None
        happens()
        return super().pread(fd, length, offset)


@dataclass
class Stage:
    """A writer, and a reader with a cache."""

    directory: Path
    cluster: FakeCluster = field(default_factory=FakeCluster)

    def __post_init__(self) -> None:
        self.writer = FileSystem(FakeMount(self.cluster), keyring(), durable_close=True)
        self.mount = CountedMount(self.cluster)
        self.reader = self.client(self.mount)
        self.writer.mkdir("/s")
        self.writer.create_subtree("/s", KEY.identifier)

    def client(self, mount: FakeMount) -> FileSystem:
        return FileSystem(mount, keyring(), cache=DiskCache(self.directory, 64 << 20))

    def write(self, data: bytes, path: bytes = PATH) -> None:
        with self.writer.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC) as file:
            file.pwrite(data, 0)

    def inode(self) -> Inode:
        """The newest file at `PATH`."""
        return max(self.cluster.root.names[b"s"].names.values(), key=lambda inode: inode.ino)

    def kept(self) -> list[Path]:
        return [file for file in self.directory.rglob("*") if file.is_file()]

    def read(self, path: bytes = PATH) -> bytes:
        with self.reader.open(path) as file:
            return file.pread(file.size, 0)


def keyring() -> Keyring:
    made = Keyring()
    made.add(KEY)
    return made


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path / "cache")


def text(length: int) -> bytes:
    return b"".join(b"line %09d of the letter\n" % number for number in range(length // 27 + 1))[:length]


def test_the_second_time_nothing_is_asked_of_the_cluster(stage: Stage):
    data = text(3 * CHUNK + 5000)
    stage.write(data)
    assert stage.read() == data
    assert stage.mount.reads == [(0, 3 * CHUNK + 8192)]
    assert stage.read() == data
    again = CountedMount(stage.cluster)
    with stage.client(again).open(PATH) as file:
        assert file.pread(len(data), 0) == data
    assert (len(stage.mount.reads), again.reads) == (1, [])


def test_only_what_is_missing_is_asked_for(stage: Stage):
    data = text(6 * CHUNK)
    stage.write(data)
    with stage.reader.open(PATH) as file:
        assert file.pread(10, 2 * CHUNK - 5) == data[2 * CHUNK - 5 : 2 * CHUNK + 5]
        assert file.pread(4 * CHUNK, CHUNK // 2) == data[CHUNK // 2 : 4 * CHUNK + CHUNK // 2]
    assert stage.mount.reads == [(CHUNK, 2 * CHUNK), (0, CHUNK), (3 * CHUNK, 2 * CHUNK)]


def test_only_ciphertext_is_on_the_disk(stage: Stage):
    data = text(2 * CHUNK + 100)
    stage.write(data)
    assert stage.read() == data
    kept = b"".join(file.read_bytes() for file in stage.kept())
    assert len(kept) > 2 * CHUNK
    assert b"letter" not in kept
    assert SECRET[:16] not in kept
    ciphertext = bytes(stage.inode().data)
    assert all(ciphertext[at : at + CHUNK] in kept for at in range(0, len(ciphertext), CHUNK))


CHANGES: dict[str, Callable[[FileSystem], object]] = {
    "write": lambda fs: change(fs, lambda file: file.pwrite(b"new", CHUNK + 7)),
    "append": lambda fs: change(fs, lambda file: file.pwrite(b"new", file.size)),
    "truncate": lambda fs: change(fs, lambda file: file.truncate(CHUNK + 9)),
    "truncate and grow": lambda fs: change(fs, lambda file: (file.truncate(9), file.truncate(3 * CHUNK))),
    "punch": lambda fs: change(
        fs, lambda file: file.fallocate(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 100, 2 * CHUNK)
    ),
    "rename over": lambda fs: replace(fs, b"another\n" * CHUNK),
}


def change(fs: FileSystem, act: Callable[..., object]) -> None:
    with fs.open(PATH, os.O_RDWR) as file:
        act(file)


def replace(fs: FileSystem, data: bytes) -> None:
    with fs.create(PATH + b".new") as file:
        file.pwrite(data, 0)
    fs.rename(PATH + b".new", PATH)


@pytest.mark.parametrize("ours", [False, True])
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_seen_whoever_made_it(stage: Stage, name: str, *, ours: bool):
    stage.write(text(3 * CHUNK + 5000))
    before = stage.read()
    CHANGES[name](stage.reader if ours else stage.writer)
    with stage.writer.open(PATH) as file:
        after = file.pread(file.size, 0)
    assert after != before
    assert stage.read() == after
    assert stage.read() == after


def test_what_changes_while_it_is_read_is_not_mixed(stage: Stage):
    stage.write(text(2 * CHUNK))
    with stage.reader.open(PATH) as file:
        file.pread(10, 0)
        stage.mount.meanwhile = lambda: change(stage.writer, lambda other: other.pwrite(b"x" * 2 * CHUNK, 0))
        assert file.pread(2 * CHUNK, 0) == b"x" * 2 * CHUNK
    assert stage.read() == b"x" * 2 * CHUNK


def test_an_open_file_whose_name_went_to_another_is_read_on(stage: Stage):
    data = text(2 * CHUNK)
    stage.write(data)
    with stage.reader.open(PATH) as file:
        assert file.pread(100, 0) == data[:100]
        replace(stage.writer, b"another\n" * CHUNK)
        assert file.pread(2 * CHUNK, 0) == data
        stage.writer.unlink(PATH)
        assert file.pread(2 * CHUNK, 0) == data
    assert len(stage.mount.reads) == 3


def test_nothing_is_kept_under_the_version_of_another_file(stage: Stage):
    stage.write(text(CHUNK))
    stage.writer.link(PATH, PATH + b".other")
    with stage.reader.open(PATH) as file:
        old = stage.inode()
        replace(stage.writer, b"another\n" * CHUNK)
        stage.inode().version = old.version + 100
        assert file.pread(CHUNK, 0) == text(CHUNK)
    with stage.writer.open(PATH + b".other", os.O_RDWR) as file:
        file.pwrite(b"x" * CHUNK, 0)
    old.version = stage.inode().version
    assert stage.read(PATH + b".other") == b"x" * CHUNK


def test_a_size_that_moved_without_a_version_shifts_nothing(stage: Stage):
    """As when the MDS finds the size that a writer left who died."""
    stage.write(text(CHUNK + 4096))
    (name,) = stage.cluster.root.names[b"s"].names
    stored = b"/s/" + name
    facts = read_facts(stage.mount, stored, PATH)
    source = CachedFiles(stage.mount, DiskCache(stage.directory, 64 << 20)).source(stored, facts)
    assert source is not None
    fd = stage.mount.open(stored, os.O_RDONLY)
    for _ in range(2):
        assert source.pread(fd, 4 * CHUNK, 5) == stage.inode().data[5:]
        stage.inode().data.extend(b"x" * CHUNK)


def test_who_writes_here_does_without(stage: Stage):
    data = text(CHUNK)
    stage.write(data)
    with stage.reader.open(PATH, os.O_RDWR) as file:
        assert file.pread(CHUNK, 0) == data
    assert not stage.kept()
    with stage.reader.open(PATH) as file, stage.reader.open(PATH, os.O_RDWR) as writing:
        writing.pwrite(b"x", 0)
        assert file.pread(CHUNK, 0) == b"x" + data[1:]
    assert not stage.kept()


def test_nothing_is_asked_or_kept_while_another_client_writes(stage: Stage):
    data = text(CHUNK)
    stage.write(data)
    with stage.writer.open(PATH, os.O_RDWR) as file:
        for number in range(3):
            file.pwrite(b"%d" % number, 0)
            file.fsync()
            assert stage.read() == b"%d" % number + data[1:]
    assert not stage.kept()
    assert stage.read() == stage.read() == b"2" + data[1:]
    assert len(stage.mount.reads) == 4


def test_holes_stay_holes(stage: Stage):
    with stage.writer.create(PATH) as file:
        file.pwrite(b"head", 0)
        file.truncate(3 * CHUNK)
        file.pwrite(b"tail", 2 * CHUNK + 4096)
    expected = b"head".ljust(2 * CHUNK + 4096, b"\0") + b"tail".ljust(CHUNK - 4096, b"\0")
    for _ in range(2):
        assert stage.read() == expected
        with stage.reader.open(PATH) as reading:
            assert reading.seek(0, os.SEEK_HOLE) == 4096
            assert reading.seek(4096, os.SEEK_DATA) == 2 * CHUNK + 4096
    assert len(stage.mount.reads) == 1


def test_files_in_kernel_mode_are_not_kept(stage: Stage):
    stage.writer.mkdir("/k")
    stage.writer.create_subtree("/k", KEY.identifier, mode=FileMode.KERNEL)
    stage.write(b"data", b"/k/f")
    for number in (1, 2):
        assert stage.read(b"/k/f") == b"data"
        assert len(stage.mount.reads) == number


def test_file_systems_never_mix(stage: Stage):
    """Not even a copy, which has the same inode numbers, contexts and versions."""
    stage.write(text(CHUNK))
    stage.writer.sync()
    other = copy.deepcopy(stage.cluster)
    other.identity = "a copy/1"
    change(FileSystem(FakeMount(other), keyring()), lambda file: file.pwrite(b"a", 0))
    change(stage.writer, lambda file: file.pwrite(b"b", 0))
    for _ in range(2):
        assert stage.read()[:1] == b"b"
        with stage.client(FakeMount(other)).open(PATH) as file:
            assert file.pread(1, 0) == b"a"
    assert len(stage.mount.reads) == 1


def test_an_inode_number_that_comes_back_is_of_another_file(stage: Stage):
    data = text(CHUNK)
    stage.write(data)
    assert stage.read() == data
    stage.writer.unlink(PATH)
    stage.cluster.newest -= 1
    stage.write(b"x" * CHUNK)
    assert stage.read() == b"x" * CHUNK


@settings(deadline=None, max_examples=40)
@given(
    size=st.integers(0, 3 * CHUNK),
    ranges=st.lists(st.tuples(st.integers(0, 3 * CHUNK), st.integers(0, 2 * CHUNK)), max_size=6),
)
def test_any_range_is_what_it_is_without_a_cache(
    tmp_path_factory: pytest.TempPathFactory, size: int, ranges: list[tuple[int, int]]
):
    stage = Stage(tmp_path_factory.mktemp("ranges") / "cache")
    data = text(size)
    stage.write(data)
    for _ in range(2):
        with stage.reader.open(PATH) as file:
            for offset, length in ranges:
                assert file.pread(length, offset) == data[offset : offset + length]
