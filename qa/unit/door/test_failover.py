"""A manager that is killed in the middle of any command, at each change of its database and of caps.

What was asked for is done, or not, whole; it is in the audit if it is done; and the same command again, given to the
manager that follows, leaves things as if nothing had happened.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from mgr_fscrypt.control.observing import Caps
from mgr_fscrypt.messages import KeyFacts, Policy, SubtreeFacts, TenantFacts
from mgr_fscrypt.messages.job import JobState, JobWish
from mgr_fscrypt.messages.kms import KmsFacts
from mgr_fscrypt.messages.service import (
    Ask,
    Bundled,
    BundleQuestion,
    CancelJob,
    Done,
    JobQuestion,
    Kept,
    KeptQuestion,
    KnownManager,
    Managers,
    ManagersQuestion,
    PauseJob,
    ResumeJob,
    Said,
    StartJob,
)
from qa.fakes.manager import Loaded, loaded
from qa.fakes.servers import FakeServers, session

KEY = "00" * 16
SUBTREE = SubtreeFacts(7, "engine", Policy("AES-256-XTS", "AES-256-CBC-CTS", 32, KEY))
FACTS = KeyFacts(KEY, "payroll", "acme", "active", 1, 1, 0, 0, 0, ())
TENANT = TenantFacts("acme", 1, 1, 0, ("vault",), ())
GATE = ("cephfs", "/a", "isolate")
GATED: dict[str, object] = {"namespace": "fscrypt-a", "admit": "client.friend", "keep": ""}
HEAD = {"version": 1, "fs": "cephfs"}
DOCUMENT = json.dumps(
    [
        HEAD | {"kind": "fscrypt.key"} | json.loads(FACTS.encode())["key"],
        HEAD
        | {"kind": "fscrypt.subtree", "path": "/a", "inode": 7, "mode": "engine"}
        | {"policy": json.loads(SUBTREE.encode())["policy"]},
        HEAD | {"kind": "fscrypt.subtree", "path": "/gone", "intent": "removed"},
        HEAD
        | {"kind": "fscrypt.gate", "path": "/a", "rung": "isolate", "namespace": "fscrypt-a"}
        | {"admitted": ["client.friend"], "kept": []},
        HEAD | {"kind": "fscrypt.tenant", "name": "other", "kms": "vault"},
    ]
)


class KilledError(BaseException):
    """The manager's process ended here. Nothing of ours catches it."""


class Fate:
    """When the manager is killed.

    Attributes:
        at: at which step; None: never.
        steps: that were made.
    """

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.steps = 0
        self.dead = False

    def step(self) -> None:
        self.steps += 1
        self.dead = self.dead or self.steps == self.at
        if self.dead:
            raise KilledError


class MortalDatabase(sqlite3.Connection):
    """A connection whose process may be killed before each statement that changes something, before a commit, and after
    it: between two of these it is the same when."""

    fate = Fate()

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        if not statement.startswith(("SELECT", "PRAGMA secure_delete", "PRAGMA cache_size")):
            self.fate.step()
        return super().execute(statement, *values)

    def executemany(self, statement: str, *values: Any) -> sqlite3.Cursor:
        self.fate.step()
        return super().executemany(statement, *values)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> Any:
        try:
            if kind is None:
                self.fate.step()
            done = super().__exit__(kind, error, trace)
            if kind is None:
                self.fate.step()
        finally:
            if self.fate.dead:
                # as SQLite finds it after a crash: what was not committed is not there
                self.close()
        return done


class MortalServers(FakeServers):
    """Servers that a manager changes, which may be killed before or after that."""

    fate = Fate()

    def set_caps(self, entity: str, caps: Caps) -> None:
        self.fate.step()
        super().set_caps(entity, caps)
        self.fate.step()


class Service:
    """An engine service; `done` is what it was told to do."""

    def __init__(self) -> None:
        self.done: set[str] = set()

    def ask(self, ask: Ask, patience: float) -> Said:
        match ask:
            case ManagersQuestion():
                vault = KmsFacts("vault", "vault", "https://a:8200", "k", "vault.json", ())
                return Managers(1, 1.0, "", (KnownManager(vault, None, testing=False),))
            case StartJob(wish=wish):
                # the same is never done twice, whatever it is called
                self.done.add(f"{wish.kind} {wish.path}")
                return _job(wish)
            case PauseJob(id=name) | ResumeJob(id=name) | CancelJob(id=name) | JobQuestion(id=name):
                self.done |= set() if isinstance(ask, JobQuestion) else {str(ask)}
                return _job(JobWish(name, "verify", 1, "/a", {}))
            case KeptQuestion():
                return Kept("read", 1, "", 0, (FACTS,), (TENANT,), "")
            case BundleQuestion(key_identifier=key):
                # the ticket is another one each time
                self.done.add(f"bundle {key}")
                return Bundled(
                    "read", "", "{}", (KmsFacts("vault", "vault", "https://a:8200", "k", "f", ()),)
                )
            case _:
                self.done.add(str(ask))
                return Done()

    def hang_up(self) -> None:
        """Nobody does."""


