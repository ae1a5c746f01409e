"""The cache on disk beside other clients, on the real cluster: never older than what they flushed."""

import contextlib
import logging
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.engine import DiskCache, File, FileSystem, Keyring
from mgr_fscrypt.engine.cached_reads import CachedFiles
from mgr_fscrypt.engine.files import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE
from mgr_fscrypt.engine.inodes import read_facts
from mgr_fscrypt.format import MasterKey
from qa.fakes.engine_cases import SECRET
from qa.lab.cluster import Cluster
from qa.load.mounted import mounted
from qa.load.seeds import seed

KEY = MasterKey(SECRET)
CHUNK = 128 << 10
LARGEST = 3 * CHUNK
PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE


class Reader:
    """A client with a cache, and a count of what it reads from the cluster all the same."""

    def __init__(self, mount: CephMount, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        keyring = Keyring()
        keyring.add(KEY)
        self.fs = FileSystem(mount, keyring, durable_close=True, cache=DiskCache(directory, 256 << 20))
        self.asked = 0
        pread = mount.pread

        def counted(fd: int, length: int, offset: int) -> bytes:
            self.asked += 1
            return pread(fd, length, offset)

        monkeypatch.setattr(mount, "pread", counted)

    def read(self, path: str) -> bytes:
        with self.fs.open(path) as file:
            return whole(file)


def whole(file: File) -> bytes:
    return file.pread(LARGEST, 0)


@pytest.fixture
def reader(subtree: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    with connect(Access()) as mount:
        made = Reader(mount, tmp_path / "cache", monkeypatch)
        with made.fs:
            yield made


def test_what_was_read_once_is_read_from_the_disk(
    files: FileSystem, subtree: str, reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"plaintext " * 30_000
    with files.create(f"{subtree}/f") as file:
        file.pwrite(data, 0)
    assert reader.read(f"{subtree}/f") == data
    asked = reader.asked
    assert reader.read(f"{subtree}/f") == data
    assert reader.asked == asked
    with connect(Access()) as mount:
        again = Reader(mount, tmp_path / "cache", monkeypatch)
        with again.fs:
            assert again.read(f"{subtree}/f") == data
        assert again.asked == 0
    kept = b"".join(file.read_bytes() for file in (tmp_path / "cache").rglob("*") if file.is_file())
    assert len(kept) > len(data)
    assert b"plaintext" not in kept


def test_the_mds_is_not_asked_for_what_the_disk_has(
    files: FileSystem, subtree: str, reader: Reader, cluster: Cluster
) -> None:
    def requests() -> int:
        return int(cluster.ceph_json("tell", "mds.cephfs:0", "perf", "dump")["mds"]["request"])

    with files.create(f"{subtree}/f") as file:
        file.pwrite(os.urandom(LARGEST), 0)
    with reader.fs.open(f"{subtree}/f") as held:
        whole(held)
        before, asked = requests(), reader.asked
        for _ in range(300):
            whole(held)
        assert reader.asked == asked
        assert requests() - before < 30


def test_snapshots_are_read_from_the_cluster(
    files: FileSystem, subtree: str, reader: Reader, mount: CephMount, tmp_path: Path
) -> None:
    """They have the inode numbers of the files, and may have their versions."""
    path = f"{subtree}/f"
    with files.create(path) as file:
        file.pwrite(b"old", 0)
    top = subtree.encode() + b"/.snap"
    mount.mkdir(top + b"/one", 0o755)
    try:
        with files.open(path, os.O_RDWR) as file:
            file.pwrite(b"new", 0)
        (name,) = [entry.name for entry in mount.scandir(subtree.encode())]
        stored = top + b"/one/" + name
        assert reader.read(path) == b"new"
        facts = read_facts(mount, stored, path.encode())
        assert CachedFiles(mount, DiskCache(tmp_path / "other", 1 << 20)).source(stored, facts) is None
    finally:
        mount.rmdir(top + b"/one")


class Changes:
    """One client that changes a file at random, beside a model of it; each change is acknowledged when it returns."""

    def __init__(self, files: FileSystem, path: str, chance: random.Random) -> None:
        self._files = files
        self._path = path
        self._chance = chance
        self.model = b""
        self._file = files.create(path)
        self._file.close()
        self.replaced = 0

    def step(self) -> str:
        """Do one, by fsync or by close; what it was."""
        act = self._chance.choice((self._write, self._append, self._truncate, self._punch, self._replace))
        act()
        if self._chance.random() < 0.5:
            self._file.fsync()
            return f"{act.__name__}, fsync"
        self._file.close()
        return f"{act.__name__}, close"

    def close(self) -> None:
        self._file.close()

    def _open(self) -> File:
        if not self._file.is_open:
            self._file = self._files.open(self._path, os.O_RDWR)
        return self._file

    def _put(self, at: int) -> None:
        data = self._chance.randbytes(self._chance.randrange(1, CHUNK))[: LARGEST - at]
        self._open().pwrite(data, at)
        self.model = self.model[:at].ljust(at, b"\0") + data + self.model[at + len(data) :]

    def _write(self) -> None:
        self._put(self._chance.randrange(LARGEST))

    def _append(self) -> None:
        self._put(len(self.model))

    def _truncate(self) -> None:
        size = self._chance.randrange(LARGEST)
        self._open().truncate(size)
        self.model = self.model[:size].ljust(size, b"\0")

    def _punch(self) -> None:
        at, length = self._chance.randrange(LARGEST), self._chance.randrange(1, LARGEST)
        self._open().fallocate(PUNCH, at, length)
        end = min(at + length, len(self.model))
        if at < end:
            self.model = self.model[:at] + bytes(end - at) + self.model[end:]

    def _replace(self) -> None:
        self.model = self._chance.randbytes(self._chance.randrange(LARGEST))
        with self._files.create(self._path + ".new") as file:
            file.pwrite(self.model, 0)
        self._file.close()
        self._files.rename(self._path + ".new", self._path)
        self.replaced += 1
        self._open()


def test_a_reader_never_sees_old_bytes(files: FileSystem, subtree: str, reader: Reader) -> None:
    chosen, rounds, path = seed(), 60, f"{subtree}/f"
    chance = random.Random(chosen)
    writer = Changes(files, path, chance)
    reads = cached = 0
    held, replaced = reader.fs.open(path), 0
    for turn in range(rounds):
        done = writer.step()
        if writer.replaced != replaced:
            held.close()
            held, replaced = reader.fs.open(path), writer.replaced
        for _ in range(chance.randrange(1, 4)):
            before = reader.asked
            found = whole(held) if chance.random() < 0.5 else reader.read(path)
            assert found == writer.model, f"FSCRYPT_QA_SEED={chosen}: turn {turn}, {done}"
            reads += 1
            cached += bool(found) and reader.asked == before
    held.close()
    writer.close()
    print(
        f"sampled: {rounds} changes, {reads} reads beside them, {cached} from the cache alone, seed {chosen}"
    )
    assert cached > rounds // 20


STAMP = 8


def stamped(number: int) -> bytes:
    """A file that says a number everywhere."""
    return number.to_bytes(STAMP, "big") * (LARGEST // STAMP)


def stamps(data: bytes) -> set[int]:
    return {int.from_bytes(data[at : at + STAMP], "big") for at in range(0, len(data), 4096)}


def test_a_reader_beside_a_writer_never_goes_back(files: FileSystem, subtree: str, reader: Reader) -> None:
    path = f"{subtree}/f"
    with files.create(path) as file:
        file.pwrite(stamped(0), 0)
    acknowledged, seconds = 0, 4.0
    over = threading.Event()
    pause = random.Random(1).uniform

    def write() -> None:
        nonlocal acknowledged
        number = 0
        while not over.is_set():
            with files.open(path, os.O_RDWR) as file:
                for _ in range(2):
                    number += 1
                    file.pwrite(stamped(number), 0)
                    file.fsync()
                    acknowledged = number
            time.sleep(pause(0, 0.05))

    writing = threading.Thread(target=write)
    writing.start()
    reads = cached = newest = 0
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            least, before = max(acknowledged, newest), reader.asked
            found = stamps(reader.read(path))
            assert min(found) >= least
            newest = max(found)
            reads += 1
            cached += reader.asked == before
    finally:
        over.set()
        writing.join()
    assert stamps(reader.read(path)) == {acknowledged}
    print(f"sampled: {reads} reads beside {acknowledged} writes, {cached} from the cache alone")
    assert acknowledged > 5
    assert reads > 5


WRITER = """
import os, sys
from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.engine.inodes import read_facts
from mgr_fscrypt.format import MasterKey
keyring = Keyring(); keyring.add(MasterKey(bytes(range(64))))
path, first = sys.argv[1], int(sys.argv[2])
with connect(Access()) as mount, FileSystem(mount, keyring, durable_close=True) as files:
    for number in range(first, 1 << 30):
        file = files.open(path, os.O_RDWR)
        file.pwrite(number.to_bytes(8, "big") * (3 * (128 << 10) // 8), 0)
        file.close() if number % 2 else file.fsync()
        print(number, flush=True)
        file.close()
"""


def test_a_reader_after_a_killed_writer(files: FileSystem, subtree: str, reader: Reader) -> None:
    """What it had flushed is there; what it had not may be, in whole blocks."""
    path, number, kills, chance = f"{subtree}/f", 0, 2, random.Random(2)
    with files.create(path) as file:
        file.pwrite(stamped(0), 0)
    for _ in range(kills):
        assert stamps(reader.read(path)) >= {number}
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, path, str(number + 1)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        try:
            for _ in range(chance.randrange(3, 9)):
                number = int(child.stdout.readline())
                assert min(stamps(reader.read(path))) >= number
            time.sleep(chance.uniform(0, 0.02))
        finally:
            child.kill()
            said = child.communicate()[0].split()
        number = int(said[-1]) if said else number
        for _ in range(3):
            found = stamps(reader.read(path))
            assert min(found) >= number
            assert max(found) <= number + 1
        number = max(found)
        with files.open(path, os.O_RDWR) as file:
            number += 1
            file.pwrite(stamped(number), 0)
        assert stamps(reader.read(path)) == stamps(reader.read(path)) == {number}
    print(f"sampled: {kills} kills")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 512 KiB."""
    made = tmp_path / "disk"
    made.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k,mode=700", "cache", made], check=True)
    yield made
    subprocess.run(["umount", "-l", made], check=True)


def fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


TROUBLES: dict[str, Callable[[Path], object]] = {
    "full": lambda disk: fill(disk / "ballast"),
    "read-only": lambda disk: subprocess.run(["mount", "-o", "remount,ro", disk], check=True),
    "gone": lambda disk: subprocess.run(["umount", "-l", disk], check=True),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_reading_goes_on_whatever_happens_to_the_disk(
    files: FileSystem,
    subtree: str,
    mount: CephMount,
    small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    trouble: str,
) -> None:
    contents = {f"{subtree}/{number}": os.urandom(2 * CHUNK) for number in range(4)}
    for path, data in contents.items():
        with files.create(path) as file:
            file.pwrite(data, 0)
    with connect(Access()) as other:
        reader = Reader(other, small_disk, monkeypatch)
        with reader.fs:
            assert reader.read(f"{subtree}/0") == contents[f"{subtree}/0"]
            try:
                TROUBLES[trouble](small_disk)
                for path, data in contents.items():
                    assert reader.read(path) == reader.read(path) == data
            finally:
                if trouble == "gone":
                    subprocess.run(["mount", "-t", "tmpfs", "again", small_disk], check=True)
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) == 1
    assert "reading from the cluster instead" in told[0].getMessage()


def test_a_mount_with_a_cache(files: FileSystem, subtree: str, key: Path, tmp_path: Path) -> None:
    data, place, cache = os.urandom(2 * CHUNK), tmp_path / "mount", tmp_path / "cache"
    place.mkdir()
    with files.create(f"{subtree}/f") as file:
        file.pwrite(data, 0)
    for _ in range(2):
        with mounted(subtree, place, key, "--cache", cache, "--cache-size", "64M"):
            assert (place / "f").read_bytes() == data
            kept = [file for file in cache.rglob("*") if file.is_file()]
            assert len(kept) == 2
            (place / "f").write_bytes(data[::-1])
            data = data[::-1]
            assert (place / "f").read_bytes() == data
