"""Migrations as jobs: the runner, the kinds and the migration itself, whole, in memory."""

import errno
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import pytest

from mgr_fscrypt.ceph.access import SERVICE
from mgr_fscrypt.ceph.errors import error_of
from mgr_fscrypt.ceph.interface import Kind, Session
from mgr_fscrypt.engine.paths import joined
from mgr_fscrypt.messages.job import JobState, JobWish
from mgr_fscrypt.messages.migration_job import (
    CANCEL,
    COMPARE,
    LOOK,
    MIGRATE,
    PLAN,
    PURGE,
    ROLLBACK,
    ActResult,
    CancelOptions,
    CompareOptions,
    CompareResult,
    LookOptions,
    MigrateResult,
    Options,
    PlanOptions,
    PlanResult,
    PurgeOptions,
    RollbackOptions,
    StartOptions,
    as_options,
)
from mgr_fscrypt.messages.subtree_job import read
from mgr_fscrypt.migrate import Direction, Migration, State, Verdict
from mgr_fscrypt.migrate.files import Copier
from mgr_fscrypt.migrate.record import RECORD, hidden_of
from mgr_fscrypt.migrate.trees import PlainTree, Tree, existing
from mgr_fscrypt.service.jobs import RefusedWishError
from mgr_fscrypt.service.jobs.run import Run
from mgr_fscrypt.service.kinds import kinds_of
from mgr_fscrypt.service.kinds.place import Place
from qa.fakes.ceph import FakeCluster, FakeMount
from qa.fakes.crew import FakeCrew
from qa.fakes.jobs import FSCID, CrashError, Stage, SteppingKind
from qa.fakes.migration_cases import KEY, KEYS, OTHER_KEY, WAYS, file_system, make_source, picture

PATH = "/data/tree"
SOURCE = PATH.encode()
R = TypeVar("R")


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mgr_fscrypt.engine.waiting._STEPS", (0,))


@contextmanager
def nowhere() -> Iterator[Any]:
    pytest.fail("no scan is asked for")
    yield


class World:
    """A service and a file system with a tree."""

    def __init__(self, direction: Direction = Direction.ENCRYPT) -> None:
        self.data = FakeCluster()
        self.crew = FakeCrew(self.data)
        self.count = SteppingKind()
        self.stage = Stage(*kinds_of(self.reach, nowhere, self.crew), self.count)
        self.stage.unlocker.keys = {each: key.expose() for each, key in KEYS.items()}
        self.direction = direction
        self.way = make_source(FakeMount(self.data), direction, SOURCE)
        self.source = FakeMount(self.data).stat(SOURCE).ino
        self.before = self.picture(old=True)
        self.number = 0

    @contextmanager
    def reach(self) -> Iterator[Place]:
        yield Place(FakeMount(self.data), self.data)

    @property
    def decrypts(self) -> bool:
        return self.direction is Direction.DECRYPT

    def picture(self, path: bytes = SOURCE, *, old: bool = False) -> dict[bytes, tuple[object, ...]]:
        mount = FakeMount(self.data)
        plain = Direction.ENCRYPT if old else Direction.DECRYPT
        with file_system(mount) as files:
            tree: Tree = PlainTree(mount) if self.direction is plain else files
            return picture(tree, path)

    def begin(self, kind: str, options: Options, path: str = PATH) -> str:
        self.number += 1
        wish = JobWish(f"{self.number:032x}", kind, FSCID, path, as_options(options))
        return self.stage.runner.begin_job(wish).wish.id

    def state(self, job: str) -> JobState:
        return self.stage.runner.state(job)

    def done(self, of: type[R], kind: str, options: Options) -> R:
        """What came of a job that is carried out now."""
        job = self.begin(kind, options)
        self.stage.go()
        state = self.state(job)
        assert state.state == "done", state.why
        return read(of, state.outcome(), "result")

    def plan(self) -> PlanResult:
        key = "" if self.decrypts else self.way.key.hex()
        return self.done(PlanResult, PLAN, PlanOptions(key, self.decrypts))

    def start(self, plan: str, **more: Any) -> StartOptions:
        key = "" if self.decrypts else self.way.key.hex()
        options = StartOptions(
            key, self.decrypts, plan, False, "", False, False, False, 2, 0.0, 0.0, 0, "", -1
        )
        return replace(options, **more)

    def migrated(self, **more: Any) -> MigrateResult:
        return self.done(MigrateResult, MIGRATE, self.start(self.plan().plan, **more))

    def at(self) -> int:
        return FakeMount(self.data).stat(SOURCE).ino

    def left(self) -> bool:
        """Is there something of a migration beside the path?"""
        return any(each.name == hidden_of(SOURCE)[6:] for each in FakeMount(self.data).scandir(b"/data"))

    def require_no_name_kept(self) -> None:
        """No record has a name of what lies in the tree."""
        kept = b"".join(self.stage.records.kept.values())
        for word in (b"holed", b"/d/", b"a link", b"fifo", b"not utf"):
            assert word not in kept, word


