"""Migrations through the manager's brain and the engine service, whole, in memory."""

import errno
import itertools
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from mgr_fscrypt.control import Result
from mgr_fscrypt.control.jobs import JobDetail, Jobs
from mgr_fscrypt.control.migration_watch import AGAIN, REMAINS, STALLED, STILL, MigrationWatch
from mgr_fscrypt.control.migrations import Migrations, NewMigration
from mgr_fscrypt.control.opening import Opening
from mgr_fscrypt.control.refusal import RefusalError
from mgr_fscrypt.control.service import NO_JOBS
from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.messages import KeyFacts, ProtectorFacts
from mgr_fscrypt.messages.job import JobBrief, JobState
from mgr_fscrypt.messages.job import Jobs as Told
from mgr_fscrypt.messages.migration_job import CLOSED, PlanResult
from mgr_fscrypt.messages.service import Ask, Said, Trouble
from mgr_fscrypt.messages.subtree_job import read
from mgr_fscrypt.migrate import Direction, Migration, Way
from mgr_fscrypt.service.jobs.answering import JobAnswers
from mgr_fscrypt.store import LeftMigrationTable, LocalDatabase
from qa.fakes.ceph import FakeMount
from qa.fakes.migration_cases import KEY, KEYS, OTHER_KEY, make_source
from qa.unit.control.test_subtree_acts import Acts

PATH = "/data/tree"
BY_KMS = (ProtectorFacts("kms", "tenant", 1, 0),)


class World(Acts):
    """A manager, a service and a file system with a tree that is plain."""

    def __init__(self, database: LocalDatabase) -> None:
        super().__init__(database)
        self.stage.unlocker.keys = {each: key.expose() for each, key in KEYS.items()}
        for name, key in (("payroll", KEY), ("next", OTHER_KEY)):
            facts = KeyFacts(key.identifier.hex(), name, "acme", "active", 1, 1, 0, 0, 0, BY_KMS)
            assert self.keys.adopt("cephfs", facts.encode()).success
        make_source(FakeMount(self.data), Direction.ENCRYPT, PATH.encode())
        self.left = LeftMigrationTable(database)
        self.date = 0.0
        self.refused: list[str] = []
        # in the order in which they were asked for, since no time passes here
        numbers = itertools.count(1)
        jobs = Jobs(
            service=self,
            cluster=self.servers,
            registered=self.register_.show,
            new_id=lambda: f"{next(numbers):032x}",
        )
        self.migrations = Migrations(
            subtrees=self.register_,
            opening=Opening(keys=self.keys, tenants=self.tenants, answer=lambda work: work()),
            jobs=jobs,
            service=self,
            cluster=self.servers,
            answer=lambda work: work(),
        )
        self.watch = MigrationWatch(
            left=self.left,
            jobs=jobs,
            cluster=self.servers,
            answer=lambda work: work(),
            recorded=self.record,
            now=lambda: self.now,
            date=lambda: self.date,
        )

    def asked(self, ask: object) -> Said:  # type: ignore[override] # wider
        if not self.there:
            raise RefusalError(errno.EAGAIN, "there is no engine service")
        assert callable(ask)
        wish: Ask = ask()
        with closing(_Closing(JobAnswers(self.stage.runner))) as answers:
            said = answers.answers.answer(wish)  # type: ignore[arg-type] # about jobs
        if isinstance(said, Trouble):
            self.refused.append(said.text)
            raise RefusalError(errno.ENOENT if said.code == "no-such-job" else errno.EPERM, said.text)
        return said

    def done(self, result: Result) -> JobState:
        """The job that a command began, when it is done and all that follows."""
        assert isinstance(result.answer, JobDetail), result.status
        self.step()
        state = self.stage.runner.state(result.answer.job.id)
        assert state.state == "done", state.why
        return state

    def plan_of(self, **more: object) -> Result:
        return self.migrations.plan(NewMigration("cephfs", PATH, **{"key": "payroll", **more}))  # type: ignore[arg-type]

    def plan(self, **more: object) -> str:
        return read(PlanResult, self.done(self.plan_of(**more)).outcome(), "result").plan

    def start(self, **more: object) -> Result:
        return self.migrations.start(NewMigration("cephfs", PATH, **{"key": "payroll", **more}))  # type: ignore[arg-type]

    def migrate(self, **more: object) -> JobState:
        words = {name: value for name, value in more.items() if name in ("key", "decrypt")}
        return self.done(self.start(plan=self.plan(**words), **more))

    def inode(self) -> int:
        return FakeMount(self.data).stat(PATH.encode()).ino


