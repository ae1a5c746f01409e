"""Migrations on a real cluster: what is kept, what a person is told, and processes that are killed."""

import json
import multiprocessing
import os
import random
import signal
import time
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.engine import BusyError
from mgr_fscrypt.migrate import Copied, Direction, Migration, State, Step, Verdict, Way
from mgr_fscrypt.migrate.files import BATCH
from mgr_fscrypt.migrate.proving import compared
from mgr_fscrypt.migrate.record import Journal, hidden_of
from mgr_fscrypt.migrate.trees import PlainTree
from mgr_fscrypt.migrate.workers import workers
from qa.fakes.engine_cases import OTHER, remove
from qa.fakes.migration_cases import (
    FILES,
    KEY,
    MigrationCases,
    Subject,
    file_system,
    make_source,
    picture,
)
from qa.lab.cluster import Cluster
from qa.load.migrated_tree import Journey
from qa.load.migration_kills import Kill, Killed
from qa.load.program import done, refused, run
from qa.load.seeds import seed

pytestmark = pytest.mark.usefixtures("settled_manager", "enabled")

KILLED_AT = (Step.COPYING, Step.COPYING, Step.FENCING, Step.VERIFYING, Step.CUTTING)
LIFE = 0.1
"""Seconds after the begin of a step, at most; twenty times as many where other processes begin to copy in it."""
MANY = 80
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


def test_a_person_migrates_a_tree_and_goes_on(
    cluster: Cluster, path: bytes, key: Path, old_key: Path, tmp_path: Path
) -> None:
    top, keyed, long = path.decode(), ("--key", old_key), "n" * 200
    with connect(Access()) as mount:
        before = picture(PlainTree(mount), path)
        mount.mkdir(path + b"/" + long.encode(), 0o755)
        # a client that can reach it, and something in the way
        found = run("migrate", "plan", top, *keyed, "--json")
        *obstacles, plan = map(json.loads, found.stdout.splitlines())
        assert (found.returncode, plan["clear"]) == (1, False)
        assert [each["obstacle"] for each in obstacles if each["blocks"]] == ["name"]
        assert "session" in plan["obstacles"]
        keyed = (*keyed, "--exclude", long)
        plan = json.loads(done("migrate", "plan", top, *keyed, "--json").splitlines()[-1])
        assert (plan["clear"], plan["obstacles"]["excluded"]) == (True, 1)
        mount.utimens(path, 1000, 5000)
        mount.sync()
        words = refused(3, "migrate", "start", top, *keyed, "--even-changed", "--plan", plan["plan"])
        assert "1 other client(s) can reach it" in words
        assert "it was not cut over" in refused(3, "migrate", "purge", top, "--dry-run")
    # the rest is no one's: it goes on with what was copied
    how = ("--report", tmp_path / "report", "--keep-trash", "7d")
    answer = run("migrate", "start", top, "--key", old_key, *how, "--json")
    told, keyed = json.loads(answer.stdout), ("--key", old_key)
    assert answer.returncode == 0
    assert f"{long}: was excluded: it is here only" in answer.stderr.decode()
    reported = {each.stem: len(each.read_text().splitlines()) for each in (tmp_path / "report").iterdir()}
    assert reported == {"same": len(before), "differ": 0, "missing": 0, "extra": 0, "error": 0}
    assert (told["state"], told["files"], told["same"]) == ("done", 0, len(before))
    assert told["copied"] == len(FILES)
    assert 0 < told["gap"] < 5
    assert top in cluster.ceph("fscrypt", "subtree", "ls", "cephfs")
    done("put", *keyed, __file__, f"{top}/new")
    assert "not the same" in refused(3, "migrate", "rollback", top, *keyed)
    assert "nothing was removed: it is done until 20" in done("migrate", "purge", top, "--due")
    assert "--lose-excluded" in refused(3, "migrate", "purge", top)
    done("migrate", "purge", top, "--lose-excluded")
    both = ("--key", key, "--old-key", old_key)
    planned = done("migrate", "plan", top, *both).split()[-1]
    done("migrate", "start", top, *both, "--plan", planned, "--namespace", "fscrypt-moved")
    with connect(Access()) as mount, file_system(mount) as files:
        files.unlink(path + b"/new")
        files.utimens(path, 1000, 5000)
        assert picture(files, path) == before
        assert mount.layout(path).namespace == "fscrypt-moved"
        for name in (b"one", b"a link"):
            (entry,) = (each for each in files.scandir(path) if each.name == name)
            assert mount.layout(path + b"/" + entry.stored).namespace == "fscrypt-moved"
        with files.create(path + b"/new") as file:
            file.pwrite(b"new", 0)
        (entry,) = (each for each in files.scandir(path) if each.name == b"new")
        assert mount.layout(path + b"/" + entry.stored).namespace == "fscrypt-moved"
    assert KEY.identifier.hex() in cluster.ceph("fscrypt", "subtree", "ls", "cephfs")
    assert "in the clear" in refused(2, "migrate", "start", top, "--decrypt", "--key", key)