def session(number: int, **metadata: str) -> Session:
    return Session(number, "client.x", f"10.0.0.{number}:0/1", b"/", metadata, 1, manager=False)


@pytest.fixture(params=list(Direction), ids=[each.value for each in Direction])
def world(request: pytest.FixtureRequest) -> World:
    return World(request.param)


def test_from_the_plan_to_the_purge(world: World):
    plan = world.plan()
    assert (plan.direction, plan.clear, plan.key) == (world.direction.value, True, world.way.key.hex())
    assert (plan.files, plan.links, plan.obstacles["special"]) == (7, 1, 1)
    assert plan.expected is not None
    assert plan.expected > 0
    result = world.done(MigrateResult, MIGRATE, world.start(plan.plan))
    assert world.picture() == world.before
    standing = result.standing
    assert (standing.state, standing.source, result.written) == ("done", world.source, 0)
    assert (standing.facts is None) == world.decrypts
    assert standing.facts is None or standing.facts.inode == world.at() != world.source
    compared = world.done(CompareResult, COMPARE, CompareOptions())
    assert compared == CompareResult(standing.verified, 0, 0, 0, 0)

    looked = world.done(ActResult, ROLLBACK, RollbackOptions(False, False, dry_run=True))
    assert (looked.standing.state, world.at() == world.source) == ("done", False)
    back = world.done(ActResult, ROLLBACK, RollbackOptions(False, False, dry_run=False))
    assert (back.standing.state, world.at()) == ("copying", world.source)
    again = world.done(MigrateResult, MIGRATE, world.start(""))
    assert again.standing.copied == standing.copied, "what was copied stays copied"
    kept = world.done(ActResult, PURGE, PurgeOptions(False, False, dry_run=True))
    assert (kept.standing.state, world.left()) == ("done", True)
    purged = world.done(ActResult, PURGE, PurgeOptions(False, False, dry_run=False))
    assert (purged.standing.state, purged.standing.source, world.left()) == ("", world.source, False)
    assert world.picture() == world.before
    world.require_no_name_kept()


def test_a_purge_that_is_to_be_due_goes_by_what_was_said_last():
    world = World()
    world.migrated(keep_trash=3600)
    due = PurgeOptions(False, False, dry_run=False, due=True)
    looked = world.done(ActResult, PURGE, due)
    assert (looked.standing.state, world.left()) == ("done", True)
    assert looked.standing.kept_until > time.time()
    mount = FakeMount(world.data)
    with file_system(mount) as files:
        record = Migration(mount, files, SOURCE).required_record()
    mount.setxattr(hidden_of(SOURCE), RECORD, replace(record, kept_until=1).encode())
    assert (world.done(ActResult, PURGE, due).standing.state, world.left()) == ("", False)


def test_only_who_has_the_turn_writes_a_manifest():
    world = World()
    world.migrated(copy_only=True)
    compared = world.done(CompareResult, COMPARE, CompareOptions())
    assert compared.same > 0
    mount, manifest = FakeMount(world.data), joined(hidden_of(SOURCE), b"manifest")
    assert existing(PlainTree(mount), manifest) is None
    world.done(MigrateResult, MIGRATE, world.start(""))
    with file_system(mount) as files:
        assert Migration(mount, files, SOURCE).compare_without_key(Verdict()).equal


