"""Several engine clients at once, each a process of its own, on the real cluster."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.format import MasterKey
from qa.fakes.engine_cases import SECRET, remove
from qa.load.promptness import prompt

PATH = b"/clients"
KEY = MasterKey(SECRET)

PRELUDE = """
import os, sys, time
from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.engine import FileSystem, Keyring
from qa.load.promptness import prompt
from mgr_fscrypt.format import MasterKey
keyring = Keyring(); keyring.add(MasterKey(bytes(range(64))))
path = "/clients/f"
with connect(Access()) as mount:
    fs = FileSystem(mount, keyring, durable_close=True)
"""

TURNS = """
    def turn():
        print("ready", flush=True)
        sys.stdin.readline()
"""


@pytest.fixture
def fs(mount: CephMount) -> Iterator[FileSystem]:
    keyring = Keyring()
    keyring.add(KEY)
    mount.mkdir(PATH, 0o755)
    with FileSystem(mount, keyring, durable_close=True) as made:
        made.create_subtree(PATH, KEY.identifier)
        yield made
    remove(mount, PATH)


class Client:
    """A process that says `ready` and waits, at each turn."""

    def __init__(self, body: str) -> None:
        lines = "".join(f"    {line}\n" for line in body.splitlines())
        self._child = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + TURNS + lines],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> None:
        assert self._child.stdout is not None
        assert self._child.stdout.readline() == "ready\n"

    def go(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write("\n")
        self._child.stdin.flush()

    def end(self) -> str:
        out, _ = self._child.communicate(timeout=60)
        assert self._child.returncode == 0
        return str(out)

    def killed(self) -> None:
        """It killed itself."""
        self._child.communicate(timeout=60)
        assert self._child.returncode == -signal.SIGKILL

    def kill(self) -> None:
        self._child.kill()
        self._child.communicate()


def test_a_reader_sees_what_a_writer_closed_and_fsynced(fs: FileSystem) -> None:
    writer = Client(
        "f = fs.create(path); f.pwrite(b'one' * 3000, 0); f.close(); turn()\n"
        "f = fs.open(path, os.O_RDWR); f.pwrite(b'two', 8999); f.fsync(); turn()\n"
        "f.truncate(5); turn()\n"
        "f.close()\n"
    )
    writer.ready()
    with fs.open(PATH + b"/f") as reader:
        assert reader.pread(99999, 0) == b"one" * 3000
        writer.go()
        writer.ready()
        assert reader.pread(99999, 0) == b"one" * 2999 + b"on" + b"two"
        writer.go()
        writer.ready()
        assert reader.pread(99999, 0) == b"oneon"
        assert fs.stat(PATH + b"/f").size == 5
        writer.go()
        writer.end()


def test_writers_take_turns(fs: FileSystem) -> None:
    with fs.create(PATH + b"/f") as file:
        file.pwrite(bytes(400), 0)
    busy = Client(
        "f = fs.open(path, os.O_RDWR); turn()\n"
        "for n in range(200):\n"
        "    f.pwrite(b'y', n); time.sleep(0.005)\n"
        "f.close()\n"
    )
    busy.ready()
    busy.go()
    with fs.open(PATH + b"/f", os.O_RDWR) as file:
        for n in range(200, 400):
            file.pwrite(b"z", n)
    busy.end()
    with fs.open(PATH + b"/f") as file:
        assert file.pread(999, 0) == b"y" * 200 + b"z" * 200


def test_appends_of_several_clients_lose_nothing(fs: FileSystem) -> None:
    with fs.create(PATH + b"/f") as file:
        file.pwrite(b"", 0)
    body = (
        "turn()\nfor n in range(10):\n"
        "    with fs.open(path, os.O_WRONLY | os.O_APPEND) as f: f.pwrite(b'%s', 0)\n"
    )
    clients = [Client(body % (letter * 700)) for letter in "abc"]
    for client in clients:
        client.ready()
    for client in clients:
        client.go()
    for client in clients:
        client.end()
    with fs.open(PATH + b"/f") as file:
        data = file.pread(file.size, 0)
    assert len(data) == 3 * 10 * 700
    parts = [data[at : at + 700] for at in range(0, len(data), 700)]
    assert sorted(parts) == sorted(letter.encode() * 700 for letter in "abc" for _ in range(10))


def test_an_idle_writer_lets_others_write_and_tells_them_first(fs: FileSystem) -> None:
    with fs.create(PATH + b"/f") as file:
        file.pwrite(b"x", 0)
    idle = Client(
        "f = fs.open(path, os.O_RDWR); f.pwrite(b'y' * 5000, 0); turn()\nassert f.pread(9, 4999) == b'yz'\nf.close()\n"
    )
    idle.ready()
    begun = time.monotonic()
    with fs.open(PATH + b"/f", os.O_RDWR | os.O_APPEND) as file:
        file.pwrite(b"z", 0)
        prompt(time.monotonic() - begun, 2)
        assert file.pread(9999, 0) == b"y" * 5000 + b"z"
    idle.go()
    idle.end()


def test_a_writer_whose_lease_was_not_kept_reads_again(fs: FileSystem) -> None:
    with fs.create(PATH + b"/f") as file:
        file.pwrite(b"0123456789", 0)
    idle = Client(
        "mount._keeper.end(); fs._sharing.end()\n"
        "f = fs.open(path, os.O_RDWR); f.pwrite(b'A', 0); turn()\nf.pwrite(b'B', f.size); f.close()\n"
    )
    idle.ready()
    with fs.open(PATH + b"/f", os.O_RDWR) as file:
        file.truncate(5)
        file.pwrite(b"cc", 5)
    idle.go()
    idle.end()
    with fs.open(PATH + b"/f") as file:
        assert file.pread(99, 0) == b"A1234ccB"


def test_a_writer_that_lost_its_lease_hears_what_was_lost(fs: FileSystem) -> None:
    with fs.create(PATH + b"/f") as file:
        file.pwrite(b"0123456789", 0)
    away = Client(
        "mount._keeper.end(); fs._sharing.end()\n"
        "f = fs.open(path, os.O_RDWR); f.pwrite(b'A' * 5000, 8); turn()\n"
        "try: f.fsync()\nexcept OSError as error: print('heard', error.errno)\n"
        "f.pwrite(b'B', f.size); f.close()\n"
    )
    away.ready()
    with fs.open(PATH + b"/f", os.O_RDWR | os.O_APPEND) as file:
        file.pwrite(b"c", 0)
    away.go()
    assert away.end() == f"heard {errno.EIO}\n"
    with fs.open(PATH + b"/f") as file:
        assert file.pread(9999, 0) == b"01234567AAcB"


def test_races_to_make_one_name(fs: FileSystem) -> None:
    body = (
        "turn()\nwon = 0\n"
        "for n in range(20):\n"
        "    try:\n"
        "        with fs.create('/clients/n%d' % n) as f: f.pwrite(b'%s' * 5000, 0)\n"
        "        won += 1\n"
        "    except FileExistsError: pass\n"
        "print('won', won)\n"
    )
    clients = [Client(body.replace("'%s'", f"'{letter}'")) for letter in "ab"]
    for client in clients:
        client.ready()
    for client in clients:
        client.go()
    won = [int(client.end().split()[-1]) for client in clients]
    assert sum(won) == 20
    for n in range(20):
        with fs.open(PATH + b"/n%d" % n) as file:
            assert file.pread(file.size, 0) in (b"a" * 5000, b"b" * 5000)


def test_a_killed_writer_is_outlived_once_it_is_evicted(fs: FileSystem, mount: CephMount) -> None:
    """What it had fsynced is there; the lease goes by itself, the session by eviction (doc/facts.md F14)."""
    with fs.create(PATH + b"/f") as file:
        file.pwrite(b"x" * 100, 0)
    writer = Client("f = fs.open(path, os.O_RDWR); f.pwrite(b'y' * 5000, 50); f.fsync(); turn()\n")
    writer.ready()
    writer.kill()
    for session in mount.sessions():
        if not session.manager:
            mount.evict(session)
    begun = time.monotonic()
    with fs.open(PATH + b"/f", os.O_RDWR) as file:
        assert file.pread(9999, 0) == b"x" * 50 + b"y" * 5000
        file.pwrite(b"z", 0)
    prompt(time.monotonic() - begun, 10)


def test_what_was_acknowledged_outlives_a_kill_at_once(fs: FileSystem, mount: CephMount) -> None:
    """Sizes, modes and attributes reach the MDS without the data (doc/spikes.md, 1), or stay behind with it."""
    for name in (b"/within", b"/beyond", b"/truncated"):
        with fs.create(PATH + name) as file:
            file.pwrite(b"x" * 100, 0)
    writer = Client(
        "fs.mkdir('/clients/d', 0o750)\n"
        "synced = fs.create('/clients/d/synced'); synced.pwrite(b'b' * 9000, 0); synced.fsync()\n"
        "grown = []\n"
        "for name, size in (('within', 3000), ('beyond', 9000)):\n"
        "    grown.append(fs.open('/clients/' + name, os.O_RDWR)); grown[-1].pwrite(b'y' * size, 100)\n"
        "grown.append(fs.open('/clients/truncated', os.O_RDWR)); grown[-1].truncate(9000)\n"
        "with fs.create('/clients/closed', 0o640) as f: f.pwrite(b'a' * 9000, 0)\n"
        "fs.symlink('target', '/clients/l'); fs.mkdir('/clients/last', 0o750)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    writer.killed()
    for session in mount.sessions():
        if not session.manager:
            mount.evict(session)
    for name, data in (
        (b"/closed", b"a" * 9000),
        (b"/d/synced", b"b" * 9000),
    ):
        with fs.open(PATH + name) as file:
            assert file.pread(99999, 0) == data, name
    for name, added in ((b"/within", b"y" * 3000), (b"/beyond", b"y" * 9000), (b"/truncated", bytes(8900))):
        with fs.open(PATH + name) as file:
            assert file.pread(99999, 0) in (b"x" * 100, b"x" * 100 + added), name
    for name in (b"/d", b"/last"):
        assert fs.stat(PATH + name).permissions == 0o750
    fs.create(PATH + b"/last/f").close()
    assert fs.readlink(PATH + b"/l") == b"target"
