"""Subtrees made, changed, removed and found by jobs: the manager's brain and the engine service, whole, in memory."""

import errno
import json
import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import pytest

from mgr_fscrypt.control import KeyLine, Keys, Result, Subtrees, Tenants
from mgr_fscrypt.control.follow_up import PATIENCE, SILENCE, CreationStory, FollowUp
from mgr_fscrypt.control.gate_answers import UNPROTECTED
from mgr_fscrypt.control.gates import Wanted
from mgr_fscrypt.control.jobs import JobDetail, Jobs
from mgr_fscrypt.control.migration_outcomes import MigrationOutcomes
from mgr_fscrypt.control.new_subtree import NewSubtree
from mgr_fscrypt.control.opening import Opening
from mgr_fscrypt.control.refusal import RefusalError
from mgr_fscrypt.control.subtree_detail import SubtreeDetail
from mgr_fscrypt.control.subtree_jobs import Begun, SubtreeJobs
from mgr_fscrypt.engine import FileMode, FileSystem, Keyring
from mgr_fscrypt.format import AUTH_XATTR, MasterKey
from mgr_fscrypt.messages import KeyFacts, ProtectorFacts, TenantFacts
from mgr_fscrypt.messages.job import MOST_IN_STATUS, JobState, JobWish
from mgr_fscrypt.messages.service import Ask, JobQuestion, JobsQuestion, Said, StartJob
from mgr_fscrypt.service.jobs import (
    Controls,
    JobFailedError,
    JobRefusedError,
    Kind,
    NoSuchJobError,
    Outcome,
)
from mgr_fscrypt.service.jobs.runner import RECENT
from mgr_fscrypt.service.kinds import kinds_of
from mgr_fscrypt.service.kinds.place import Place
from mgr_fscrypt.store import KeyTable, LeftMigrationTable, LocalDatabase, TenantTable
from qa.fakes.ceph import FakeCluster, FakeMount
from qa.fakes.crew import FakeCrew
from qa.fakes.jobs import Stage
from qa.fakes.servers import session
from qa.fakes.service import KEY, SECRET
from qa.unit.control.test_gates import EVERYWHERE, World
from qa.unit.engine.test_neighbours import made

NAMED = KeyFacts(
    KEY.hex(), "payroll", "acme", "active", 1, 1, 0, 0, 0, (ProtectorFacts("kms", "tenant", 1, 0),)
)
NEW = NewSubtree("cephfs", "/s", key="payroll", namespace="fscrypt-s", admit="client.friend")