def test_what_cannot_be_copied_is_left_out_by_the_inode_that_the_job_tells(monkeypatch: pytest.MonkeyPatch):
    world = World()
    copy_one = Copier._copy

    def fails(self: Copier, item: Any) -> None:
        if item.source.endswith(b"/block"):
            raise error_of(errno.EIO, "read", item.source)
        copy_one(self, item)

    monkeypatch.setattr(Copier, "_copy", fails)
    job = world.begin(MIGRATE, world.start(world.plan().plan))
    world.stage.go()
    state = world.state(job)
    assert "--exclude INODE" in (state.why or ""), state.why
    (error,) = state.errors
    (inode,) = (each.removeprefix("inode ") for each in error.examples)
    planned = world.done(PlanResult, PLAN, PlanOptions(KEY.identifier.hex(), False, inode))
    (left_out,) = (each for each in planned.listed if each.obstacle == "excluded")
    assert left_out.inode == int(inode)
    done = world.done(MigrateResult, MIGRATE, world.start("", exclude=inode)).standing
    assert (done.state, done.left_out) == ("done", 1)
    assert b"/d/block" not in world.picture()
    job = world.begin(PURGE, PurgeOptions(False, False, dry_run=False))
    world.stage.go()
    assert "excluded, and are in the trash only" in (world.state(job).why or "")
    world.require_no_name_kept()
    assert not world.done(ActResult, PURGE, PurgeOptions(False, True, dry_run=False)).standing.state


def test_what_is_left_out_is_named_by_numbers():
    for wrong in ("/d/block", "0", "1,,2", "-1", "1,", "1 2"):
        with pytest.raises(ValueError, match="numbers of inodes"):
            World().start("", exclude=wrong)
        with pytest.raises(ValueError, match="numbers of inodes"):
            PlanOptions(KEY.identifier.hex(), False, wrong)


def test_without_a_key_the_new_tree_is_compared_with_what_it_was():
    world = World()
    no_key = CompareOptions(no_key=True)
    job = world.begin(COMPARE, no_key)
    world.stage.go()
    assert world.state(job).state == "failed"
    standing = world.migrated().standing
    world.stage.unlocker.keys = {}
    world.stage.residents.lock(KEY.identifier)
    before = world.crew.compared
    assert world.done(CompareResult, COMPARE, no_key) == CompareResult(standing.verified, 0, 0, 0, 0)
    assert world.crew.compared == before
    mount = FakeMount(world.data)
    entry = next(each for each in mount.scandir(SOURCE) if each.kind is Kind.FILE)
    mount.chmod(SOURCE + b"/" + entry.name, 0o600)
    job = world.begin(COMPARE, no_key)
    world.stage.go()
    state = world.state(job)
    assert read(CompareResult, state.outcome(), "result").differ == 1
    assert [(each.kind, each.examples) for each in state.errors] == [("differ", (f"inode {entry.ino}",))]


def test_so_many_compare_as_are_asked_for():
    world = World()
    world.migrated(workers=5)
    assert world.crew.asked_for == 5
    world.done(CompareResult, COMPARE, CompareOptions(workers=3))
    assert world.crew.asked_for == 3
    world.done(ActResult, ROLLBACK, RollbackOptions(False, False, dry_run=False, workers=4))
    assert world.crew.asked_for == 4
    for options in (CompareOptions, partial(RollbackOptions, False, False, dry_run=False)):
        with pytest.raises(ValueError, match="workers must be from 1 to 64"):
            options(workers=0)


def test_room_that_is_missing_blocks():
    world = World()
    world.data.room = 1 << 12
    plan = world.done(PlanResult, PLAN, PlanOptions(KEY.identifier.hex(), False))
    assert not plan.clear
    (found,) = (each for each in plan.listed if each.blocks)
    assert (found.obstacle, found.detail) == ("space", f"{plan.room} bytes are needed, 4096 are free")
    job = world.begin(MIGRATE, world.start(plan.plan))
    world.stage.go()
    assert "something is in its way: space" in world.state(job).why