def test_each_directory_is_migrated_by_itself(key: Path, nobody_left: None) -> None:
    above = f"/homes-{uuid.uuid4().hex[:8]}".encode()
    top, trees, long = above.decode(), [above + b"/ann", above + b"/bob"], "n" * 200
    each: tuple[str | Path, ...] = ("--per-directory", "--key", key)
    with connect(Access()) as mount:
        plain = PlainTree(mount)
        make_source(mount, Direction.ENCRYPT, trees[0])
        mount.mkdir(trees[1], 0o755)
        mount.mkdir(trees[1] + b"/" + long.encode(), 0o755)
        with plain.open(above + b"/beside", os.O_RDWR | os.O_CREAT, 0o600) as file:
            file.pwrite(b"kept", 0)
        mount.sync()
        before = picture(plain, trees[0])
    found = run("migrate", "plan", top, *each, "--json")
    *told, planned = map(json.loads, found.stdout.splitlines())
    assert (found.returncode, planned["directories"]) == (1, 2)
    assert [one["clear"] for one in told if "clear" in one] == [True, False]
    assert f"{top}/beside: lies beside" in found.stderr.decode()
    assert "begins with a plan" in refused(2, "migrate", "start", top, *each)
    each = (*each, "--plan", planned["plan"])
    assert "another directory" in refused(3, "migrate", "start", f"{top}/ann", *each)

    answer = run("migrate", "start", top, *each)
    assert (answer.returncode, b"1 failed" in answer.stdout) == (3, True)
    assert f"{top}/bob/{long} is in the way" in answer.stderr.decode()
    with connect(Access()) as mount, file_system(mount) as files:
        assert picture(files, trees[0]) == before
        assert files.subtree(trees[1]).policy is None
        mount.rmdir(trees[1] + b"/" + long.encode())
        # as a crash between the two renames leaves it
        hidden = hidden_of(trees[0])
        record = Migration(mount, files, trees[0]).required_record()
        Journal(mount, hidden, lambda: None).enter(record, State.CUTTING)
        mount.rename(trees[0], hidden + b"/work/tree")
        mount.sync()
    answer = run("migrate", "start", top, *each, "--json")
    assert (answer.returncode, json.loads(answer.stdout.splitlines()[-1])["failed"]) == (0, 0)
    with connect(Access()) as mount, file_system(mount) as files:
        assert picture(files, trees[0]) == before
        assert files.subtree(trees[1]).policy is not None
        assert files.subtree(above).policy is None
        assert mount.stat(above + b"/beside").size == len(b"kept")
    assert done("migrate", "status", top, "--per-directory").count(": done;") == 2
    done("migrate", "verify", top, "--per-directory", "--no-key")
    done("migrate", "purge", top, "--per-directory")
    refused(5, "migrate", "purge", top, "--per-directory")
    assert b"2 directories, none failed" in run("migrate", "start", top, *each[:3]).stdout
    assert "cannot be a subtree of its own" in refused(3, "migrate", "plan", f"{top}/ann", *each[:3])
    assert "one by one" in refused(2, "migrate", "plan", top, *each[:3], "--decrypt")
    with connect(Access()) as mount:
        remove(mount, above)