def _job(wish: JobWish) -> JobState:
    return JobState(
        wish=wish,
        state="running",
        why="",
        since=1.0,
        done=0,
        total=None,
        unit="",
        rate=0.0,
        eta=None,
        errors=(),
        result="",
        code=None,
        created=1.0,
        started=1.0,
        ended=None,
    )


@dataclass
class Cluster:
    """What outlives managers: their database, the servers, and a service that runs by itself."""

    file: Path
    commands: Loaded
    servers: MortalServers = field(default_factory=MortalServers)
    service: Service = field(default_factory=Service)

    def __post_init__(self) -> None:
        if self.servers.caps:
            return
        everywhere = {"mon": "allow r", "mds": "allow rw", "osd": "allow rw tag cephfs data=cephfs"}
        self.servers.caps = {
            each: dict(everywhere) for each in ("client.friend", "client.stray", "client.other")
        }
        self.servers.listed["cephfs", 0] = [session(1)]

    @contextmanager
    def manager(self, fate: Fate) -> Iterator[Loaded]:
        """One of them; its end is no good one where its fate was met."""
        module = type(self.commands.module)()
        module._connection.close()
        module._connection = sqlite3.connect(
            self.file, isolation_level=None, check_same_thread=False, factory=MortalDatabase
        )
        module._connection.row_factory = sqlite3.Row
        # what a killed process wrote is there: only machines that lose their power wait for disks
        module._connection.execute("PRAGMA synchronous = OFF")
        module._connection.fate = self.servers.fate = fate
        module.service._channel = self.service
        module.observer._servers = module._gatekeeper._servers = self.servers
        module.observer.look()
        try:
            yield Loaded(module, self.commands.commands)
        finally:
            module._worker.shutdown()
            module._connection.close()

    def rows(self) -> list[str]:
        """All that is known, but for the audit."""
        return [line for line in self._dump() if not line.startswith('INSERT INTO "Act"')]

    def acts(self) -> int:
        return len(self._dump()) - len(self.rows())

    def _dump(self) -> list[str]:
        db = sqlite3.connect(self.file)
        try:
            return [line for line in db.iterdump() if line.startswith("INSERT")]
        finally:
            db.close()


@dataclass(frozen=True)
class Act:
    """A command that changes something.

    Args:
        command: which.
        words, options: its arguments.
        before: the command that something needs before.
        then: what the manager does of itself after it.
    """

    command: str
    words: tuple[object, ...] = ()
    options: dict[str, object] = field(default_factory=dict)
    before: "Act | None" = None
    then: Callable[[Loaded], object] | None = None

    def give(self, manager: Loaded) -> int:
        reply = manager.run(self.command, *self.words, **self.options)
        if self.then is not None:
            self.then(manager)
        return reply.retval


def carried_out(manager: Loaded) -> None:
    """Gates are."""
    while manager.module._gatekeeper.act():
        manager.module.observer.look()


ADOPT = Act("subtree adopt", ("cephfs", "/a"), {"report": SUBTREE.encode()})
GONE = Act(
    "subtree adopt", ("cephfs", "/gone"), {"report": SUBTREE.encode().replace('"inode": 7', '"inode": 8')}
)
SET = Act("gate set", GATE, GATED, before=ADOPT, then=carried_out)
CERTIFICATE = Act("api certificate add", ("node1", "CN=node1", "operator"))
ACTS = [
    ADOPT,
    Act("subtree forget", ("cephfs", "/a"), before=ADOPT),
    Act("key adopt", ("cephfs",), {"report": FACTS.encode()}),
    Act("tenant adopt", ("cephfs",), {"report": TENANT.encode()}),
    Act("apply", (), {"inbuf": DOCUMENT}, before=GONE, then=carried_out),
    SET,
    Act("gate set", ("cephfs", "/a", "observe"), before=SET, then=carried_out),
    Act("key lock", (KEY,)),
    Act("key unlock", (KEY, 60)),
    Act("kms test", ("cephfs", "vault")),
    Act("subtree bundle", ("cephfs", "/a"), before=ADOPT),
    Act("subtree verify", ("cephfs", "/a"), before=ADOPT),
    *(Act(f"job {verb}", (KEY,)) for verb in ("pause", "resume", "cancel", "forget")),
    CERTIFICATE,
    Act("api user add", ("alice", "operator")),
    Act("api access revoke", ("node1",), before=CERTIFICATE),
    Act("key rescan", ("cephfs",), then=lambda manager: manager.module.rescans.step()),
]