def test_a_plan_is_asked_for_and_has_to_be_the_one(world: World):
    job = world.begin(MIGRATE, world.start(""))
    world.stage.go()
    assert world.state(job).state == "failed"
    assert "begins with a plan" in world.state(job).why
    plan = world.plan().plan
    mount = FakeMount(world.data)
    with file_system(mount) as files:
        tree: Tree = PlainTree(mount) if world.direction is Direction.ENCRYPT else files
        tree.mkdir(SOURCE + b"/new", 0o700)
    job = world.begin(MIGRATE, world.start(plan))
    world.stage.go()
    assert "the tree has changed since it was planned" in world.state(job).why
    assert (world.left(), world.at()) == (False, world.source)
    assert world.done(MigrateResult, MIGRATE, world.start(plan, even_changed=True)).standing.state == "done"


def test_the_plan_that_is_kept_can_be_made_with_the_key_only():
    """Who guesses the names of a tree cannot try them by the hash in a record."""
    hashes = []
    for key in (KEY, OTHER_KEY):
        world = World()
        world.data.identity = "fake-cluster/1"
        hashes.append(world.done(PlanResult, PLAN, PlanOptions(key.identifier.hex(), False)).plan.split("-"))
    assert hashes[0][0] == hashes[1][0]
    assert hashes[0][2] != hashes[1][2]


def test_what_is_no_wish_is_refused_at_once():
    world = World()
    for kind in world.stage.kinds:
        if kind.name.startswith("migrate"):
            with pytest.raises(RefusedWishError):
                kind.accept(JobWish("0" * 32, kind.name, FSCID, PATH, {"more": 1}))
    for options in (
        {"workers": 0},
        {"workers": 65},
        {"offline": True, "evict": True},
        {"bytes_per_second": -1.0},
    ):
        with pytest.raises(ValueError, match="must be"):
            world.start("", **options)
    with pytest.raises(RefusedWishError, match="a window is written as"):
        world.begin(MIGRATE, world.start("", window="at night"))


def interrupt(monkeypatch: pytest.MonkeyPatch, at: int, act: Callable[[], object]) -> None:
    """While a migration copies, after so many entries."""
    real, seen = Run.progress, [0]

    def progress(self: Run, done: int, total: int | None = None, unit: str = "") -> None:
        if "copied" in unit:
            seen[0] += 1
            if seen[0] == at:
                act()
        real(self, done, total, unit)

    monkeypatch.setattr(Run, "progress", progress)


@pytest.mark.parametrize("at", [1, 6, 15, 30])
def test_pause_and_resume(world: World, monkeypatch: pytest.MonkeyPatch, at: int):
    plan = world.plan().plan
    job = world.begin(MIGRATE, world.start(plan))
    interrupt(monkeypatch, at, lambda: world.stage.runner.pause(job))
    world.stage.go()
    assert (world.state(job).state, world.at()) == ("paused", world.source)
    assert world.picture(old=True) == world.before
    assert world.data.leases == {}
    world.stage.runner.resume(job)
    world.stage.go()
    assert world.state(job).state == "done"
    assert world.picture() == world.before


@pytest.mark.parametrize("at", [1, 6, 15, 30])
def test_cancelled_it_leaves_the_source_as_it_was(world: World, monkeypatch: pytest.MonkeyPatch, at: int):
    job = world.begin(MIGRATE, world.start(world.plan().plan))
    interrupt(monkeypatch, at, lambda: world.stage.runner.cancel(job))
    world.stage.go()
    assert (world.state(job).state, world.at(), world.left()) == ("cancelled", world.source, False)
    assert world.picture(old=True) == world.before


def test_paused_and_then_cancelled(monkeypatch: pytest.MonkeyPatch):
    world = World()
    job = world.begin(MIGRATE, world.start(world.plan().plan))
    interrupt(monkeypatch, 10, lambda: world.stage.runner.pause(job))
    world.stage.go()
    assert world.left()
    world.stage.runner.cancel(job)
    world.stage.go()
    assert (world.state(job).state, world.left()) == ("cancelled", False)