class Acts(World):
    """A manager, a service and a file system."""

    def __init__(self, database: LocalDatabase, before: "Acts | None" = None) -> None:
        super().__init__(database)
        self.data = FakeCluster() if before is None else before.data
        self.mount = FakeMount(self.data)
        self.stage = (
            Stage(*kinds_of(self.reach, nullcontext, FakeCrew(self.data))) if before is None else before.stage
        )
        if before is not None:
            self.servers = before.servers
            super().__post_init__()
        self.marks: dict[str, str] = {} if before is None else before.marks
        self.there = True
        self.away = False
        self.keys = Keys(store=KeyTable(database), cluster=self.servers, clock=lambda: self.now)
        self.tenants = Tenants(store=TenantTable(database), cluster=self.servers, clock=lambda: self.now)
        self.register_ = Subtrees(
            store=self.subtrees, cluster=self.servers, clock=lambda: self.now, key=self.keys.line
        )
        jobs = Jobs(
            service=self,
            cluster=self.servers,
            registered=self.register_.show,
            new_id=lambda: uuid.uuid4().hex,
        )
        parts: Any = {
            "subtrees": self.register_,
            "gates": self.gates,
            "jobs": jobs,
            "answer": self.work,
            "own": lambda: "",
        }
        self.follow = FollowUp(
            service=self,
            evictions=self.evictions,
            migrations=MigrationOutcomes(
                service=self,
                subtrees=self.register_,
                left=LeftMigrationTable(database),
                answer=lambda work: work(),
                recorded=self.record,
            ),
            cluster=self.servers,
            recorded=self.record,
            hurry=lambda: None,
            marks=self,
            now=lambda: self.now,
            log=logging.getLogger("test"),
            **parts,
        )
        opening = Opening(keys=self.keys, tenants=self.tenants, answer=lambda work: work())
        self.acts_ = SubtreeJobs(opening=opening, creations=self.follow, **parts)
        self.observer.look()

    @contextmanager
    def reach(self) -> Iterator[Place]:
        yield Place(FakeMount(self.data), self.data)

    def asked(self, ask: Callable[[], Ask]) -> Said:
        """The service, as `ServiceKeeper.asked` has it."""
        if not self.there:
            raise RefusalError(errno.EAGAIN, "there is no engine service")
        try:
            match ask():
                case StartJob(wish=wish):
                    return self.stage.runner.begin_job(wish)
                case JobQuestion(id=job):
                    return self.stage.runner.state(job)
                case JobsQuestion() as asked:
                    return self.stage.runner.page(replace(asked, limit=2))
                case other:
                    pytest.fail(f"nobody asks {other}")
        except JobRefusedError as error:
            raise RefusalError(errno.EPERM, str(error)) from error
        except NoSuchJobError as error:
            raise RefusalError(errno.ENOENT, str(error)) from error

    def work(self, work: Callable[[], Result]) -> Result:
        """The database, as `Waiting.answer` has it."""
        return Result.failed(errno.EAGAIN, "it is away") if self.away else work()

    def mark(self, name: str) -> str | None:
        return self.marks.get(name)

    def set_mark(self, name: str, text: str) -> None:
        self.marks[name] = text

    def step(self) -> None:
        """The service works, and tells; the manager goes on from that."""
        self.stage.go()
        self.follow.seen(self.stage.runner.glance())
        self.follow.round()

    def finish(self) -> None:
        """All that follows."""
        for _ in range(4):
            self.step()
            self.settle()

    def job(self, result: Result) -> JobState:
        """The job that a command began, as it stands now."""
        answer = result.answer.job if isinstance(result.answer, Begun) else result.answer
        assert isinstance(answer, JobDetail), result.status
        return self.stage.runner.state(answer.job.id)

    def line(self, path: str = "/s") -> Any:
        found = self.register_.show("cephfs", path).answer
        return found.subtree if isinstance(found, SubtreeDetail) else None

    def story(self, path: str = "/s") -> CreationStory:
        found = self.follow.told(self.register_.show("cephfs", path), "cephfs", path).answer
        assert isinstance(found, CreationStory)
        return found

    def files(self) -> FileSystem:
        keyring = Keyring()
        keyring.add(MasterKey(SECRET))
        return FileSystem(FakeMount(self.data), keyring, durable_close=True)


@pytest.fixture
def world() -> Iterator[Acts]:
    with closing(LocalDatabase()) as database:
        world = Acts(database)
        world.servers.caps = {
            "client.admin": {"mon": "allow *", "mds": "allow *", "osd": "allow *"},
            "client.stray": {"mon": "allow r", "mds": "allow rw", "osd": EVERYWHERE},
            "client.friend": {"mon": "allow r", "mds": "allow rw", "osd": EVERYWHERE},
        }
        world.observer.look()
        assert world.keys.adopt("cephfs", NAMED.encode()).success
        yield world


def encrypted(world: Acts, path: bytes = b"/s") -> bool:
    try:
        return bool(world.mount.getxattr(path, AUTH_XATTR))
    except OSError:
        return False


def test_it_is_looked_at_then_gated_then_made_then_registered(world: Acts):
    begun = world.acts_.create(NEW)
    assert (begun.code, begun.changed) == (0, True)
    assert "ceph auth caps client.stray" in begun.rendered(None)[1]
    assert world.story().stage == "looking"
    world.step()
    assert (world.story().stage, world.state("/s"), encrypted(world)) == ("gating", "wanted", False)
    world.step()
    assert not encrypted(world), "others are kept out first"
    world.settle()
    assert 'namespace=""' in world.osd("client.stray")
    world.step()
    assert (world.story().stage, encrypted(world)) == ("making", False)
    world.step()
    assert (world.line().mode, world.line().key_identifier) == ("engine", KEY.hex())
    assert world.mount.layout(b"/s").namespace == "fscrypt-s"
    assert [act[0] for act in world.acts if act[1:3] == ("cephfs", "/s")][-1] == "subtree adopt"
    before = list(world.acts)
    world.finish()
    assert world.acts == before, "once"


