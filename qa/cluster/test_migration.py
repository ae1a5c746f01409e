"""Migrations on a real cluster: what is kept, what a person is told, and processes that are killed."""

import json
import os
import random
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.migrate import Direction, Way
from mgr_fscrypt.migrate.record import hidden_of
from mgr_fscrypt.migrate.trees import PlainTree
from qa.fakes.engine_cases import OTHER, remove
from qa.fakes.migration_cases import (
    FILES,
    KEY,
    MigrationCases,
    Subject,
    file_system,
    finished,
    make_source,
    picture,
)
from qa.lab.cluster import Cluster
from qa.load.program import ROOT, command, done, refused, run
from qa.load.seeds import seed

pytestmark = pytest.mark.usefixtures("settled_manager", "enabled")

KILLS = 5
MANY = 150
"""Files of the tree that is migrated by processes that are killed."""


@pytest.fixture(scope="module")
def enabled(cluster: Cluster) -> None:
    cluster.enable_module("fscrypt")


@pytest.fixture
def plain(mount: CephMount) -> Iterator[CephMount]:
    """Another client, which is no stranger to the first."""
    with mount.fresh() as found:
        yield found


class TestMigrationOnTheCluster(MigrationCases):
    """All directions."""


@pytest.fixture
def old_key(tmp_path: Path) -> Path:
    file = tmp_path / "old key"
    file.write_bytes(OTHER)
    file.chmod(0o600)
    return file


@pytest.fixture
def path() -> Iterator[bytes]:
    """A plain tree with some of everything; nobody has it mounted."""
    above = f"/migrated-{uuid.uuid4().hex[:8]}".encode()
    with connect(Access()) as mount:
        make_source(mount, Direction.ENCRYPT, above + b"/tree")
    yield above + b"/tree"
    with connect(Access()) as mount:
        remove(mount, above)


def test_a_person_migrates_a_tree_there_and_on_and_back(
    cluster: Cluster, path: bytes, key: Path, old_key: Path
) -> None:
    top = path.decode()
    with connect(Access()) as mount:
        before = picture(PlainTree(mount), path)
        # another client that has it mounted
        plan = done("migrate", "plan", top, "--key", old_key)
        assert "blocks" not in plan
        assert "note: session" in plan
    planned = plan.splitlines()[-1].removeprefix("plan ")
    refused(2, "migrate", "start", top, "--key", old_key)
    refused(3, "migrate", "start", top, "--key", key, "--plan", planned)
    refused(5, "migrate", "status", top)
    with connect(Access()):
        words = refused(3, "migrate", "start", top, "--key", old_key, "--plan", planned)
        assert "1 other client(s) can reach it" in words
        assert "copying" in done("migrate", "status", top)
        refused(3, "migrate", "start", top, "--key", old_key, "--offline")
    told = json.loads(done("migrate", "start", top, "--key", old_key, "--json"))
    entries = len(before)
    assert (told["state"], told["files"], told["current"], told["same"]) == (
        "done",
        0,
        # of two passes
        told["current"],
        entries,
    )
    assert told["copied"] == len(FILES)
    assert 0 < told["gap"] < 5
    assert top in cluster.ceph("fscrypt", "subtree", "ls", "cephfs")
    assert f"{entries} the same" in done("migrate", "verify", top, "--key", old_key)
    refused(3, "migrate", "cancel", top)
    assert "old tree" in done("migrate", "rollback", top, "--key", old_key)
    with connect(Access()) as mount:
        assert picture(PlainTree(mount), path) == before
    done("migrate", "start", top, "--key", old_key)
    done("put", "--key", old_key, __file__, f"{top}/new")
    refused(3, "migrate", "rollback", top, "--key", old_key)
    assert run("migrate", "verify", top, "--key", old_key).returncode == 1
    assert "would remove" in done("migrate", "purge", top, "--dry-run")
    done("migrate", "purge", top)
    # on, under another key
    keys = ("--key", key, "--old-key", old_key)
    planned = done("migrate", "plan", top, *keys).splitlines()[-1].removeprefix("plan ")
    done("migrate", "start", top, *keys, "--plan", planned)
    done("migrate", "purge", top)
    assert Path(__file__).read_text() == done("cat", "--key", key, f"{top}/new")
    # and back
    planned = done("migrate", "plan", top, "--decrypt", "--key", key).splitlines()[-1].removeprefix("plan ")
    words = ("migrate", "start", top, "--decrypt", "--key", key, "--plan", planned)
    assert "in the clear" in refused(2, *words)
    done(*words, "--confirm", f"store {top} in the clear")
    done("migrate", "purge", top)
    assert top not in cluster.ceph("fscrypt", "subtree", "ls", "cephfs")
    with connect(Access()) as mount:
        mount.unlink(path + b"/new")
        mount.utimens(path, 1000, 5000)
        mount.sync()
        assert picture(PlainTree(mount), path) == before
        assert [entry.name for entry in mount.scandir(path.rpartition(b"/")[0])] == [b"tree"]