def test_cancelled_after_the_cut_over_it_is_done(monkeypatch: pytest.MonkeyPatch):
    world = World()
    job = world.begin(MIGRATE, world.start(world.plan().plan))
    real = Migration.late_writes

    def late(self: Migration, record: Any) -> list[bytes]:
        world.stage.runner.cancel(job)
        return real(self, record)

    monkeypatch.setattr(Migration, "late_writes", late)
    world.stage.go()
    assert world.state(job).state == "done"
    assert read(MigrateResult, world.state(job).outcome(), "result").standing.state == "done"
    assert world.picture() == world.before


def test_a_key_that_is_locked_has_it_wait(world: World, monkeypatch: pytest.MonkeyPatch):
    job = world.begin(MIGRATE, world.start(world.plan().plan))
    identifier = world.way.key
    interrupt(monkeypatch, 8, lambda: world.stage.residents.lock(identifier))
    world.stage.go()
    assert (world.state(job).state, world.at()) == ("waiting", world.source)
    world.stage.residents.keep(identifier, 1.0)
    world.stage.runner.hurry()
    world.stage.go()
    assert world.state(job).state == "done"
    assert world.picture() == world.before


def crashed(world: World, act: Callable[[], object]) -> bool:
    """Was the process killed meanwhile?"""
    try:
        act()
    except CrashError:
        return True
    return False


def test_killed_before_each_record_it_goes_on():
    """With a pause and a resume on the way; the source is never lost, and the trees are exchanged once."""
    for crash in range(1, 40):
        world = World()
        plan = world.plan().plan
        world.stage.records.crash_after = world.stage.records.writes + crash
        job = ""

        def whole(world: World = world, plan: str = plan) -> None:
            nonlocal job
            job = f"{world.number + 1:032x}"
            world.begin(MIGRATE, world.start(plan))
            world.stage.runner.pause(job)
            world.stage.go()
            world.stage.runner.resume(job)
            world.stage.go()

        killed = crashed(world, whole)
        if killed:
            world.data.leases.clear()
            world.stage.restart()
            if world.state(job).state == "paused":
                world.stage.runner.resume(job)
            world.stage.go()
            if world.state(job).state == "paused":
                world.stage.runner.resume(job)
                world.stage.go()
        assert world.state(job).state == "done", crash
        assert world.picture() == world.before
        with file_system(FakeMount(world.data)) as files:
            record = Migration(FakeMount(world.data), files, SOURCE).required_record()
        assert (record.state, record.source) == (State.DONE, world.source)
        if not killed:
            break
    else:
        pytest.fail("it never ran through")
    assert crash > 4


def test_killed_between_the_two_renames_it_goes_on(monkeypatch: pytest.MonkeyPatch):
    """Nothing is at the path then."""
    world = World()
    job = world.begin(MIGRATE, world.start(world.plan().plan))
    real = FakeMount.rename

    def rename(self: FakeMount, source: bytes, target: bytes) -> None:
        real(self, source, target)
        if source == SOURCE:
            raise CrashError

    monkeypatch.setattr(FakeMount, "rename", rename)
    assert crashed(world, world.stage.go)
    monkeypatch.undo()
    world.data.leases.clear()
    world.stage.restart()
    world.stage.go()
    assert world.state(job).state == "done", world.state(job).why
    assert world.picture() == world.before


@pytest.mark.parametrize("kind", [PURGE, ROLLBACK, CANCEL])
def test_an_act_that_was_killed_is_done_once(kind: str):
    """Killed before each record: the second run finds done what the first one did."""
    options: dict[str, Options] = {
        PURGE: PurgeOptions(False, False, dry_run=False),
        ROLLBACK: RollbackOptions(False, False, dry_run=False),
        CANCEL: CancelOptions(dry_run=False),
    }
    for crash in range(1, 20):
        world = World()
        world.migrated(copy_only=kind == CANCEL)
        world.stage.records.crash_after = world.stage.records.writes + crash
        job = f"{world.number + 1:032x}"

        def whole(world: World = world) -> None:
            world.begin(kind, options[kind])
            world.stage.go()

        killed = crashed(world, whole)
        if killed:
            world.data.leases.clear()
            world.stage.restart()
            world.stage.go()
        assert world.state(job).state == "done", (crash, world.state(job).why)
        found = read(ActResult, world.state(job).outcome(), "result").standing
        assert (found.state, found.source) == ("copying" if kind == ROLLBACK else "", world.source)
        assert (world.at() == world.source) == (kind != PURGE)
        if not killed:
            break
    else:
        pytest.fail("it never ran through")
    assert crash > 2