class _Closing:
    def __init__(self, answers: JobAnswers) -> None:
        self.answers = answers

    def close(self) -> None:
        self.answers.end()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr("mgr_fscrypt.engine.waiting._STEPS", (0,))
    with closing(LocalDatabase()) as database:
        yield World(database)


def test_the_register_follows_the_trees(world: World):
    source = world.inode()
    world.migrate()
    line = world.line(PATH)
    assert (line.inode, line.key_identifier) == (world.inode(), KEY.identifier.hex())
    assert line.inode != source
    (left,) = world.left.all()
    assert (left.path, left.direction, left.source, left.trash) == (PATH, "encrypt", source, True)
    world.done(world.migrations.rollback("cephfs", PATH))
    assert (world.line(PATH), world.inode(), world.left.all()) == (None, source, ())
    world.done(world.start())
    assert world.line(PATH).inode == world.inode()
    world.done(world.migrations.purge("cephfs", PATH))
    assert world.left.all() == ()

    # under another key, and back into the clear
    first = world.inode()
    world.migrate(key="next")
    assert (world.line(PATH).key_identifier, world.inode() != first) == (OTHER_KEY.identifier.hex(), True)
    world.done(world.migrations.purge("cephfs", PATH))
    world.migrate(key=None, decrypt=True, confirm=f"store {PATH} in the clear")
    assert world.line(PATH) is None
    assert [each[0] for each in world.acts][-1] == "subtree forget"
    before = list(world.acts)
    world.finish()
    assert world.acts == before, "once"


def test_a_dry_run_changes_nothing(world: World):
    world.migrate()
    left, line = world.left.all(), world.line(PATH)
    for act in (world.migrations.rollback, world.migrations.purge):
        world.done(act("cephfs", PATH, dry_run=True))
    assert (world.left.all(), world.line(PATH)) == (left, line)


def test_what_is_not_asked_for_in_full_is_refused(world: World):
    for asked, why in (
        (NewMigration("cephfs", PATH), "name the key by --master-key"),
        (NewMigration("cephfs", "/", key="payroll"), "has nothing beside it"),
        (NewMigration("cephfs", PATH, key="payrol"), "payroll"),
        (NewMigration("other", PATH, key="payroll"), "other"),
        (NewMigration("cephfs", PATH, key="payroll", decrypt=True), "takes no --master-key"),
    ):
        refused = world.migrations.plan(asked)
        assert (refused.success, why in refused.status) == (False, True), refused.status
    refused = world.start(key=None, decrypt=True)
    assert f"--confirm 'store {PATH} in the clear'" in refused.status
    for refused in (world.plan_of(exclude="/d/block"), world.start(plan="1-2-3", include="0")):
        assert (refused.code, "must be numbers of inodes" in refused.status) == (errno.EINVAL, True)
    for verb in (world.migrations.verify, world.migrations.rollback):
        assert "workers must be from 1 to 64" in verb("cephfs", PATH, workers=65).status
    refused = world.start(workers=0)
    assert (refused.code, "workers must be from 1 to 64" in refused.status) == (errno.EINVAL, True)
    assert world.stage.kept == {}


def test_a_directory_in_a_subtree_is_refused_before_its_name_is_kept(world: World):
    world.migrate()
    kept = set(world.stage.kept)
    inside = f"{PATH}/secret"
    for refused in (
        world.migrations.plan(NewMigration("cephfs", inside, key="next")),
        world.migrations.start(NewMigration("cephfs", inside, key="next", plan="1-2-3")),
        world.migrations.verify("cephfs", inside),
        world.migrations.purge("cephfs", inside),
        world.migrations.cancel("cephfs", inside),
    ):
        assert f"lies in the encrypted subtree {PATH} of cephfs" in refused.status
    assert set(world.stage.kept) == kept