OF_JOBS = {
    "scan",
    *(f"subtree {verb}" for verb in ("create", "release", "hold", "rm")),
    *(f"migrate {verb}" for verb in ("plan", "start", "verify", "rollback", "purge", "cancel")),
}
"""What the service keeps of a job, and the manager does after it, is killed in tests of its own."""
BY_THE_API = {"key destruction request", "key destruction approve", "key destruction withdraw"}
"""What is refused here, since nobody is known; each of them is one row."""
OTHER_EACH_TIME = {"api token create", "api login"}
"""What is random; a token is added as a certificate is."""
NOT_KEPT = {"api session revoke"}
"""What ends with the manager's turn in any case."""
OF_THE_SERVICE = (
    "subtree bundle",
    "key lock",
    "key unlock",
    "kms test",
    "subtree verify",
    "job pause",
    "job resume",
    "job cancel",
    "job forget",
)
"""These change nothing in the database, and are recorded once the service has been asked."""


@pytest.fixture(scope="module")
def commands() -> Iterator[Loaded]:
    with loaded() as found:
        yield found


@pytest.fixture
def at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time stands still: what is done later is not told from what was done at once."""
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)


def prepared(file: Path, commands: Loaded, act: Act) -> Cluster:
    """One in which everything is as the act needs it."""
    found = Cluster(file, commands)
    needed = []
    while act.before is not None:
        act = act.before
        needed.append(act)
    with found.manager(Fate()) as manager:
        assert manager.run("status").retval == 0
        for each in reversed(needed):
            assert each.give(manager) == 0
    return found


def test_each_command_that_changes_something_is_here(commands: Loaded):
    changing = {name.removeprefix("fscrypt ") for name, each in commands.commands.items() if each.perm != "r"}
    assert {each.command for each in ACTS} == changing - OF_JOBS - BY_THE_API - OTHER_EACH_TIME - NOT_KEPT


@pytest.mark.usefixtures("at_rest")
@pytest.mark.parametrize("act", ACTS, ids=lambda act: " ".join(map(str, (act.command, *act.words)))[:30])
def test_a_manager_that_is_killed_in_the_middle(act: Act, tmp_path: Path, commands: Loaded):
    outcomes = killed_at_each_step(act, prepared(tmp_path / "before", commands, act), tmp_path)
    assert outcomes == ({True} if act.command in OF_THE_SERVICE else {True, False})


@pytest.mark.usefixtures("at_rest")
def test_a_manager_that_is_killed_while_it_makes_its_database(tmp_path: Path, commands: Loaded):
    (tmp_path / "before").touch()
    assert killed_at_each_step(ADOPT, Cluster(tmp_path / "before", commands), tmp_path) == {True, False}


def killed_at_each_step(act: Act, calm: Cluster, directory: Path) -> set[bool]:
    """Whether the database was as before, of all times at which the manager was killed."""
    start, before = deepcopy(calm.servers), calm.rows()
    template = calm.file.read_bytes()
    calm.file = directory / "calm"
    calm.file.write_bytes(template)
    with calm.manager(Fate()) as manager:
        act.give(manager)
    after, outcomes = calm.rows(), set[bool]()
    assert (after, calm.service.done) != (before, set()), "a test of what does nothing shows nothing"
    for at in count(1):
        file = directory / str(at)
        file.write_bytes(template)
        disturbed = Cluster(file, calm.commands, deepcopy(start))
        fate, told = Fate(at), disturbed.acts()
        with disturbed.manager(fate) as manager, suppress(KilledError):
            act.give(manager)
        if not fate.dead:
            return outcomes
        outcomes.add(disturbed.rows() == before)
        if act.then is None and act.command not in OF_THE_SERVICE:
            assert disturbed.rows() in (before, after)
            assert (disturbed.acts() > told) == (disturbed.rows() == after), "done and recorded are one"
        with disturbed.manager(Fate()) as successor:
            assert successor.run("audit verify").retval == 0
            act.give(successor)
            carried_out(successor)
            assert successor.run("audit verify").retval == 0
        assert (disturbed.rows(), disturbed.servers.caps) == (after, calm.servers.caps)
        assert disturbed.service.done == calm.service.done
    raise AssertionError("it never ends")