def test_the_same_again_does_nothing(world: Acts):
    world.acts_.create(NEW)
    assert world.acts_.create(NEW).code == 0
    world.finish()
    inode, caps = world.line().inode, dict(world.servers.caps)
    world.acts_.create(NEW)
    world.finish()
    assert (world.line().inode, dict(world.servers.caps)) == (inode, caps)
    assert world.follow.told(Result.failed(errno.ENOENT, ""), "cephfs", "/s").code == errno.ENOENT


@pytest.mark.parametrize("rounds", range(4))
def test_after_a_failover_the_same_command_goes_on(world: Acts, rounds: int):
    world.acts_.create(NEW)
    for _ in range(rounds):
        world.step()
        world.settle()
    other = Acts(world.database, world)
    other.acts_.create(NEW)
    other.finish()
    assert other.line() is not None
    assert other.state("/s") == "set"


def test_a_dry_run_changes_nothing(world: Acts):
    looked = world.acts_.create(NEW, dry_run=True)
    world.finish()
    assert (world.job(looked).state, world.job(looked).outcome()["found"]) == ("done", "missing")
    assert not encrypted(world)
    assert world.gates.show("cephfs", "/s").code == errno.ENOENT
    assert world.acts == []


@pytest.mark.parametrize("gated", [True, False])
def test_without_a_gate_health_tells_of_it_until_it_has_one(world: Acts, gated: bool):
    world.acts_.create(replace(NEW, namespace=None, admit=None, unprotected=True))
    world.finish()
    assert (world.line().mode, world.state("/s")) == ("engine", "open")
    assert world.mount.layout(b"/s").namespace == ""
    assert "cephfs /s" in json.dumps(world.keeper.checks()[UNPROTECTED])
    if gated:
        world.gates.set(Wanted("cephfs", "/s", "isolate", namespace="fscrypt-x"))
        world.settle()
        assert UNPROTECTED not in world.keeper.checks()
    world.gates.set(Wanted("cephfs", "/s", "observe"))
    world.settle()
    assert UNPROTECTED not in world.keeper.checks()
    assert world.gates.show("cephfs", "/s").code == errno.ENOENT


def test_a_subvolume_is_gated_where_its_data_lies(world: Acts):
    meta = b"[GLOBAL]\nversion = 2\ntype = subvolume\npath = /volumes/g/n/u\nstate = complete\n"
    made(world.mount, b"/volumes/g/n/.meta", meta)
    made(world.mount, b"/volumes/g/n/u")
    asked = replace(NEW, path=None, subvolume="n", group="g", namespace=None)
    world.acts_.create(asked)
    assert world.story("/volumes/g/n").stage == "looking"
    world.finish()
    assert world.line("/volumes/g/n/u").mode == "engine"
    assert world.mount.layout(b"/volumes/g/n/u").namespace.startswith("fscrypt-u-")
    assert world.state("/volumes/g/n/u") == "set"


def test_what_is_in_the_way_ends_it_before_anything_is_changed(world: Acts):
    made(world.mount, b"/s/d")
    world.acts_.create(NEW)
    world.finish()
    assert (world.story().stage, world.gates.show("cephfs", "/s").code) == ("failed", errno.ENOENT)
    assert "only an empty directory" in world.story().why
    assert "was not made: " in world.acts[-1][-1]


def test_a_gate_is_taken_back_where_the_making_fails(world: Acts):
    before = world.osd("client.stray")
    world.acts_.create(NEW)
    world.step()
    made(world.mount, b"/s/d")
    world.finish()
    world.finish()
    assert world.story().stage == "failed"
    assert (world.osd("client.stray"), encrypted(world)) == (before, False)


class Failing:
    """A job `create` that fails after its policy was set, or before.

    Args:
        kind: the real one.
        after: it fails after.
    """

    name, changes, lasting = "create", True, False

    def __init__(self, kind: Kind, *, after: bool) -> None:
        self._kind = kind
        self._after = after

    def accept(self, wish: JobWish) -> None:
        self._kind.accept(wish)

    def run(self, wish: JobWish, controls: Controls) -> Outcome:
        if wish.options["dry_run"] or self._after:
            outcome = self._kind.run(wish, controls)
        if not wish.options["dry_run"]:
            raise JobFailedError("it broke", remedy="mend it")
        return outcome


