"""Clients that die or sleep with files open hold others up for less than five seconds (doc/engine-xattr.md, Leases)."""

import errno
import fcntl
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.cluster import Cluster as Rados
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.errors import WouldBlockError
from mgr_fscrypt.ceph.interface import RangeLock
from mgr_fscrypt.ceph.leases import NAMESPACE
from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.ceph.presence import Registry
from mgr_fscrypt.engine import File, FileSystem, Keyring
from mgr_fscrypt.format import MasterKey
from qa.fakes.engine_cases import SECRET, remove
from qa.lab.cluster import Cluster
from qa.load.promptness import prompt

HELD_UP = 5.0
POOL = "cephfs_data"

LOCKER = """
import fcntl, sys
from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.interface import RangeLock
from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.format import MasterKey
keyring = Keyring(); keyring.add(MasterKey(bytes(range(64))))
with connect(Access()) as mount, FileSystem(mount, keyring).open(sys.argv[1]) as file:
    file.flock(fcntl.LOCK_EX)
    file.lock_range(RangeLock(fcntl.F_WRLCK, 0, 10), 1)
    print("ready", flush=True)
    sys.stdin.readline()
"""
HOLDER = """
import os, sys, time
from pathlib import Path
from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.format import MasterKey
keyring = Keyring(); keyring.add(MasterKey(bytes(range(64))))
entity, secret, *paths = sys.argv[1:]
access = Access(entity=entity, keyring=Path(secret) if secret else None)
with connect(access) as mount:
    fs = FileSystem(mount, keyring)
    files = []
    for path in paths:
        file = fs.open(path, os.O_RDWR)
        file.pwrite(b"synced", 0)
        file.fsync()
        file.pwrite(b"dirty!" * 2000, 6)
        files.append(file)
    print("ready", flush=True)
    sys.stdin.readline()
    for file in files:
        try:
            file.pwrite(b"late", 0)
            file.fsync()
        except OSError as error:
            print(type(error).__name__, error.errno, error, flush=True)
        else:
            print("accepted", flush=True)
    try:
        fs.stat(paths[0])
    except OSError as error:
        print(type(error).__name__, error.errno, error, flush=True)
    mount.shutdown()
    os._exit(0)  # the files are as they are: they are not closed once more
"""