def test_a_key_that_the_service_cannot_open_is_left_to_a_client(world: World):
    by_people = (ProtectorFacts("me", "passphrase", 1, 0),)
    facts = KeyFacts("ab" * 16, "mine", "acme", "active", 1, 1, 0, 0, 0, by_people)
    world.keys.adopt("cephfs", facts.encode())
    plan = world.migrations.plan(NewMigration("cephfs", PATH, key="mine"))
    start = world.start(key="mine", plan="1-2-3", evict=True, namespace="a b")
    for refused, line in (
        (plan, "plan /data/tree --fs cephfs --key-name mine --open passphrase"),
        (
            start,
            "start /data/tree --fs cephfs --key-name mine --plan HASH --namespace 'a b' --evict --open passphrase",
        ),
    ):
        assert refused.code == errno.EOPNOTSUPP
        assert refused.status.endswith(f"run on a client: cephfs-fscrypt migrate {line}")
    world.there = False
    away = world.start()
    assert (away.code, "`cephfs-fscrypt migrate start /data/tree --fs cephfs`" in away.status) == (
        errno.EAGAIN,
        True,
    )


def test_what_is_left_out_is_a_matter_of_inodes(world: World):
    inode = FakeMount(world.data).stat(f"{PATH}/one".encode()).ino
    begun = world.done(world.start(plan=world.plan(exclude=f"{inode}"), exclude=f"{inode}, {inode}"))
    assert begun.wish.options["exclude"] == f"{inode},{inode}"
    asked = NewMigration("cephfs", PATH, exclude="12", include="34")
    assert asked.words == (PATH, "--exclude", "12", "--include", "34")


def test_who_has_no_key_can_have_it_compared(world: World):
    world.migrate()
    by_people = (ProtectorFacts("me", "passphrase", 1, 0),)
    facts = KeyFacts(KEY.identifier.hex(), "payroll", "acme", "active", 1, 2, 0, 0, 0, by_people)
    assert world.keys.adopt("cephfs", facts.encode()).success
    assert world.migrations.verify("cephfs", PATH).code == errno.EOPNOTSUPP
    assert world.done(world.migrations.verify("cephfs", PATH, no_key=True)).state == "done"


def test_cancel_ends_the_job_that_copies_and_else_removes_what_is_left(world: World):
    begun = world.start(plan=world.plan(), copy_only=True)
    assert isinstance(begun.answer, JobDetail)
    told = world.migrations.cancel("cephfs", PATH, dry_run=True)
    assert told.status.startswith(f"would cancel job {begun.answer.job.id}")
    assert world.migrations.cancel("cephfs", PATH).success
    assert world.stage.runner.state(begun.answer.job.id).state == "cancelled"
    world.migrate(copy_only=True)
    assert world.done(world.migrations.cancel("cephfs", PATH)).wish.kind == "migrate-cancel"


def test_status_is_the_newest_job(world: World):
    assert world.migrations.status("cephfs", PATH).code == errno.ENOENT
    job = world.migrate()
    shown = world.migrations.status("cephfs", PATH).answer
    assert isinstance(shown, JobDetail)
    assert shown.job.id == job.id
    verified = world.done(world.migrations.verify("cephfs", PATH))
    assert verified.wish.kind == "migrate-verify"
    verified = world.done(world.migrations.verify("cephfs", PATH, no_key=True))
    assert verified.wish.options == {"workers": 2, "no_key": True}


def test_plaintext_is_told_of_until_it_is_gone(world: World):
    mount = FakeMount(world.data)
    mount.mkdir(b"/data/.snap/before", 0o755)
    world.migrate()
    world.watch.look(NO_JOBS)
    check = world.watch.checks()[REMAINS]
    assert check["count"] == 2
    assert "run `ceph fscrypt migrate purge cephfs /data/tree`" in check["detail"][0]
    assert "snapshot /data/.snap/before has the old tree" in check["detail"][1]
    world.done(world.migrations.purge("cephfs", PATH))
    world.watch.look(NO_JOBS)
    assert world.watch.checks()[REMAINS]["count"] == 1
    kept = set(world.stage.kept)
    mount.rmdir(b"/data/.snap/before")
    world.watch.look(NO_JOBS)
    assert set(world.stage.kept) >= kept
    world.now += AGAIN
    for _ in range(2):
        world.watch.look(NO_JOBS)
        world.step()
    world.watch.look(NO_JOBS)
    assert (world.watch.checks(), world.left.all()) == ({}, ())
    assert set(world.stage.kept) == kept, "looks are forgotten"