@pytest.mark.parametrize("after", [False, True])
def test_a_failed_making_that_set_the_policy_keeps_its_gate(world: Acts, after: bool):
    before = world.osd("client.stray")
    kinds = [each for each in world.stage.kinds if each.name != "create"]
    (create,) = (each for each in world.stage.kinds if each.name == "create")
    world.stage = Stage(*kinds, Failing(create, after=after))
    world.acts_.create(NEW)
    world.finish()
    world.finish()
    assert encrypted(world) is after
    if after:
        assert (world.state("/s"), world.line().key_identifier) == ("set", KEY.hex())
        assert "it broke; mend it; its directory has a policy all the same, so its gate stays" in str(
            world.acts
        )
    else:
        assert (world.story().stage, world.story().why) == ("failed", "it broke; mend it")
        assert (world.osd("client.stray"), world.line()) == (before, None)


def test_a_gate_stays_where_nobody_could_see_whether_it_is_needed(world: Acts):
    kinds = [each for each in world.stage.kinds if each.name not in ("create", "adopt")]
    (create,) = (each for each in world.stage.kinds if each.name == "create")
    world.stage = Stage(*kinds, Failing(create, after=True))
    world.acts_.create(NEW)
    world.finish()
    world.finish()
    assert (world.state("/s"), world.story().stage) == ("set", "failed")
    assert "its gate stays, for nobody could see whether it is needed" in world.story().why


def test_a_gate_that_is_never_set_ends_it(world: Acts):
    world.acts_.create(NEW)
    world.servers.silent = {"client.stray"}
    world.finish()
    assert world.story().stage == "gating"
    world.now += PATIENCE + 1
    world.observer.look()
    world.step()
    assert "was not set within 600 s" in world.story().why


def test_a_place_is_made_something_of_by_one_at_a_time(world: Acts):
    world.acts_.create(NEW)
    world.step()
    other = replace(NEW, namespace="fscrypt-other")
    refused = world.acts_.create(other)
    assert (refused.code, "is being made already" in refused.status) == (errno.EBUSY, True)
    assert world.acts_.create(NEW).success
    assert world.acts_.create(other, dry_run=True).success
    world.finish()
    assert (world.line() is None, world.state("/s")) == (False, "set")
    # now it is looked at, and refused for what it is
    world.acts_.create(other)
    world.finish()
    assert world.state("/s") == "set"


