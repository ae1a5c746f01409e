"""A child that libcephfs aborts, or that is killed, costs a mount a retry and not its life (doc/facts.md F4, F5)."""

import os
import random
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect, connect_guarded
from mgr_fscrypt.ceph.errors import SessionLostError
from mgr_fscrypt.ceph.guard import mount as guarded
from mgr_fscrypt.ceph.interface import Kind
from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.engine import FileMode, FileSystem
from mgr_fscrypt.format import MasterKey
from qa.facts.client import Clients
from qa.fakes.engine_cases import SECRET, remove
from qa.lab.cluster import Cluster
from qa.load import seeds
from qa.load.mounted import mounted, runs
from qa.load.promptness import prompt

LONGEST_PAUSE = 5.0
"""Seconds that a call may take in which the child dies."""
KILLS = 8
FILES, SIZE, PIECE = 4, (3 << 20) + 123, 128 << 10
BLOCK = 4096


@pytest.fixture
def subtree(files: FileSystem) -> Iterator[str]:
    """In kernel mode."""
    path = f"/kernel-{uuid.uuid4().hex[:8]}"
    files.mkdir(path)
    files.create_subtree(path, MasterKey(SECRET).identifier, mode=FileMode.KERNEL)
    yield path
    with connect(Access()) as other:
        remove(other, path.encode())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "mount"
    made.mkdir()
    return made


def child_of(process: int) -> int:
    """The one process that it started."""
    (child,) = (
        int(each.name)
        for each in Path("/proc").iterdir()
        if each.name.isdigit() and parent_of(each) == process and runs(int(each.name))
    )
    return child


def parent_of(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def wait_for_child(process: int, other: int) -> int:
    """The one that comes after `other`."""
    give_up = time.monotonic() + LONGEST_PAUSE
    while True:
        try:
            if (child := child_of(process)) != other:
                return child
        except ValueError:
            pass  # none yet
        assert time.monotonic() < give_up
        time.sleep(0.01)


def made(files: FileSystem, subtree: str, name: str, data: bytes) -> None:
    with files.create(f"{subtree}/{name}") as file:
        file.pwrite(data, 0)


class Readers:
    """Threads that read a mounted directory, and know what it holds."""

    def __init__(self, place: Path, contents: dict[str, bytes], seed: int) -> None:
        self.wrong: list[object] = []
        self.rounds = 0
        self.slowest = 0.0
        self._place = place
        self._contents = contents
        self._enough = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(seed + number),)) for number in range(3)
        ]
        for thread in self._threads:
            thread.start()

    def wait_for_round(self) -> None:
        """Until one more round was read."""
        before = self.rounds
        give_up = time.monotonic() + 60
        while self.rounds == before:
            assert time.monotonic() < give_up
            time.sleep(0.01)

    def end(self) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join()

    def _run(self, chance: random.Random) -> None:
        while not self._enough.is_set():
            try:
                self._look(chance, chance.choice(list(self._contents)))
            except OSError as error:
                self.wrong.append(error)

    def _look(self, chance: random.Random, name: str) -> None:
        data = self._contents[name]
        offset = chance.randrange(len(data))
        file = self._timed(os.open, self._place / name, os.O_RDONLY)
        found = self._timed(os.pread, file, PIECE, offset)
        # again, from a descriptor that may have outlived a child
        first = self._timed(os.pread, file, BLOCK, 0)
        os.close(file)
        listed = set(self._timed(os.listdir, self._place))
        size = self._timed(os.stat, self._place / name).st_size
        target = self._timed(os.readlink, self._place / "link")
        if (found, first) != (data[offset : offset + PIECE], data[:BLOCK]):
            self.wrong.append(f"{name}: bytes at {offset}")
        if (listed, size, target) != ({*self._contents, "link"}, len(data), "f0"):
            self.wrong.append((listed, size, target))
        self.rounds += 1

    def _timed(self, act: Callable[..., Any], *arguments: object) -> Any:
        begun = time.monotonic()
        try:
            return act(*arguments)
        finally:
            self.slowest = max(self.slowest, time.monotonic() - begun)


def test_readers_outlive_children_that_are_killed(
    files: FileSystem, subtree: str, place: Path, key: Path
) -> None:
    seed = seeds.seed()
    chance = random.Random(seed)
    contents = {f"f{number}": chance.randbytes(SIZE) for number in range(FILES)}
    for name, data in contents.items():
        made(files, subtree, name, data)
    files.symlink("f0", f"{subtree}/link")
    with mounted(subtree, place, key) as process:
        readers = Readers(place, contents, seed)
        child = 0
        for _ in range(KILLS):
            child = wait_for_child(process, child)
            # what is measured is the pause of one death, however slow the machine is
            readers.wait_for_round()
            time.sleep(chance.uniform(0, 0.3))
            os.kill(child, signal.SIGKILL)
        wait_for_child(process, child)
        readers.end()
    print(
        f"sampled: {KILLS} kills of a mount's child under {readers.rounds} rounds of reading, "
        f"slowest call {readers.slowest:.2f} s, seed {seed}"
    )
    assert readers.wrong == []
    prompt(readers.slowest, LONGEST_PAUSE)


