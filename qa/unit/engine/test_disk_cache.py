"""The directory of chunks, and everything that may happen to it."""

import errno
import fcntl
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgr_fscrypt.engine import DiskCache, RefusedError
from mgr_fscrypt.engine.disk_cache import LARGEST_CHUNK, SMALLEST_SIZE

NAME, OTHER = b"n" * 16, b"o" * 16
CHUNK = random.Random(1).randbytes(9000)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def cache(directory: Path) -> DiskCache:
    return DiskCache(directory, SMALLEST_SIZE)


def stored(directory: Path, name: bytes = NAME) -> Path:
    """The file of a chunk."""
    (found,) = directory.glob(f"sets-*/*/{name.hex()}")
    return found


def chunk_files(directory: Path) -> list[Path]:
    return [file for file in directory.rglob("*") if file.is_file()]


def on_disk(directory: Path) -> int:
    return sum(-(-file.stat().st_size // 4096) * 4096 for file in chunk_files(directory))


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# what it keeps


def test_a_chunk_comes_back_after_a_restart(cache: DiskCache, directory: Path):
    assert cache.get(NAME, 7) is None
    cache.put(NAME, 7, CHUNK)
    cache.put(OTHER, 7, memoryview(CHUNK)[:5])
    for again in (cache, DiskCache(directory, SMALLEST_SIZE)):
        assert again.get(NAME, 7) == CHUNK
        assert again.get(OTHER, 7) == CHUNK[:5]


@pytest.mark.parametrize("version", [0, 6, 8, 2**64 - 1])
def test_another_version_is_not_there_and_takes_its_place(cache: DiskCache, directory: Path, version: int):
    cache.put(NAME, 7, CHUNK)
    assert cache.get(NAME, version) is None
    cache.put(NAME, version, b"other")
    assert (cache.get(NAME, version), cache.get(NAME, 7)) == (b"other", None)
    assert len(chunk_files(directory)) == 1


def test_it_is_for_its_owner_alone(cache: DiskCache, directory: Path):
    cache.put(NAME, 7, CHUNK)
    for found in (directory, *directory.rglob("*")):
        assert found.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("size", [SMALLEST_SIZE, 9 << 20])
def test_it_never_grows_beyond_its_size(directory: Path, size: int):
    cache = DiskCache(directory, size)
    chance = random.Random(2)
    for number in range(2 * size // LARGEST_CHUNK):
        cache.put(chance.randbytes(16), number, bytes(chance.choice((1, LARGEST_CHUNK, LARGEST_CHUNK))))
        assert on_disk(directory) <= size
    assert on_disk(directory) > size // 2


def test_what_was_used_longest_ago_goes_first(cache: DiskCache):
    names = [b"%016d" % number for number in range(SMALLEST_SIZE // LARGEST_CHUNK - 1)]
    for name in names:
        cache.put(name, 1, bytes(LARGEST_CHUNK))
    assert cache.get(names[0], 1) is not None
    cache.put(NAME, 1, bytes(LARGEST_CHUNK))
    assert cache.get(names[0], 1) is not None
    assert cache.get(names[1], 1) is None
    assert cache.get(NAME, 1) is not None


def test_another_size_begins_anew(directory: Path):
    DiskCache(directory, 9 << 20).put(NAME, 7, CHUNK)
    foreign = directory / "letter.txt"
    foreign.write_text("not ours")
    assert DiskCache(directory, 64 << 20).get(NAME, 7) is None
    assert chunk_files(directory) == [foreign]


# what it refuses at the start


def test_too_small_is_refused(directory: Path):
    with pytest.raises(RefusedError, match="holds nothing"):
        DiskCache(directory, SMALLEST_SIZE - 1)
    assert not directory.exists()


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_directory_that_others_may_use_is_refused(directory: Path, mode: int):
    directory.mkdir()
    directory.chmod(mode)
    with pytest.raises(RefusedError, match="others may use") as refused:
        DiskCache(directory, SMALLEST_SIZE)
    assert refused.value.errno == errno.EACCES


def test_a_file_is_refused(directory: Path):
    directory.write_text("a file")
    with pytest.raises(RefusedError, match="no directory"):
        DiskCache(directory, SMALLEST_SIZE)


# what may happen to it


@settings(deadline=None)
@given(data=st.data())
def test_no_damage_is_believed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    directory = tmp_path_factory.mktemp("damage") / "cache"
    cache = DiskCache(directory, SMALLEST_SIZE)
    cache.put(NAME, 7, CHUNK[:100])
    file = stored(directory)
    whole = file.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = data.draw(
        st.one_of(
            st.integers(0, 7).map(lambda bit: whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]),
            st.just(whole[:at]),
            st.binary(min_size=1, max_size=50).map(lambda more: whole + more),
            st.binary(max_size=200),
            st.binary(min_size=1, max_size=50).map(lambda piece: whole[:at] + piece + whole[at:]),
        )
    )
    file.write_bytes(damaged)
    found = cache.get(NAME, 7)
    assert found is None or damaged == whole
    cache.put(NAME, 7, CHUNK)
    assert cache.get(NAME, 7) == CHUNK


def test_damage_is_told_once(cache: DiskCache, directory: Path, caplog: pytest.LogCaptureFixture):
    cache.put(NAME, 7, CHUNK)
    stored(directory).write_bytes(b"")
    for _ in range(3):
        assert cache.get(NAME, 7) is None
    (line,) = said(caplog)
    assert "damaged; reading from the cluster instead" in line


def test_the_chunk_of_another_name_or_version_is_not_believed(cache: DiskCache, directory: Path):
    cache.put(NAME, 7, CHUNK)
    cache.put(OTHER, 7, b"other")
    shutil.copy(stored(directory), stored(directory, OTHER))
    assert cache.get(OTHER, 7) is None
    file = stored(directory)
    raw = bytearray(file.read_bytes())
    raw[8] = 9
    file.write_bytes(raw)
    assert cache.get(NAME, 9) is None


def test_a_file_without_end_is_not_read_to_its_end(cache: DiskCache, directory: Path):
    cache.put(NAME, 7, CHUNK)
    os.truncate(stored(directory), 1 << 40)
    assert cache.get(NAME, 7) is None
    cache.put(OTHER, 7, CHUNK)
    assert cache.get(OTHER, 7) == CHUNK


def make_socket(path: Path) -> None:
    os.mknod(path, 0o140600)


@pytest.mark.parametrize(
    "kind", [Path.mkdir, os.mkfifo, make_socket, lambda path: path.symlink_to("/etc/hostname")]
)
@pytest.mark.parametrize("what", ["chunk", "coming"])
def test_something_else_in_a_place_of_ours(
    cache: DiskCache, directory: Path, kind: Callable[[Path], None], what: str
):
    cache.put(NAME, 7, CHUNK)
    place = stored(directory)
    if what == "chunk":
        place.unlink()
    else:
        place = place.with_name("coming")
    kind(place)
    assert cache.get(NAME, 7) == (None if what == "chunk" else CHUNK)
    cache.put(NAME, 8, b"new")
    assert cache.get(NAME, 8) in (b"new", None)
    assert Path("/etc/hostname").exists()


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("instead", [None, "a file"])
def test_deleted_under_us(
    cache: DiskCache, directory: Path, caplog: pytest.LogCaptureFixture, level: int, instead: str | None
):
    cache.put(NAME, 7, CHUNK)
    place = (directory, *stored(directory).parents[1::-1])[level]
    shutil.rmtree(place)
    if instead:
        place.write_text(instead)
    for number in range(3):
        cache.get(NAME, 7)
        cache.put(NAME, number, CHUNK)
    assert len(said(caplog)) == (0 if level == 2 and not instead else 1)


def test_files_that_are_not_ours_are_never_touched(cache: DiskCache, directory: Path, tmp_path: Path):
    cache.put(NAME, 7, CHUNK)
    folder, foreign = stored(directory).parent, tmp_path / "foreign"
    shutil.rmtree(folder)
    foreign.mkdir()
    (foreign / "coming").write_text("not ours")
    (foreign / "large").write_bytes(bytes(SMALLEST_SIZE))
    folder.symlink_to(foreign)
    cache.put(NAME, 7, CHUNK)
    assert sorted(path.name for path in foreign.iterdir()) == ["coming", "large"]


def test_what_cannot_be_removed_takes_its_room(
    cache: DiskCache, directory: Path, monkeypatch: pytest.MonkeyPatch
):
    unlink = os.unlink

    def refuse(name: str, *, dir_fd: int) -> None:
        if name != "coming":
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        unlink(name, dir_fd=dir_fd)

    cache.put(OTHER, 7, CHUNK)
    stored(directory, OTHER).with_name("large").write_bytes(bytes(SMALLEST_SIZE - 5 * 4096))
    monkeypatch.setattr("mgr_fscrypt.engine.disk_cache.os.unlink", refuse)
    cache.put(NAME, 7, CHUNK)
    assert cache.get(NAME, 7) is None
    assert on_disk(directory) <= SMALLEST_SIZE


def refusing(number: int) -> Callable[..., int]:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("call", ["write", "rename", "open", "utime", "unlink", "scandir", "mkdir"])
def test_a_disk_that_refuses(
    cache: DiskCache,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    call: str,
    number: int,
):
    cache.put(NAME, 7, CHUNK)
    with monkeypatch.context() as patch:
        patch.setattr(f"mgr_fscrypt.engine.disk_cache.os.{call}", refusing(number))
        for _ in range(3):
            assert cache.get(NAME, 7) in (None, CHUNK)
            cache.put(OTHER, 7, CHUNK)
    assert len(said(caplog)) <= 1
    assert cache.get(NAME, 7) == CHUNK
    cache.put(OTHER, 8, CHUNK)
    assert cache.get(OTHER, 8) == CHUNK
    assert on_disk(directory) <= SMALLEST_SIZE


def test_a_disk_that_takes_a_part(
    cache: DiskCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr("mgr_fscrypt.engine.disk_cache.os.write", lambda fd, data: write(fd, data[:100]))
        cache.put(NAME, 7, CHUNK)
    assert cache.get(NAME, 7) is None
    (line,) = said(caplog)
    assert "No space left" in line


# several processes

WRITER = """
import random, sys
from pathlib import Path
from mgr_fscrypt.engine import DiskCache
directory, seed, rounds = sys.argv[1:]
cache, chance = DiskCache(Path(directory), 3 << 20), random.Random(int(seed))
print("ready", flush=True)
for turn in range(int(rounds)):
    name, version = b"%016d" % chance.randrange(80), chance.randrange(3)
    content = random.Random(name + bytes([version])).randbytes(70000)
    found = cache.get(name, version)
    assert found is None or found == content
    cache.put(name, version, content)
"""


def start(directory: Path, seed: int, rounds: int) -> "subprocess.Popen[str]":
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory), str(seed), str(rounds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def test_one_process_at_a_time_puts_into_a_set(cache: DiskCache, directory: Path):
    cache.put(NAME, 7, CHUNK)
    taken = os.open(stored(directory).parent, os.O_RDONLY)
    try:
        fcntl.flock(taken, fcntl.LOCK_EX)
        cache.put(OTHER, 7, CHUNK)
        assert (cache.get(NAME, 7), cache.get(OTHER, 7)) == (CHUNK, None)
    finally:
        os.close(taken)
    cache.put(OTHER, 7, CHUNK)
    assert cache.get(OTHER, 7) == CHUNK


def test_several_processes_share_a_directory(directory: Path):
    children = [start(directory, seed, 200) for seed in range(2)]
    while any(child.poll() is None for child in children):
        sizes = []
        for file in chunk_files(directory):
            try:
                sizes.append(file.stat().st_size)
            except FileNotFoundError:
                continue
        assert sum(sizes) <= 3 << 20
    for child in children:
        _, trouble = child.communicate()
        assert (child.returncode, trouble) == (0, "")


def test_a_process_killed_in_the_middle(directory: Path):
    chance = random.Random(3)
    for seed in range(4):
        child = start(directory, seed, 10**6)
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(chance.uniform(0.01, 0.1))
        finally:
            child.send_signal(signal.SIGKILL)
            child.communicate()
    last = start(directory, 100, 200)
    _, trouble = last.communicate()
    assert (last.returncode, trouble) == (0, "")
    assert on_disk(directory) <= 3 << 20