def test_a_service_that_is_away_is_waited_for(world: Acts):
    world.there = False
    refused = world.acts_.create(NEW)
    assert (refused.code, world.gates.show("cephfs", "/s").code) == (errno.EAGAIN, errno.ENOENT)
    world.there = True
    world.acts_.create(NEW)
    world.there = False
    world.finish()
    assert (world.story().stage, "no engine service" in world.story().why) == ("looking", True)
    world.there = True
    world.finish()
    assert world.line() is not None


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "no place": ({"path": None}, errno.EINVAL, "name the directory"),
    "two places": ({"subvolume": "n"}, errno.EINVAL, "name the directory"),
    "a group of nothing": ({"group": "g"}, errno.EINVAL, "--group goes with"),
    "no name": ({"path": None, "subvolume": "../n"}, errno.EINVAL, "not the name of a subvolume"),
    "the root": ({"path": "/"}, errno.EINVAL, "the root"),
    "no path": ({"path": "s"}, errno.EINVAL, "does not begin with /"),
    "no key": ({"key": None}, errno.EINVAL, "--master-key"),
    "another key": ({"key": "payrol"}, errno.ENOENT, 'did you mean "payroll"?'),
    "another file system": ({"fs_name": "cephf"}, errno.ENOENT, 'did you mean "cephfs"?'),
    "no mode": ({"mode": "both"}, errno.EINVAL, "engine or kernel"),
    "no cipher": ({"contents": "rot13"}, errno.EINVAL, "AES-256-XTS"),
    "no padding": ({"padding": 5}, errno.EINVAL, "4, 8, 16 or 32"),
    "both": ({"unprotected": True}, errno.EINVAL, "--namespace, --admit and --unprotected exclude"),
    "nobody": ({"admit": "client.freind"}, errno.ENOENT, 'did you mean "client.friend"?'),
    "no namespace": ({"namespace": ""}, errno.EINVAL, "--namespace must be"),
    "in another one": ({"path": "/vault/s"}, errno.EEXIST, "lie one in the other"),
    "of others unknown": ({}, errno.EINVAL, "/vault is registered, too"),
    "another one": ({"path": "/vault"}, errno.EEXIST, "registered with the key"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_makes_no_sense_is_refused_at_once(world: Acts, name: str):
    said, code, words = REFUSED[name]
    if "vault" in f"{words} {said}":
        world.register("/vault")
    refused = world.acts_.create(replace(NEW, **said))
    assert refused.code == code
    assert words in refused.status
    assert "nothing was changed" in refused.status or code == errno.ENOENT
    assert world.stage.runner.glance().told == ()


def test_what_takes_a_secret_is_the_line_for_a_client(world: Acts):
    by_phrase = replace(NAMED, generation=2, protectors=(ProtectorFacts("mine", "passphrase", 1, 0),))
    world.keys.adopt("cephfs", by_phrase.encode())
    refused = world.acts_.create(NEW)
    assert refused.code == errno.EOPNOTSUPP
    assert (
        "cephfs-fscrypt subtree create /s --make --key-name payroll --namespace fscrypt-s --open passphrase --fs cephfs"
        in refused.status
    )
    in_a_subvolume = replace(NEW, path=None, subvolume="n", namespace=None)
    assert (
        'create "$(ceph fs subvolume getpath cephfs n)" --make' in world.acts_.create(in_a_subvolume).status
    )
    # the key of its tenant has no key manager
    world.keys.adopt("cephfs", replace(NAMED, generation=3).encode())
    world.tenants.adopt("cephfs", TenantFacts("acme", 1, 1, 0, (), ("recovery-code",)).encode())
    assert "--open recovery-code" in world.acts_.create(NEW).status
    world.keys.adopt("cephfs", replace(NAMED, generation=4, state="disabled").encode())
    assert (world.acts_.create(NEW).code, "is disabled" in world.acts_.create(NEW).status) == (
        errno.EPERM,
        True,
    )


def test_a_change_of_modes_is_told_to_the_register(world: Acts):
    world.acts_.create(NEW)
    world.finish()
    with world.files() as files, files.create("/s/f") as file:
        file.pwrite(b"x" * 5000, 0)
    looked = world.acts_.release("cephfs", "/s", dry_run=True)
    world.finish()
    assert (world.job(looked).outcome()["changed"], world.line().mode) == (1, "engine")
    world.acts_.release("cephfs", "/s")
    world.finish()
    assert world.line().mode == "kernel"
    held = world.acts_.hold("cephfs", "/s")
    world.finish()
    assert (world.line().mode, world.job(held).outcome()["changed"]) == ("engine", 1)


def test_what_was_done_last_is_what_is_registered(world: Acts):
    world.acts_.create(NEW)
    world.finish()
    for change in (world.acts_.release, world.acts_.hold):
        assert change("cephfs", "/s").success
        world.stage.go()
        world.stage.clock.time += 1
    world.follow.seen(world.stage.runner.glance())
    world.follow.round()
    assert world.line().mode == "engine"


@pytest.mark.parametrize("restarted", [False, True])
def test_what_jobs_found_while_no_manager_was_there_is_registered_by_the_next_one(
    world: Acts, restarted: bool
):
    for path in ("/s", "/t", "/u"):
        world.acts_.create(replace(NEW, path=path, namespace=None))
        world.finish()
    world.acts_.release("cephfs", "/s")
    world.acts_.remove("cephfs", "/t", confirm="/t")
    world.stage.go()
    world.stage.clock.time += 1
    world.acts_.hold("cephfs", "/u")
    world.stage.go()
    world.stage.clock.time += 10 * RECENT
    if restarted:
        world.stage.restart()
    assert not [each for each in world.stage.runner.glance().told if each.state == "done"]
    other = Acts(world.database, world)
    other.finish()
    assert [other.line(path) and other.line(path).mode for path in ("/s", "/t", "/u")] == [
        "kernel",
        None,
        "engine",
    ]
    # once: what was said since of a subtree is not overwritten by an old job
    other.register("/s", mode="engine")
    after = Acts(other.database, other)
    after.finish()
    assert (after.line("/s").mode, after.acts) == ("engine", [])


class FailingOnce:
    """A job that fails, and goes on when it is told to."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self.name, self.changes, self.lasting = kind.name, kind.changes, kind.lasting
        self._failed = False

    def accept(self, wish: JobWish) -> None:
        self._kind.accept(wish)

    def run(self, wish: JobWish, controls: Controls) -> Outcome:
        if not self._failed:
            self._failed = True
            raise JobFailedError("others are there", remedy="end them")
        return self._kind.run(wish, controls)


def test_what_a_job_did_that_failed_first_is_registered(world: Acts):
    others = [each for each in world.stage.kinds if each.name != "release"]
    (release,) = (each for each in world.stage.kinds if each.name == "release")
    world.stage = Stage(*others, FailingOnce(release))
    world.acts_.create(NEW)
    world.finish()
    job = world.job(world.acts_.release("cephfs", "/s"))
    world.finish()
    assert (world.stage.runner.state(job.id).state, world.line().mode) == ("failed", "engine")
    world.stage.runner.resume(job.id)
    world.finish()
    assert world.line().mode == "kernel"


def test_what_jobs_found_while_the_database_was_away_is_registered_when_it_is_back(world: Acts):
    world.acts_.create(NEW)
    world.finish()
    world.acts_.release("cephfs", "/s")
    world.stage.go()
    world.away = True
    for _ in range(3):
        world.follow.seen(world.stage.runner.glance())
        world.follow.round()
        world.stage.clock.time += RECENT
        world.now += 1
    assert world.line().mode == "engine"
    world.away = False
    world.follow.seen(world.stage.runner.glance())
    world.follow.round()
    assert world.line().mode == "kernel"


def test_a_service_that_was_silent_for_long_is_asked_for_all(world: Acts):
    world.acts_.create(NEW)
    world.finish()
    world.acts_.release("cephfs", "/s")
    world.stage.go()
    world.stage.clock.time += 10 * RECENT
    world.follow.seen(world.stage.runner.glance())
    world.follow.round()
    assert world.line().mode == "engine", "it told all the time"
    world.now += SILENCE + 1
    world.there = False
    world.follow.seen(world.stage.runner.glance())
    world.follow.round()
    world.there = True
    world.follow.seen(world.stage.runner.glance())
    world.follow.round()
    assert world.line().mode == "kernel"


def test_a_change_of_modes_that_takes_a_secret_is_the_line_for_a_client(world: Acts):
    world.register("/vault")
    told = world.acts_.release("cephfs", "/vault")
    assert (told.code, "key rescan" in told.status) == (errno.EOPNOTSUPP, True)
    assert "cephfs-fscrypt subtree release /vault --fs cephfs --key FILE" in told.status
    told = world.acts_.hold("cephfs", "/vault", copy=True)
    assert "cephfs-fscrypt subtree hold /vault --fs cephfs --copy --key FILE" in told.status
    # this one needs no key
    assert world.acts_.hold("cephfs", "/vault").code == 0
    assert world.acts_.release("cephfs", "/vult").code == errno.ENOENT


def test_rm_takes_the_gate_and_the_record_with_it(world: Acts):
    before = world.osd("client.stray")
    world.acts_.create(NEW)
    world.finish()
    with world.files() as files:
        files.mkdir("/s/d")
    told = world.acts_.remove("cephfs", "/s", contents=True)
    assert (told.code, "--confirm /s" in told.status) == (errno.EPERM, True)
    looked = world.acts_.remove("cephfs", "/s", contents=True, dry_run=True)
    world.finish()
    assert (world.job(looked).outcome(), world.line() is None) == ({"files": 0, "directories": 1}, False)
    kept = world.acts_.remove("cephfs", "/s", confirm="/s")
    world.finish()
    assert (world.job(kept).state, world.line() is None) == ("failed", False)
    world.acts_.remove("cephfs", "/s", contents=True, confirm="/s")
    world.finish()
    assert (world.line(), encrypted(world), world.osd("client.stray")) == (None, False, before)
    assert world.gates.show("cephfs", "/s").code == errno.ENOENT


def test_nobody_is_ended_for_the_next_subtree_at_a_path(world: Acts):
    world.acts_.create(NEW)
    world.finish()
    assert world.rungs.set(Wanted("cephfs", "/s", "fence", grace=0)).success
    world.settle()
    world.acts_.remove("cephfs", "/s", confirm="/s")
    world.finish()
    assert (world.line(), world.servers.blocklist) == (None, {})
    world.acts_.create(NEW)
    world.finish()
    world.servers.done.clear()
    world.servers.listed["cephfs", 0] = [session(40)]
    world.settle()
    assert (world.line() is None, world.servers.done) == (False, [])
    assert not world.evictor.watched()


def test_what_a_removed_subtree_was_is_not_taken_for_its_successor(world: Acts):
    world.acts_.create(NEW)
    world.finish()
    world.acts_.remove("cephfs", "/s", confirm="/s")
    world.stage.go()
    told = world.stage.runner.glance()
    world.register_.forget("cephfs", "/s")
    world.acts_.create(NEW)
    world.stage.go()
    world.register("/s")
    world.follow.seen(told)
    world.follow.round()
    assert world.line() is not None


def test_adopt_registers_what_a_kernel_made(world: Acts):
    made(world.mount, b"/k")
    with world.files() as files:
        files.create_subtree("/k", KEY, mode=FileMode.KERNEL)
    world.acts_.look("cephfs", "/k", dry_run=True)
    world.finish()
    assert world.line("/k") is None
    world.acts_.look("cephfs", "/k")
    world.finish()
    assert world.line("/k").mode == "kernel"
    made(world.mount, b"/plain")
    plain = world.acts_.look("cephfs", "/plain")
    world.finish()
    assert (world.job(plain).outcome()["facts"], world.line("/plain")) == (None, None)
    assert world.acts_.look("cephfs", "/k/in").code == errno.EEXIST


def test_more_jobs_than_the_service_tells_of_are_registered(world: Acts):
    world.step()
    paths = [f"/k{number}" for number in range(MOST_IN_STATUS + 3)]
    with world.files() as files:
        for path in paths:
            made(world.mount, path.encode())
            files.create_subtree(path, KEY)
    for path in paths:
        world.acts_.look("cephfs", path)
        world.stage.go()
        world.stage.clock.time += 1
    world.finish()
    assert all(world.line(path) for path in paths)


def test_adopt_verifies_where_a_key_manager_opens_the_key(world: Acts):
    world.acts_.create(NEW)
    world.finish()
    looked = world.acts_.look("cephfs", "/s")
    world.finish()
    assert world.job(looked).outcome()["verified"] is True


def test_who_opens_a_key_is_not_guessed_while_the_database_is_away(world: Acts):
    world.acts_.create(NEW)
    world.finish()
    key = world.keys.show("cephfs", "payroll").answer
    assert isinstance(key, KeyLine)
    opening = Opening(
        keys=world.keys, tenants=world.tenants, answer=lambda _: Result.failed(errno.EAGAIN, "it is away")
    )
    with pytest.raises(RefusalError, match="it is away"):
        opening.require(key, lambda _: "")
    world.acts_._opening = opening
    looked = world.acts_.look("cephfs", "/s")
    assert (looked.code, looked.status) == (errno.EAGAIN, "it is away")


def test_a_job_that_ended_with_what_nobody_knows_is_passed_over(
    world: Acts, caplog: pytest.LogCaptureFixture
):
    world.acts_.create(NEW)
    world.finish()
    job = world.job(world.acts_.release("cephfs", "/s"))
    world.stage.go()
    told = world.stage.runner.glance()
    done = replace(world.stage.runner.state(job.id), result="{}")
    world.asked = lambda ask: done  # type: ignore[method-assign] # of another release
    world.follow.seen(told)
    world.follow.round()
    assert "none of its kind" in caplog.text
    assert world.line().mode == "engine"
