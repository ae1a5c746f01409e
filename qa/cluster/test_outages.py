"""MDS and OSD restarts, and an eviction, in the middle of a load: nothing acknowledged is lost, and nobody hangs."""

import errno
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.errors import SessionLostError
from mgr_fscrypt.ceph.interface import Session
from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.engine import DamagedError
from mgr_fscrypt.format import MasterKey
from qa.fakes.engine_cases import SECRET, remove
from qa.lab.cluster import Cluster
from qa.load.crashes import Client, Do, Load, Model, Operation
from qa.load.kills import opened
from qa.load.promptness import prompt
from qa.load.seeds import seed

OSD_AWAY = 10.0
"""Seconds: longer than leases and signs of life last."""
AFTERWARDS = 20.0
"""Seconds in which everything goes on once the daemons are back; an MDS replays its journal and waits for clients."""
BEFORE = 40
"""Operations before the outage, and after it."""
ENDLESS = 1 << 60


class Worker(threading.Thread):
    """One client under a mixed load in a subtree of its own, which it goes on with until it is told to stop.

    Attributes:
        done: operations that have returned.
        longest: seconds of the longest of them.
        error: what the last of them raised; then it has ended by itself.
    """

    def __init__(self, mount: CephMount, top: bytes, chance: random.Random) -> None:
        super().__init__()
        self.mount = mount
        self.files = opened(mount)
        self.top = top
        self.model = Model()
        self.done = 0
        self.longest = 0.0
        self.error: OSError | None = None
        self._client = Client(self.files, top)
        self._load = Load(chance)
        self._over = threading.Event()
        self.files.mkdir(top)
        self.files.create_subtree(top, MasterKey(SECRET).identifier)

    def run(self) -> None:
        while not self._over.is_set():
            operation = self._load.next(self.model.names)
            self.model.begin(operation)
            begun = time.monotonic()
            try:
                self._client.do(operation)
            except OSError as error:
                self.error = error
                return
            finally:
                self.longest = max(self.longest, time.monotonic() - begun)
            self.model.end(operation)
            self.done += 1

    def reach(self, count: int, within: float) -> None:
        """Wait until that many operations are done, or one failed.

        Raises:
            TooSlowError: they were not; an OSD that comes back waits for 16 s and longer where the machine is busy.
        """
        begun = time.monotonic()
        while self.done < count and self.is_alive():
            prompt(time.monotonic() - begun, within, f"{count} operations, of which {self.done} are done,")
            time.sleep(0.05)

    def end(self) -> None:
        """Stop after the present operation, and leave the files as they are."""
        self._over.set()
        self.join(AFTERWARDS)
        assert not self.is_alive(), "it hangs"

    def close(self) -> None:
        """Close all files: what is in them is acknowledged then, to the last byte, or told to be damaged (`error`)."""
        for name in [name for name, node in self.model.names.items() if node.open == name]:
            operation = Operation(Do.CLOSE, name)
            try:
                self._client.do(operation)
            except DamagedError as error:
                self.error = error
            else:
                self.model.end(operation)

    def leave(self) -> None:
        """End its file system. Without a session it may hear once more that what it had to complete is lost."""
        try:
            self.files.close()
        except SessionLostError:
            assert isinstance(self.error, SessionLostError), repr(self.error)

    def session(self, seen_by: CephMount) -> Session:
        """As another client sees it."""
        (found,) = (one for one in seen_by.sessions() if one.metadata.get("uuid") == self.mount._uuid)
        return found

    def judged(self) -> str | None:
        """What is wrong with what another client finds of it, or None."""
        with connect(Access()) as other, opened(other) as files:
            return self.model.judge(Client(files, self.top).look())


@pytest.fixture
def workers(cluster: Cluster) -> Iterator[list[Worker]]:
    """Two clients at work, each with a mount of its own."""
    chosen = seed()
    print(f"sampled: outages: seed {chosen}")
    with ExitStack() as mounts:
        made = []
        for number in range(2):
            top = f"/outage-{uuid.uuid4().hex[:8]}".encode()
            made.append(
                Worker(mounts.enter_context(connect(Access())), top, random.Random(f"{chosen} {number}"))
            )
        for worker in made:
            worker.start()
        for worker in made:
            worker.reach(BEFORE, AFTERWARDS)
        yield made
        for worker in made:
            worker.end()
            worker.leave()
    with connect(Access()) as other:
        for worker in made:
            remove(other, worker.top)


def restart_mds(cluster: Cluster) -> None:
    cluster.kill("mds", "a")
    time.sleep(1)
    cluster.start("mds", "a")
    cluster.wait("an active MDS", lambda: "up:active" in cluster.ceph("mds", "stat"))


def restart_osd(cluster: Cluster) -> None:
    cluster.kill("osd", "0")
    time.sleep(OSD_AWAY)
    cluster.start("osd", "0")
    cluster.wait("the OSD", lambda: cluster.ceph_json("osd", "stat")["num_up_osds"] == 1)


@pytest.mark.parametrize("restart", [restart_mds, restart_osd], ids=["mds", "osd"])
def test_a_daemon_that_is_killed_and_comes_back(
    cluster: Cluster, workers: list[Worker], restart: Callable[[Cluster], None]
) -> None:
    begun = time.monotonic()
    restart(cluster)
    back = time.monotonic() - begun
    for worker in workers:
        worker.reach(worker.done + BEFORE, AFTERWARDS)
        worker.end()
        assert worker.longest < back + AFTERWARDS
        if worker.error is None:
            worker.close()
        if worker.error is not None:
            # the lease of a file ran out meanwhile: what was not told is reported, at its close if not before
            assert isinstance(worker.error, DamagedError), repr(worker.error)
            assert worker.error.errno == errno.EIO
        assert worker.judged() is None
        # both are alive, whatever they thought of each other
        with worker.files.create(worker.top + b"/after") as file:
            file.pwrite(b"after", 0)
        worker.files.unlink(worker.top + b"/after")
    reported = sum(worker.error is not None for worker in workers)
    print(
        f"sampled: outages: {restart.__name__}, away for {back:.1f} s; the longest call "
        f"{max(worker.longest for worker in workers):.1f} s, {reported} of 2 clients heard of an error"
    )


def test_a_client_that_is_evicted(workers: list[Worker], mount: CephMount) -> None:
    evicted, other = workers
    mount.evict(evicted.session(mount))
    other.reach(other.done + BEFORE, AFTERWARDS)
    evicted.reach(ENDLESS, AFTERWARDS)
    assert isinstance(evicted.error, SessionLostError), repr(evicted.error)
    assert evicted.longest < AFTERWARDS
    other.end()
    other.close()
    assert other.error is None
    for worker in workers:
        assert worker.judged() is None