class Holder:
    """A process with files open for writing, and data of theirs that it did not flush."""

    def __init__(self, *paths: str, access: Access | None = None) -> None:
        access = access or Access()
        self._child = subprocess.Popen(
            [sys.executable, "-c", HOLDER, access.entity, str(access.keyring or ""), *paths],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> None:
        assert self._child.stdout is not None
        assert self._child.stdout.readline() == "ready\n"

    def kill(self) -> None:
        self._child.kill()
        self._child.communicate()

    def pause(self) -> None:
        self._child.send_signal(signal.SIGSTOP)

    def go_on(self) -> list[str]:
        """Wake it up, and let it write late; what came of it."""
        self._child.send_signal(signal.SIGCONT)
        out, _ = self._child.communicate("\n", timeout=90)
        return str(out).splitlines()


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Rados(Access()) as cluster:
        ioctx = cluster.ioctx(POOL, NAMESPACE)
        yield Registry(ioctx)
        ioctx.close()


def made(files: FileSystem, *paths: str) -> None:
    for path in paths:
        with files.create(path) as file:
            file.pwrite(b"first", 0)


def timed(act: Callable[[], object]) -> float:
    begun = time.monotonic()
    act()
    return time.monotonic() - begun


def write(files: FileSystem, path: str) -> None:
    with files.open(path, os.O_RDWR) as file:
        file.pwrite(b"next", 0)
        file.fsync()


LOCKS: dict[str, Callable[[File], None]] = {
    "flock": lambda file: file.flock(fcntl.LOCK_SH, timeout=30),
    "range": lambda file: file.lock_range(RangeLock(fcntl.F_RDLCK, 0, 0), 1, timeout=30),
}


@pytest.mark.parametrize("lock", LOCKS.values(), ids=LOCKS)
def test_the_locks_of_a_dead_client_are_free(
    files: FileSystem, subtree: str, lock: Callable[[File], None]
) -> None:
    made(files, f"{subtree}/f")
    with files.open(f"{subtree}/f") as file:
        holder = subprocess.Popen(
            [sys.executable, "-c", LOCKER, f"{subtree}/f"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        with pytest.raises(WouldBlockError):
            file.flock(fcntl.LOCK_SH | fcntl.LOCK_NB)
        holder.kill()
        holder.communicate()
        prompt(timed(lambda: lock(file)), HELD_UP)


ACTS: dict[str, Callable[[FileSystem, str], object]] = {
    "open to write": write,
    "stat": lambda files, path: files.stat(path),
    "unlink": lambda files, path: files.unlink(path),
    "rename": lambda files, path: files.rename(path, path + "-renamed"),
}


def assert_forgotten(registry: Registry) -> None:
    """The dead are listed no more a moment after what they held went on; we are."""
    give_up = time.monotonic() + 2
    while len(registry.clients()) != 1:
        assert time.monotonic() < give_up, registry.clients()
        time.sleep(0.05)


@pytest.mark.parametrize("pause", [0.0, 2.0, 6.0])
@pytest.mark.parametrize("act", ACTS)
def test_a_killed_client_holds_nobody_up_for_long(
    files: FileSystem, subtree: str, registry: Registry, act: str, pause: float
) -> None:
    path = f"{subtree}/f"
    made(files, path)
    holder = Holder(path)
    holder.ready()
    holder.kill()
    time.sleep(pause)
    took = timed(lambda: ACTS[act](files, path))
    print(f"{act}, begun {pause:g} s after the kill: {took:.2f} s")
    prompt(took, HELD_UP)
    assert_forgotten(registry)


def test_a_killed_reader_holds_nobody_up_for_long(
    files: FileSystem, mount: CephMount, subtree: str, registry: Registry
) -> None:
    path = f"{subtree}/f"
    made(files, path)
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, stored(files, mount, path).hex()], stdout=subprocess.PIPE, text=True
    )
    assert reader.stdout is not None
    assert reader.stdout.readline() == "ready\n"
    reader.kill()
    reader.communicate()
    took = timed(lambda: write(files, path))
    print(f"after a reader's death: {took:.2f} s")
    prompt(took, HELD_UP)
    assert_forgotten(registry)


def test_a_client_that_died_keeps_nobody_from_mounting_what_it_was_at_work_on(
    mount: CephMount, subtree: str, registry: Registry
) -> None:
    top = f"{subtree}-mounted".encode()
    mount.mkdir(top, 0o755)
    mount.sync()
    maker = subprocess.Popen([sys.executable, "-c", MAKER, top.hex()], stdout=subprocess.PIPE, text=True)
    assert maker.stdout is not None
    assert maker.stdout.readline() == "ready\n"
    maker.kill()
    maker.communicate()
    begun = time.monotonic()
    with connect(Access(root=top)) as other:
        took = time.monotonic() - begun
        print(f"mounted after a maker's death: {took:.2f} s")
        remove(other, b"/made")
    mount.rmdir(top)
    prompt(took, HELD_UP)
    assert_forgotten(registry)


def test_twenty_killed_clients_hold_nobody_up_for_long(
    files: FileSystem, subtree: str, registry: Registry
) -> None:
    paths = [f"{subtree}/f{number}" for number in range(20)]
    made(files, *paths)
    holders = [Holder(path) for path in paths]
    for holder in holders:
        holder.ready()
    for holder in holders:
        holder.kill()
    begun = time.monotonic()
    took = [timed(lambda path=path: write(files, path)) for path in paths]  # type: ignore[misc]
    print(f"20 dead: longest {max(took):.2f} s, all files in {time.monotonic() - begun:.2f} s")
    prompt(max(took), HELD_UP)
    assert_forgotten(registry)


def test_a_sleeper_that_wakes_up_cannot_write_any_more(files: FileSystem, subtree: str) -> None:
    path = f"{subtree}/f"
    made(files, path)
    sleeper = Holder(path)
    sleeper.ready()
    sleeper.pause()
    begun = time.monotonic()
    with files.open(path, os.O_RDWR) as file:
        file.truncate(0)
        file.pwrite(b"survivor" * 1000, 0)
        file.fsync()
    took = time.monotonic() - begun
    time.sleep(max(0, 10 - took))
    late = sleeper.go_on()
    print(f"held up by a sleeper: {took:.2f} s; when it woke up: {late}")
    prompt(took, HELD_UP)
    write, stat = late
    # it may first hear of its lease
    assert write.startswith((f"SessionLostError {errno.ESHUTDOWN} ", f"DamagedError {errno.EIO} "))
    assert "was away for" in write
    assert stat.startswith(f"SessionLostError {errno.ESHUTDOWN} ")
    keyring = Keyring()
    keyring.add(MasterKey(SECRET))
    with connect(Access()) as other, FileSystem(other, keyring).open(path) as file:
        assert file.pread(99999, 0) == b"survivor" * 1000


def test_a_live_client_is_left_alone_while_others_are_stuck(
    files: FileSystem, mount: CephMount, subtree: str, registry: Registry, cluster: Cluster
) -> None:
    """It is idle for 15 s; meanwhile a client that the registry does not know holds us up."""
    idle, path = f"{subtree}/idle", f"{subtree}/f"
    made(files, idle, path)
    living = Holder(idle)
    living.ready()
    unknown = subprocess.Popen(
        [sys.executable, "-c", UNKNOWN, stored(files, mount, path).hex()], stdout=subprocess.PIPE, text=True
    )
    assert unknown.stdout is not None
    assert unknown.stdout.readline() == "ready\n"
    number = stranger(cluster)
    unknown.send_signal(signal.SIGSTOP)
    stuck = threading.Thread(target=files.stat, args=(path,))
    stuck.start()
    stuck.join(15)
    was_stuck = stuck.is_alive()
    unknown.kill()
    unknown.communicate()
    assert len(registry.clients()) == 2
    outcome = living.go_on()
    cluster.ceph("tell", "mds.cephfs:0", "client", "evict", f"id={number}")
    stuck.join(60)
    assert not stuck.is_alive()
    assert was_stuck, "this proves nothing when nobody is held up"
    assert outcome == ["accepted"]


def stored(files: FileSystem, mount: CephMount, path: str) -> bytes:
    """The path as libcephfs has it."""
    top = path.rpartition("/")[0].encode()
    ino = files.stat(path).ino
    (name,) = [entry.name for entry in mount.scandir(top) if entry.ino == ino]
    return top + b"/" + name


def stranger(cluster: Cluster) -> int:
    """The number of the session that opened last."""
    return max(int(one["id"]) for one in cluster.ceph_json("tell", "mds.cephfs:0", "session", "ls"))


READER = """
import os, sys, time
from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
with connect(Access()) as mount:
    fd = mount.open(bytes.fromhex(sys.argv[1]), os.O_RDONLY)
    mount.pread(fd, 4096, 0)
    print("ready", flush=True)
    time.sleep(99)
"""
MAKER = """
import os, sys, time
from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
with connect(Access()) as mount:
    top = bytes.fromhex(sys.argv[1])
    mount.mkdir(top + b"/made", 0o755)
    mount.sync()
    mount.chmod(top, 0o711)
    mount.utimens(top, 1, 2)
    print("ready", flush=True)
    time.sleep(99)
"""
UNKNOWN = """
import cephfs, os, sys, time
mount = cephfs.LibCephFS(conffile=os.environ["CEPH_CONF"], auth_id="admin")
mount.mount()
fd = mount.open(bytes.fromhex(sys.argv[1]), os.O_RDWR, 0)
mount.write(fd, b"x", 0)
print("ready", flush=True)
time.sleep(99)
"""


def entity(cluster: Cluster, tmp_path: Path, name: str, *, leases: bool) -> Access:
    osd = "allow rw tag cephfs data=cephfs"
    if leases:
        osd += ", allow rwx namespace=fscrypt.leases tag cephfs data=cephfs"
    caps = ("mon", "allow r fsname=cephfs", "mds", "allow rw fsname=cephfs", "osd", osd)
    keyring = tmp_path / f"{name}.keyring"
    keyring.write_text(cluster.ceph("auth", "get-or-create", f"client.{name}", *caps))
    return Access(entity=f"client.{name}", keyring=keyring)


def test_an_administrator_ends_the_sessions_of_other_entities(
    files: FileSystem, subtree: str, cluster: Cluster, tmp_path: Path
) -> None:
    path = f"{subtree}/f"
    made(files, path)
    holder = Holder(path, access=entity(cluster, tmp_path, "narrow", leases=True))
    holder.ready()
    holder.kill()
    took = timed(lambda: write(files, path))
    print(f"by eviction: {took:.2f} s")
    prompt(took, HELD_UP)
    cluster.ceph("auth", "rm", "client.narrow")


@pytest.mark.parametrize("leases", [True, False], ids=["another entity's", "no caps for leases"])
def test_who_may_not_end_a_session_waits_as_before_and_says_so(
    files: FileSystem,
    mount: CephMount,
    subtree: str,
    cluster: Cluster,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    leases: bool,
) -> None:
    path = f"{subtree}/f"
    made(files, path)
    as_stored = stored(files, mount, path)
    holder = Holder(path)
    holder.ready()
    number = stranger(cluster)
    holder.kill()
    with connect(entity(cluster, tmp_path, "weak", leases=leases)) as weak:
        waiting = threading.Thread(target=weak.stat, args=(as_stored,))
        with caplog.at_level(logging.WARNING):
            waiting.start()
            waiting.join(8)
        assert waiting.is_alive()
        text = "could not end it" if leases else "could not look"
        (said,) = [record.getMessage() for record in caplog.records if text in record.getMessage()]
        print(said)
        cluster.ceph("tell", "mds.cephfs:0", "client", "evict", f"id={number}")
        waiting.join(60)
        assert not waiting.is_alive()
    cluster.ceph("auth", "rm", "client.weak")
