"""The five ways that are compared, each with caches of its own that can be forgotten."""

import json
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from contextlib import ExitStack
from pathlib import Path

import cephfs

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.gathering import gather_nothing
from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.format import MasterKey
from qa.lab.cluster import Cluster
from qa.load.mounted import wait_for_end
from qa.load.program import command

from .places import CephPlace, EnginePlace, PathPlace, Place

SECRET = bytes(range(64))
_DROP = Path("/proc/sys/vm/drop_caches")
_PATIENCE = 20.0
_PASSPHRASE = b"a passphrase of a bench\n"


class Subject(ABC):
    """One way to the file system. `name` is what the tables call it."""

    name: str
    place: Place

    @abstractmethod
    def begin(self) -> None:
        """Connect, or mount, with nothing in any cache of a client."""

    @abstractmethod
    def end(self) -> None:
        """Disconnect, or unmount."""

    def forget(self) -> None:
        """Nothing that was written or read before is in a cache of this client any more."""
        self.end()
        _DROP.write_text("1")
        self.begin()

    def process(self) -> int | None:
        """The process that serves a mount."""
        return None


class Plain(Subject):
    """python-cephfs alone, with as large a cache and as little of a log as our engine gives libcephfs."""

    name = "python-cephfs"

    def __init__(self, top: str) -> None:
        self._top = top

    def begin(self) -> None:
        access = Access()
        self._library = cephfs.LibCephFS(conffile=access.conf_file, auth_id="admin")
        gather_nothing(self._library)
        for name, value in access.options.items():
            self._library.conf_set(name, value)
        self._library.mount()
        self.place = CephPlace(self._library, self._top)

    def end(self) -> None:
        self._library.shutdown()


class Engine(Subject):
    """Our engine, in this process."""

    name = "engine"

    def __init__(self, top: str) -> None:
        self._top = top

    def begin(self) -> None:
        keyring = Keyring()
        keyring.add(MasterKey(SECRET))
        self._open = ExitStack()
        mount = self._open.enter_context(connect(Access()))
        self.place = EnginePlace(self._open.enter_context(FileSystem(mount, keyring)), self._top)

    def end(self) -> None:
        self._open.close()


class OurMount(Subject):
    """`cephfs-fscrypt mount`."""

    name = "our mount"

    def __init__(self, top: str, folder: Path) -> None:
        self._top = top
        self._key = folder / "key"
        self._key.touch(0o600)
        self._key.write_bytes(SECRET)
        self._directory = folder / "mount"
        self._directory.mkdir()
        self.place = PathPlace(self._directory)

    def begin(self) -> None:
        done = subprocess.run(
            command("mount", "--json", "--key", self._key, self._top, self._directory),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        self._process = int(json.loads(done.stdout)["process"])
        _give_our_share(self._process)

    def end(self) -> None:
        subprocess.run(["umount", self._directory], check=True)
        wait_for_end(self._process)

    def process(self) -> int | None:
        return self._process


class CephFuse(Subject):
    """ceph-fuse alone: plain files."""

    name = "ceph-fuse"

    def __init__(self, top: str, folder: Path) -> None:
        self._top = top
        self.directory = folder / "ceph-fuse"
        self.directory.mkdir()
        self._pid = folder / "ceph-fuse.pid"
        self.place = PathPlace(self.directory)

    def begin(self) -> None:
        conf = str(Cluster.current().directory / "ceph.conf")
        subprocess.run(
            [
                "ceph-fuse",
                "-c",
                conf,
                "--id",
                "admin",
                f"--pid-file={self._pid}",
                "-r",
                self._top,
                self.directory,
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _give_our_share(int(self._pid.read_text()))

    def end(self) -> None:
        process = int(self._pid.read_text())
        subprocess.run(["umount", self.directory], check=True)
        wait_for_end(process)


class Gocryptfs(CephFuse):
    """gocryptfs on ceph-fuse, with its default cipher and encrypted names."""

    name = "gocryptfs"

    def __init__(self, top: str, folder: Path) -> None:
        super().__init__(top, folder)
        self._lower = self.directory
        self._upper = folder / "gocryptfs"
        self._upper.mkdir()
        self._secret = folder / "passphrase"
        self._secret.write_bytes(_PASSPHRASE)
        self._known = False
        self.place = PathPlace(self._upper)

    def begin(self) -> None:
        super().begin()
        options = ["-q", "-nosyslog", "-passfile", str(self._secret)]
        if not self._known:
            # a small cost of the passphrase: opening is no part of any case
            subprocess.run(["gocryptfs", "-init", "-scryptn", "10", *options, self._lower], check=True)
            self._known = True
        self._served = subprocess.Popen(["gocryptfs", "-fg", *options, self._lower, self._upper])
        while not self._upper.is_mount():
            if self._served.poll() is not None:
                raise RuntimeError("gocryptfs did not mount")
            time.sleep(0.01)

    def end(self) -> None:
        subprocess.run(["umount", self._upper], check=True)
        # until then it uses what it lies on
        self._served.wait(_PATIENCE)
        super().end()


def _give_our_share(process: int) -> None:
    """Linux weighs sessions against each other (sched(7), autogroup): what has become a daemon shall not wait for what
    else the machine does while we do not."""
    ours = Path("/proc/self/autogroup")
    if ours.exists():
        Path(f"/proc/{process}/autogroup").write_text(ours.read_text().split()[-1])


def subjects(folder: Path) -> list[Subject]:
    """All five, each with a directory of its own in the file system. None has begun."""
    tops = {name: f"/bench-{name}" for name in ("plain", "engine", "mount", "ceph-fuse", "gocryptfs")}
    keyring = Keyring()
    keyring.add(MasterKey(SECRET))
    with connect(Access()) as mount, FileSystem(mount, keyring) as files:
        for name, top in tops.items():
            mount.mkdir(top.encode(), 0o755)
            if name in ("engine", "mount"):
                files.create_subtree(top, MasterKey(SECRET).identifier)
    for name in ("mount", "ceph-fuse", "gocryptfs"):
        (folder / name).mkdir()
    return [
        Plain(tops["plain"]),
        Engine(tops["engine"]),
        OurMount(tops["mount"], folder / "mount"),
        Gocryptfs(tops["gocryptfs"], folder / "gocryptfs"),
        CephFuse(tops["ceph-fuse"], folder / "ceph-fuse"),
    ]


def peak_of_engine(size: int) -> float:
    """MiB of a process of its own in which the engine writes and reads a file of `size` bytes."""
    code = (
        "import os, sys; from qa.bench.data_path.cases import stream; "
        "from qa.bench.data_path.subjects import Engine; from qa.load.memory import peak_of; "
        "subject = Engine('/bench-engine'); subject.begin(); "
        "stream(subject.place, int(sys.argv[1])); subject.end(); print(peak_of(os.getpid()) / (1 << 20))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(size)], stdout=subprocess.PIPE, text=True, check=True
    )
    return float(done.stdout)