def test_processes_killed_at_random_moments() -> None:
    chosen, begun = seed(), time.monotonic()
    chance = random.Random(chosen)
    kills = [Kill(step, chance.uniform(0, 20 * LIFE if step is Step.COPYING else LIFE)) for step in KILLED_AT]
    name = f"killed-{uuid.uuid4().hex[:8]}".encode()
    migrated = Killed(b"/", name, Direction.ENCRYPT, searching=False)
    wrong = migrated.run(kills)
    print(
        f"sampled: seed {chosen}, killed {migrated.deaths} of {len(kills)} times, {migrated.kept} copies were finished "
        f"by then; {time.monotonic() - begun:.0f} s"
    )
    assert wrong is None, f"{wrong}; FSCRYPT_QA_SEED={chosen}"
    assert migrated.deaths, f"FSCRYPT_QA_SEED={chosen}"


def test_a_tree_is_migrated_under_its_users() -> None:
    begun = time.monotonic()
    journey = Journey(f"/journey-{uuid.uuid4().hex[:8]}".encode(), 200, 8 << 20, workers=2)
    wrong = journey.run()
    print(f"sampled: {json.dumps(journey.told)}; {time.monotonic() - begun:.0f} s")
    assert wrong is None


def test_workers_that_are_killed_are_replaced(
    path: bytes, nobody_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mgr_fscrypt.migrate.copying.BATCH", 8)
    killed: list[int] = []
    copied = Copied()

    def watched() -> None:
        # one of two, when both have something to do
        at_work = multiprocessing.active_children()
        if not killed and copied.files >= 16 and len(at_work) == 2:
            killed.append(at_work[0].pid or 0)
            os.kill(killed[0], signal.SIGKILL)

    with connect(Access()) as mount, file_system(mount) as files:
        tree = PlainTree(mount)
        fill(tree, path, MANY)
        before = picture(tree, path)
        way = Way(path, Direction.ENCRYPT, KEY.identifier)
        migration = Migration(mount, files, path, watched=watched, hands=partial(workers, Access(), [KEY], 2))
        migration.start(way, "")
        migration.converge(copied)
        assert (len(killed), copied.problems) == (1, [])
        # no session of theirs is left, not even of the one that died
        late = migration.cut_over(copied, Subject(mount, files, way).verify, evict=False)
        assert (late.verdict.equal, late.evicted) == (True, ())
        assert picture(files, path) == before


def test_those_that_compare_are_no_strangers_not_even_when_one_dies(path: bytes, nobody_left: None) -> None:
    def stop(verdict: Verdict) -> None:
        if verdict.same:
            raise KeyboardInterrupt

    killed: list[int] = []

    def kill(_: Verdict) -> None:
        (walks,) = multiprocessing.active_children()
        compare = [each for each in children(walks.pid or 0) if b"spawn_main" in command(each)]
        if compare and not killed:
            killed.append(compare[0])
            os.kill(killed[0], signal.SIGKILL)

    with connect(Access()) as mount, file_system(mount) as files:
        fill(PlainTree(mount), path, 2 * BATCH)
        before = picture(PlainTree(mount), path)
        migration = Migration(mount, files, path)
        migration.start(Way(path, Direction.ENCRYPT, KEY.identifier), "")
        migration.converge(Copied())
        by_two = partial(compared, Access(), path, [KEY], workers=2, manifest=True)
        with pytest.raises(BusyError, match="a process that compares died"):
            migration.cut_over(Copied(), lambda _: by_two(kill), evict=False)
        with pytest.raises(KeyboardInterrupt):
            migration.cut_over(Copied(), lambda _: by_two(stop), evict=False)
        assert (len(killed), picture(PlainTree(mount), path)) == (1, before)
        late = migration.cut_over(Copied(), lambda _: by_two(lambda _: None), evict=False)
        assert (late.verdict.same, late.evicted) == (len(before), ())
        assert picture(files, path) == before
        assert migration.compare_without_key(Verdict()).same == len(before)


def fill(tree: PlainTree, path: bytes, count: int) -> None:
    """So many files more."""
    for number in range(count):
        with tree.open(path + b"/d/%d" % number, os.O_RDWR | os.O_CREAT, 0o600) as file:
            file.pwrite(b"%d " % number * number, 0)
    tree.sync()


def children(pid: int) -> list[int]:
    """The processes that a process has begun."""
    return [
        int(each)
        for task in Path(f"/proc/{pid}/task").glob("*/children")
        for each in task.read_text().split()
    ]


def command(pid: int) -> bytes:
    """What a process was called with; nothing where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
