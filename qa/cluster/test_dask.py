"""A migration whose workers are other hosts' processes, by Dask over TLS, and some of them die."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.reclaim import reset
from mgr_fscrypt.engine import Keyring
from mgr_fscrypt.engine.fence import strangers
from mgr_fscrypt.migrate import Copied, Direction, Migration, Way
from mgr_fscrypt.migrate.dask_hands import dask_workers
from mgr_fscrypt.migrate.dask_worker import _Hand
from mgr_fscrypt.migrate.pace import UNLIMITED
from mgr_fscrypt.migrate.places import Places
from mgr_fscrypt.migrate.scheduler import Scheduler
from mgr_fscrypt.migrate.shards import Hands
from mgr_fscrypt.migrate.turns import Turn, Turns
from qa.fakes.engine_cases import remove
from qa.fakes.migration_cases import KEY, Subject, file_system, make_source, picture
from qa.fakes.ports import free_port
from qa.load.migration_kills import fill
from qa.load.program import command

PATIENCE = 60.0


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and a certificate of it for both ends, as openssl makes them."""
    folder = tmp_path_factory.mktemp("certificates")
    make = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    for line in (
        f"{make} -subj /CN=authority -keyout ca.key -out ca.crt",
        f"{make} -subj /CN=host -keyout host.key -out host.crt -CA ca.crt -CAkey ca.key "
        "-addext basicConstraints=CA:FALSE",
    ):
        subprocess.run(["openssl", *line.split()], cwd=folder, check=True, capture_output=True)
    (folder / "host.key").chmod(0o600)
    return folder


@pytest.fixture(scope="module")
def scheduler(certificates: Path) -> Iterator[Scheduler]:
    port = free_port()
    files = [certificates / name for name in ("ca.crt", "host.crt", "host.key")]
    options = [f"--tls-ca-file={files[0]}", f"--tls-cert={files[1]}", f"--tls-key={files[2]}"]
    where = ["--protocol=tls", "--host=127.0.0.1", f"--port={port}", "--no-dashboard"]
    child = subprocess.Popen([sys.executable, "-m", "distributed.cli.dask_scheduler", *where, *options])
    yield Scheduler(f"tls://127.0.0.1:{port}", *files)
    child.terminate()
    child.wait()


@pytest.fixture
def at_work(scheduler: Scheduler, key: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Two workers, each with the key."""
    words = ["migrate", "worker", "--key", key, *options_of(scheduler)]
    with ExitStack() as stack:
        children = [stack.enter_context(subprocess.Popen(command(*words))) for _ in range(2)]
        yield children
        for each in children:
            each.terminate()


def options_of(scheduler: Scheduler) -> list[str | Path]:
    files = ("--tls-ca", scheduler.authority, "--tls-cert", scheduler.certificate, "--tls-key", scheduler.key)
    return ["--scheduler", scheduler.address, *files]


def test_one_that_has_nothing_to_do_lets_go_when_the_turn_is_over(nobody_left: None) -> None:
    path = f"/idle-{uuid.uuid4().hex[:8]}/tree".encode()
    keyring = Keyring()
    keyring.add(KEY)
    with connect(Access()) as mount, file_system(mount) as files:
        way = make_source(mount, Direction.ENCRYPT, path)
        Migration(mount, files, path).start(way, "")
        turns, hand = Turns(mount, Places(mount, path)), _Hand(Access(), keyring)
        with turns.alone():
            turn = turns.current(fenced=False)
            assert turn is not None
            hand.mounted(turn)
            hand.look()
            assert len(strangers(mount, path)) == 1
        hand.look()
        assert strangers(mount, path) == []
        # nothing is mounted any more, so there is nothing to look at
        hand.look()
    with connect(Access()) as mount:
        remove(mount, path.rpartition(b"/")[0])


def test_workers_of_dask_that_die_are_done_without(
    scheduler: Scheduler,
    at_work: list[subprocess.Popen[bytes]],
    nobody_left: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mgr_fscrypt.migrate.copying.BATCH", 8)
    above = f"/elsewhere-{uuid.uuid4().hex[:8]}".encode()
    path, begun = above + b"/tree", time.monotonic()
    copied, killed = Copied(), list[int]()

    def watched() -> None:
        if not killed and copied.files >= 16:
            killed.append(at_work[0].pid)
            os.kill(at_work[0].pid, signal.SIGKILL)

    with connect(Access()) as mount:
        make_source(mount, Direction.ENCRYPT, path, partial(fill, b"elsewhere"))
    with connect(Access()) as mount, file_system(mount) as files:
        way = Way(path, Direction.ENCRYPT, KEY.identifier)
        one = Subject(mount, files, way)
        before = picture(one.source, path)

        def hands(turn: Turn) -> AbstractContextManager[Hands]:
            ended = partial(reset, Access())
            return dask_workers(mount, scheduler, turn, UNLIMITED, reset=ended, patience=PATIENCE)

        migration = Migration(mount, files, path, watched=watched, hands=hands)
        migration.start(way, "")
        migration.converge(copied)
        assert (len(killed), copied.problems) == (1, [])
        # the other one has unmounted, and nothing is left of the one that died
        late = migration.cut_over(copied, one.verify, evict=False)
        assert (late.verdict.equal, late.evicted) == (True, ())
        assert picture(files, path) == before
        migration.purge()
        remove(mount, above)
    assert at_work[1].poll() is None
    print(f"{len(before)} entries by Dask, one worker killed: {time.monotonic() - begun:.1f} s")