@pytest.mark.parametrize(("act", "left"), [("truncate", BLOCK), ("O_TRUNC", 0)])
def test_a_mount_outlives_the_truncate_of_a_file_that_it_has_open(
    files: FileSystem,
    mount: CephMount,
    subtree: str,
    place: Path,
    key: Path,
    cluster: Cluster,
    tmp_path: Path,
    act: str,
    left: int,
) -> None:
    """F4 as it happens: the client that truncates is aborted, too, and is evicted by whoever supervises it."""
    data = os.urandom(3 * BLOCK + 5)
    made(files, subtree, "f", data)
    made(files, subtree, "other", data)
    stored = {entry.ino: entry.name for entry in mount.scandir(subtree.encode())}
    path = f"{subtree}/{stored[files.stat(f'{subtree}/f').ino].decode()}"
    # a mount that knows the files would be aborted as well
    mount.renew()
    log = tmp_path / "log"
    with mounted(subtree, place, key, "--log", log) as process, (place / "f").open("rb", buffering=0) as file:
        assert file.read(BLOCK) == data[:BLOCK]
        child = child_of(process)
        with Clients(cluster) as clients:
            truncater = clients.open()
            if act == "truncate":
                truncater.ask("truncate", path, left)
            else:
                truncater.ask("open", path, os.O_RDWR | os.O_TRUNC)
            assert truncater.last_words().signal == signal.SIGABRT
            truncater.evict()
        begun = time.monotonic()
        assert os.fstat(file.fileno()).st_size == left
        assert os.pread(file.fileno(), len(data), 0) == data[:left]
        took = time.monotonic() - begun
        assert (place / "f").read_bytes() == data[:left]
        assert (place / "other").read_bytes() == data
        assert wait_for_child(process, child) != child
        assert runs(process)
    print(f"sampled: a mount whose child was aborted by {act} answered after {took:.2f} s")
    prompt(took, LONGEST_PAUSE)
    said = log.read_text()
    assert "stoll" in said
    assert "died by SIGABRT" in said
    assert str(subtree) not in said


def test_a_child_ends_with_its_parent(files: FileSystem, subtree: str, place: Path, key: Path) -> None:
    made(files, subtree, "f", b"x")
    with mounted(subtree, place, key) as process:
        assert (place / "f").read_bytes() == b"x"
        child = child_of(process)
        assert os.getsid(child) == child
        os.kill(process, signal.SIGKILL)
        begun = time.monotonic()
        while runs(child):
            prompt(time.monotonic() - begun, 1)
            time.sleep(0.01)
        subprocess.run(["umount", place], check=True)


def test_a_listing_goes_on_where_the_child_died(mount: CephMount, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"/listed-{uuid.uuid4().hex[:8]}".encode()
    mount.mkdir(path, 0o755)
    names = [b"%d" % number for number in range(500)]
    for name in names:
        mount.mkdir(path + b"/" + name, 0o755)
    monkeypatch.setattr(guarded, "_PAGE", 100)
    with connect_guarded(Access()) as through:
        found = []
        for number, entry in enumerate(through.scandir(path)):
            assert entry.kind is Kind.DIRECTORY
            found.append(entry.name)
            if number in (0, 99, 250):
                os.kill(through.process, signal.SIGKILL)
        assert sorted(found) == sorted(names)
        monkeypatch.undo()
        assert [entry.name for entry in through.scandir(path)] == found
    remove(mount, path)


def test_an_evicted_child_is_not_replaced(mount: CephMount, subtree: str) -> None:
    """Who was evicted stays out: it may be fenced."""
    with connect_guarded(Access()) as through:
        through.stat(subtree.encode())
        (session,) = (each for each in mount.sessions() if each.metadata.get("pid") == str(through.process))
        child = through.process
        mount.evict(session)
        for _ in range(2):
            with pytest.raises(SessionLostError, match="Mount again"):
                through.mkdir(subtree.encode() + b"/x", 0o755)
        assert through.process == child


def test_a_lease_outlives_a_child(mount: CephMount) -> None:
    """It is librados's, which stays with the parent."""
    with connect_guarded(Access()) as through, through.lease(0xABCDEF) as lease:
        lease.acquire(1)
        os.kill(through.process, signal.SIGKILL)
        through.stat(b"/")
        time.sleep(3.5)  # longer than it lasts without being renewed
        lease.renew()
        with mount.lease(0xABCDEF) as other, pytest.raises(OSError, match="another client"):
            other.acquire(0)