def test_clients_that_can_reach_it_block_the_cut_over_and_are_named():
    world = World()
    world.data.sessions = [session(7, hostname="desk")]
    job = world.begin(MIGRATE, world.start(world.plan().plan))
    world.stage.go()
    assert (world.state(job).state, world.at()) == ("failed", world.source)
    assert "client 7 (client.x on desk, root /)" in world.state(job).why
    assert world.done(MigrateResult, MIGRATE, world.start("", evict=True)).evicted == (
        "client 7 (client.x on desk, root /)",
    )
    assert world.picture() == world.before


def test_services_whose_turn_is_over_are_ended_and_nobody_else():
    world = World()
    mine, other = session(8, **{SERVICE: "0" * 32}), session(9)
    world.data.sessions = [mine, other]
    job = world.begin(MIGRATE, world.start(world.plan().plan))
    world.stage.go()
    assert world.data.sessions == [other]
    assert "1 other client" in world.state(job).why


def test_two_at_once_and_a_short_job_beside_them(monkeypatch: pytest.MonkeyPatch):
    """A third migration waits for one of them to end; what is short waits for none."""
    world = World()
    make_source(FakeMount(world.data), Direction.ENCRYPT, b"/more/tree")
    make_source(FakeMount(world.data), Direction.ENCRYPT, b"/most/tree")
    jobs = [
        world.begin(MIGRATE, replace(world.start("0-0-0"), even_changed=True), path)
        for path in (PATH, "/more/tree", "/most/tree")
    ]
    short = world.begin(PLAN, PlanOptions(KEY.identifier.hex(), False), "/most/tree")
    world.stage.runner.step()
    assert [world.state(job).state for job in (*jobs, short)] == ["running", "running", "queued", "running"]


def test_what_cannot_be_copied_is_told_by_its_inode(monkeypatch: pytest.MonkeyPatch):
    world = World()
    plan = world.plan().plan
    real = FakeMount.open

    def broken(self: FakeMount, path: bytes, *words: Any, **more: Any) -> Any:
        if path == SOURCE + b"/d/block":
            raise OSError(5, "no luck", path)
        return real(self, path, *words, **more)

    monkeypatch.setattr(FakeMount, "open", broken)
    job = world.begin(MIGRATE, world.start(plan))
    world.stage.go()
    (error,) = world.state(job).errors
    inode = FakeMount(world.data).stat(SOURCE + b"/d/block").ino
    assert (error.kind, error.examples) == ("not-copied", (f"inode {inode}",))
    assert (world.state(job).state, world.at()) == ("failed", world.source)
    world.require_no_name_kept()
    monkeypatch.undo()
    world.stage.runner.resume(job)
    world.stage.go()
    assert world.state(job).state == "done"


def test_snapshots_above_that_hold_the_old_tree_are_told_until_they_are_gone():
    world = World()
    mount = FakeMount(world.data)
    mount.mkdir(joined(b"/data/.snap", b"before"), 0o755)
    standing = world.migrated().standing
    assert standing.snapshots == ("/data/.snap/before",)
    mount.mkdir(b"/.snap/with trash", 0o755)
    world.done(ActResult, PURGE, PurgeOptions(False, False, dry_run=False))
    mount.mkdir(b"/.snap/after", 0o755)
    looked = world.done(ActResult, LOOK, LookOptions(world.source)).standing
    assert (looked.state, looked.snapshots) == ("", ("/data/.snap/before", "/.snap/with trash"))
    mount.rmdir(b"/data/.snap/before")
    mount.rmdir(b"/.snap/with trash")
    assert world.done(ActResult, LOOK, LookOptions(world.source)).standing.snapshots == ()


def test_kept_as_plain_json(world: World):
    """As the manager of another host reads it."""
    world.migrated()
    for each in world.stage.records.kept.values():
        json.loads(each)
    assert WAYS[world.direction]