def test_a_plan_with_something_in_the_way_is_told_and_refused(path: bytes, key: Path) -> None:
    with connect(Access()) as mount:
        mount.mkdir(path + b"/" + b"n" * 200, 0o755)
    found = run("migrate", "plan", path.decode(), "--key", key, "--json")
    assert found.returncode == 1
    *obstacles, plan = map(json.loads, found.stdout.splitlines())
    assert [each["obstacle"] for each in obstacles if each["blocks"]] == ["name"]
    assert not plan["clear"]
    assert plan["totals"].keys() == {"files", "directories", "bytes", "snapshots"}
    words = refused(3, "migrate", "start", path.decode(), "--key", key, "--plan", plan["plan"])
    assert "in the way" in words


def test_processes_killed_at_random_moments(path: bytes, key: Path) -> None:
    chosen, begun = seed(), time.monotonic()
    chance = random.Random(chosen)
    with connect(Access()) as mount:
        tree = PlainTree(mount)
        for number in range(MANY):
            with tree.open(path + b"/d/%d" % number, os.O_RDWR | os.O_CREAT, 0o600) as file:
                file.pwrite(b"%d " % number * number, 0)
        tree.sync()
        before, source = picture(tree, path), mount.stat(path).ino
    top = path.decode()
    planned = done("migrate", "plan", top, "--key", key).splitlines()[-1].removeprefix("plan ")
    killed, life, kept = 0, 3.0, dict[bytes, int]()
    for _ in range(KILLS):
        # the killed ones are clients that can reach the tree, until the MDS gives them up
        start = command("migrate", "start", top, "--key", key, "--plan", planned, "--evict", "--quiet")
        child = subprocess.Popen(start, cwd=ROOT)
        try:
            child.wait(chance.uniform(0.5, life))
        except subprocess.TimeoutExpired:
            child.kill()
        killed += child.wait() == -signal.SIGKILL
        with connect(Access()) as mount, file_system(mount) as files:
            old = hidden_of(path) + b"/old"
            place = path if _ino(mount, path) == source else old
            assert _ino(mount, place) == source
            assert picture(PlainTree(mount), place) == before
            if place == old and _ino(mount, path):
                assert picture(files, path).keys() == before.keys()
            kept = finished(Subject(mount, files, Way(path, Direction.ENCRYPT, KEY.identifier))) | kept
    done("migrate", "start", top, "--key", key, "--evict", "--quiet")
    with connect(Access()) as mount, file_system(mount) as files:
        assert picture(files, path) == before
        assert {name: files.stat(path + name).ino for name in kept} == kept, (
            "no finished file is copied again"
        )
    print(
        f"sampled: {len(before)} entries, seed {chosen}, killed {killed} of {KILLS} times, {len(kept)} copies were "
        f"finished by then; {time.monotonic() - begun:.0f} s"
    )
    assert killed, f"FSCRYPT_QA_SEED={chosen}"


def _ino(mount: CephMount, path: bytes) -> int:
    try:
        return mount.stat(path).ino
    except FileNotFoundError:
        return 0