def test_the_old_tree_goes_when_its_time_has_come(world: World, monkeypatch: pytest.MonkeyPatch):
    world.migrate(keep_trash="7d")
    (left,) = world.left.all()
    assert left.kept_until > 7 * 86400
    world.date = left.kept_until - 1
    world.watch.look(NO_JOBS)
    assert "to be purged at" in world.watch.checks()[REMAINS]["detail"][0]
    world.step()
    assert world.left.all() == (left,)
    # somebody has said another time since, and told nobody here
    mount = FakeMount(world.data)
    way = Way(PATH.encode(), Direction.ENCRYPT, KEY.identifier)
    with FileSystem(mount, Keyring()) as files:
        later = Migration(mount, files, PATH.encode()).start(way, "", keep=14 * 86400).kept_until
    for until, remains in ((left.kept_until, (replace(left, kept_until=later),)), (later, ())):
        world.date, world.now = until, world.now + AGAIN
        with monkeypatch.context() as then:
            then.setattr("mgr_fscrypt.service.kinds.migrated.time.time", lambda now=until: now)
            world.watch.look(NO_JOBS)
            assert world.acts[-1][:3] == ("migrate purge", "cephfs", PATH)
            world.step()
        assert world.left.all() == remains
    refused = world.start(keep_trash="soon")
    assert (refused.code, "such as 7d" in refused.status) == (errno.EINVAL, True)
    refused = world.start(keep_trash="0d")
    assert (refused.code, "more than 0, or `never`" in refused.status) == (errno.EINVAL, True)


def test_a_file_system_that_the_service_does_not_see_to_holds_up_no_other(world: World):
    world.servers.required["scratch"] = set()
    world.migrate()
    (left,) = world.left.all()
    world.left.remove(1, PATH)
    for path in ("/a", "/b"):
        world.left.put(replace(left, fscid=2, path=path))
    world.there = False
    world.watch.look(NO_JOBS)
    assert world.refused == []
    world.there = True
    for _ in range(2):
        world.watch.look(NO_JOBS)
    assert world.refused == ["this service works for file system 1, not for 2; nothing was changed"] * 2


def test_what_was_not_in_the_clear_is_no_plaintext(world: World):
    world.migrate()
    world.done(world.migrations.purge("cephfs", PATH))
    world.migrate(key="next")
    world.watch.look(NO_JOBS)
    assert [each.direction for each in world.watch.known] == ["re-encrypt"]
    assert world.watch.checks() == {}


def brief(state: str, done: int = 5, kind: str = "migrate", why: str = "") -> JobBrief:
    return JobBrief("7" * 32, kind, 1, PATH, state, why, 0.0, done, 10, "entries", None)


def test_a_migration_without_progress_is_told(world: World):
    def look(*jobs: JobBrief) -> bool:
        world.watch.look(Told(len(jobs), 0, 0, jobs))
        return STALLED in world.watch.checks()

    assert not look(brief("running"))
    world.now += STILL - 1
    assert not look(brief("running"))
    world.now += 1
    assert look(brief("running"))
    assert "running without progress for 600 s" in world.watch.checks()[STALLED]["detail"][0]
    assert not look(brief("running", done=6))
    world.now += STILL
    assert not look(brief("paused", done=6))
    assert not look(brief("waiting", why="its key is locked"))
    world.now += STILL
    assert look(brief("waiting", why="its key is locked"))
    assert "its key is locked" in world.watch.checks()[STALLED]["detail"][0]
    assert look(brief("failed", why="2 other clients"))
    assert not look(brief("failed", kind="verify"))
    # nor what may not go on now
    closed = replace(brief("running"), unit=f"entries, 5 bytes copied ({CLOSED})")
    assert not look(closed)
    world.now += STILL
    assert not look(closed)
