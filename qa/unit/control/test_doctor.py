"""The doctor, whole, in memory: each check, servers that are silent, and what is told in time."""

import errno
import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from mgr_fscrypt.control import Result, Subtrees, Tenants
from mgr_fscrypt.control.audience import Audience
from mgr_fscrypt.control.doctor import Doctor, Practice
from mgr_fscrypt.control.doctor_checks import Layout, Modules, Pool, Schedule
from mgr_fscrypt.control.findings import Report
from mgr_fscrypt.control.gates import Gates
from mgr_fscrypt.control.observing import Observer, SilentError
from mgr_fscrypt.control.reach import Reach
from mgr_fscrypt.control.service import ServiceReport
from mgr_fscrypt.messages import RELEASE, TenantFacts
from mgr_fscrypt.messages.job import Jobs
from mgr_fscrypt.messages.service import BackendState, ServiceStatus
from mgr_fscrypt.store import Gate, GateTable, LocalDatabase, Subtree, SubtreeTable, TenantTable
from qa.fakes.servers import TENTACLE, FakeServers, session

KEY = "00112233445566778899aabbccddeeff"
EVERYWHERE = "allow rw tag cephfs data=cephfs"
VAULT = BackendState("vault", True, 1.0, "", 1.0, None)
WORKING = ServiceStatus(
    RELEASE, 7, "host", 1.0, "serving", 1.0, 1, "", "", 0, (), (), (VAULT,), (), Jobs(0, 0, 0, ())
)
FINE = ServiceReport("serving", 1.0, "", "", 0, 1.0, WORKING)


class AtOnce(Executor):
    """Work that is done where it is given: SQLite's connections belong to a thread."""

    def submit(self, work: Callable[..., Any], /, *words: Any, **more: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(work(*words, **more))
        return future


@dataclass
class World:
    """A cluster in good health, which a test spoils: what the doctor is told."""

    database: LocalDatabase
    servers: FakeServers = field(default_factory=FakeServers)
    told: dict[str, dict[str, int]] = field(
        default_factory=lambda: {kind: {TENTACLE: 1} for kind in ("mon", "osd", "mds", "mgr", "overall")}
    )
    data: list[Pool] = field(default_factory=lambda: [Pool(2, "cephfs_data", False, False)])
    layouts: dict[int, Layout] = field(default_factory=lambda: {1: Layout(2, 1)})
    running: Modules = field(default_factory=lambda: Modules(frozenset({"progress", "prometheus"}), True))
    taken: list[Schedule] = field(default_factory=list)
    service: ServiceReport = FINE
    options: dict[str, str] = field(default_factory=dict)
    reachable: bool = True
    silent: set[str] = field(default_factory=set)
    held: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.held.set()
        self.subtrees, gates = SubtreeTable(self.database), GateTable(self.database)
        self.gate_table = gates
        self.observer = Observer(self.servers, date=lambda: 10_000.0, log=logging.getLogger("test"))
        parts: Any = {"cluster": self.servers, "clock": lambda: 10_000.0}
        seen: Any = {"subtrees": self.subtrees, "census": self.observer.census}
        self.tenants = Tenants(store=TenantTable(self.database), **parts)
        register = Subtrees(store=self.subtrees, **parts)
        self.practice = Practice(
            subtrees=register,
            tenants=self.tenants,
            audience=Audience(gates=gates, ended=tuple, **parts, **seen),
            gates=Gates(store=gates, **parts, **seen),
            reach=Reach(subtrees=self.subtrees, gates=gates),
            answer=self.answer,
            overview=lambda: register.overview(version="1", ceph="ceph"),
            census=self.look,
            service=lambda: self.service,
            options=lambda: self.options,
            cluster=self.servers,
        )

    def answer(self, work: Callable[[], Result]) -> Result:
        return work() if self.reachable else Result.failed(errno.EAGAIN, "no database")

    def look(self) -> Any:
        self.observer.look()
        return self.observer.census()

    def hear(self, who: str) -> None:
        if who in self.silent:
            raise SilentError(f"{who} did not answer")

    def versions(self) -> Mapping[str, Mapping[str, int]]:
        self.held.wait()
        self.hear("versions")
        return self.told

    def pools(self) -> Sequence[Pool]:
        self.hear("pools")
        return self.data

    def layout_of(self, file_system: str, inode: int) -> Layout | None:
        self.hear("layouts")
        return self.layouts.get(inode)

    def modules(self) -> Modules:
        return self.running

    def schedules(self, file_system: str) -> Sequence[Schedule]:
        self.hear("schedules")
        return self.taken

    def register(self, path: str, mode: str = "engine") -> None:
        inode = 1000 + sum(self.subtrees.counts().values())
        self.subtrees.put(
            Subtree(1, path, "cephfs", inode, mode, "AES-256-XTS", "AES-256-CBC-CTS", 32, KEY, 1)
        )

    def doctor(self, executor: Executor, **more: float) -> Doctor:
        return Doctor(self.practice, self, executor, logging.getLogger("test"), **more)

    def result(self, fs_name: str | None = None) -> Result:
        return self.doctor(AtOnce()).examine(fs_name)

    def report(self, fs_name: str | None = None) -> Report:
        answer = self.result(fs_name).answer
        assert isinstance(answer, Report)
        return answer

    def told_of(self, check: str) -> list[tuple[str, str, str]]:
        """What is not as it should be."""
        found = self.report().findings
        return [(e.grade.value, e.found, e.remedy) for e in found if e.check == check and e.grade != "ok"]


@pytest.fixture
def world() -> Iterator[World]:
    with made() as found:
        yield found


@contextmanager
def made() -> Iterator[World]:
    with closing(LocalDatabase()) as database:
        found = World(database)
        found.servers.caps = {
            "client.admin": {"mon": "allow *", "mds": "allow *", "osd": "allow *"},
            "osd.0": {"mon": "allow profile osd", "osd": "allow *"},
        }
        found.servers.listed["cephfs", 0] = [session(2, "friend", fscrypt_engine="1")]
        found.servers.required["cephfs"] = {"alternate_name"}
        found.register("/vault")
        yield found


def test_a_cluster_in_good_health(world: World):
    report = world.report()
    assert {each.grade.value for each in report.findings} == {"ok"}, report.plain()
    assert report.worst.value == "ok"
    assert not any(each.remedy for each in report.findings)
    shown = world.result().rendered(None)[1]
    assert "mds, mgr, mon, osd: Ceph 20.2.4" in shown
    assert shown.endswith(f"\n\n{len(report.findings)} ok")
    assert json.loads(world.result("cephfs").rendered("json")[1])["worst"] == "ok"
    assert all(len(each) < 140 for each in shown.splitlines())


def test_every_check_is_told_and_what_is_wrong_says_what_to_do(world: World):
    world.silent = {"versions", "pools", "layouts", "schedules"}
    world.servers.silent = {"mon", "mds"}
    report = world.report()
    checks = list(dict.fromkeys(each.check for each in report.findings))
    assert len(checks) == 13
    assert report.worst.value == "unknown"
    assert all(each.remedy for each in report.findings if each.grade != "ok")
    assert ("versions did not answer") in world.result().rendered(None)[1]


@pytest.mark.parametrize(
    ("text", "grade", "says"),
    [
        ("ceph version 18.2.7 (x) reef", None, ""),
        ("ceph version 19.2.1 (x) squid", "warning", "was not tried"),
        ("ceph version 16.2.15 (x) pacific", "error", "too old"),
        ("ceph version 21.1.0 (x)", "error", "only read"),
        ("development", "unknown", "not understood"),
    ],
)
def test_releases(world: World, text: str, grade: str | None, says: str):
    world.told = {"mds": {text: 1}}
    told = world.told_of("release")
    assert [each[0] for each in told] == ([] if grade is None else [grade])
    assert all(says in each[1] for each in told)


def test_two_releases_beside_each_other(world: World):
    world.told["mds"] = {TENTACLE: 1, "ceph version 18.2.7 (x) reef (stable)": 1}
    ((grade, found, _),) = world.told_of("release")
    assert (grade, "2 versions" in found) == ("warning", True)


def test_erasure_coded_pools(world: World):
    world.data = [Pool(2, "cephfs_data", True, False), Pool(9, "other", True, False)]
    ((grade, _, remedy),) = world.told_of("pool")
    assert (grade, "allow_ec_overwrites" in remedy) == ("error", True)
    world.data = [Pool(2, "cephfs_data", True, True)]
    world.layouts[1000] = Layout(2, 1)
    ((grade, found, _),) = world.told_of("pool")
    assert (grade, "would read noise" in found) == ("warning", True)
    assert ["/vault" in each[1] for each in world.told_of("layout")] == [True]
    world.register("/released", "kernel")
    ((_, found, _),) = world.told_of("pool")
    assert "kernel clients read noise" in found
    world.data = []
    assert [each[0] for each in world.told_of("pool")] == ["unknown"]


def test_striped_layouts(world: World):
    world.layouts = {}
    assert [each[0] for each in world.told_of("layout")] == ["unknown"]
    world.layouts = {1: Layout(2, 1), 1000: Layout(2, 4)}
    ((grade, found, _),) = world.told_of("layout")
    assert (grade, "/vault" in found) == ("error", True)


def test_required_features(world: World):
    world.servers.required["cephfs"] = set()
    ((grade, _, remedy),) = world.told_of("features")
    assert (grade, "gate preview cephfs / require" in remedy) == ("warning", True)


def test_clients(world: World):
    world.servers.listed["cephfs", 0] += [session(3), session(4, ceph_version="ceph version 21.0.0")]
    world.servers.caps["client.stray"] = {"mds": "allow rw", "osd": EVERYWHERE}
    told = world.told_of("clients")
    assert [each[0] for each in told] == ["warning", "unknown"]
    assert "3 (libcephfs 20.2, client.stray on host3)" in told[0][1]
    assert "client explain 3 cephfs" in told[0][2]
    world.servers.silent = {"mds"}
    assert world.told_of("clients")[0][0] == "unknown"


def test_caps_that_reach_what_no_gate_closes(world: World):
    world.servers.caps |= {
        "client.stray": {"mds": "allow rw", "osd": EVERYWHERE},
        "client.elsewhere": {"mds": "allow rw path=/home", "osd": EVERYWHERE},
        "client.blind": {"mds": "allow rw", "osd": "allow rw namespace=other"},
        "client.odd": {"mds": "allow rw", "osd": "grant all"},
        "mds.a": {"mds": "allow", "osd": "allow rw"},
    }
    warned, unread = world.told_of("caps")
    assert warned[0] == "warning"
    assert warned[1].endswith("without a gate: client.stray")
    assert "gate preview cephfs /vault isolate" in warned[2]
    assert (unread[0], "client.odd" in unread[1]) == ("unknown", True)
    world.gate_table.put(Gate(1, "/vault", "isolate", "fscrypt-1", (), (), (), 1, 1, ""))
    assert world.told_of("caps") == []


def test_a_gate_that_is_open(world: World):
    world.servers.caps["client.stray"] = {"mds": "allow rw", "osd": EVERYWHERE}
    world.gate_table.put(Gate(1, "/vault", "isolate", "fscrypt-1", (), (), (), 1, 1, ""))
    ((grade, found, remedy),) = world.told_of("gates")
    assert (grade, remedy) == ("warning", "`ceph fscrypt gate show cephfs /vault`")
    assert "not as the gate set them" in found


@pytest.mark.parametrize(
    ("report", "grade", "says"),
    [
        (replace(FINE, state="off", service=None), None, ""),
        (replace(FINE, state="standby", service=replace(WORKING, holder="other:1")), None, ""),
        (replace(FINE, state="down", failure="it died", remedy="start it", service=None), "error", "it died"),
        (
            replace(FINE, state="unreachable", service=replace(WORKING, trouble="timed out")),
            "error",
            "timed out",
        ),
        (replace(FINE, service=replace(WORKING, release="0.0.1")), "warning", "0.0.1"),
    ],
)
def test_the_service(world: World, report: ServiceReport, grade: str | None, says: str):
    world.service = report
    told = world.told_of("service")
    assert [each[0] for each in told] == ([] if grade is None else [grade])
    assert all(says in each[1] for each in told)


def test_key_managers(world: World):
    backends = (
        BackendState("far", False, 1.0, "Timeout", 1.0, None),
        BackendState("sealed", True, 1.0, "Refused", 1.0, None),
    )
    world.service = replace(FINE, service=replace(WORKING, backends=backends))
    world.tenants.adopt("cephfs", TenantFacts("acme", 1, 1, 0, ("far", "idle"), ()).encode())
    assert [(grade, found.split()[2]) for grade, found, _ in world.told_of("kms")] == [
        ("error", "far"),
        ("warning", "sealed"),
        ("unknown", "idle"),
    ]
    world.service = replace(FINE, state="down", failure="it died", service=None)
    ((_, found, _), _) = world.told_of("kms")
    assert found == "key manager far is met by nobody: the engine service is down"


def test_options_that_contradict_each_other(world: World):
    world.options = {
        "service": "off",
        "service_keyring": "/k",
        "service_fs": "nosuch",
        "service_socket": "/s",
    }
    idle, keyring, wanted = world.told_of("options")
    assert "service_fs, service_keyring, service_socket" in ", ".join(
        sorted(idle[1].split(": ")[1].split(", "))
    )
    assert "service_entity" in keyring[2]
    assert (wanted[0], "nosuch" in wanted[1]) == ("error", True)
    world.options = {"service": "socket", "service_socket": "/s"}
    assert world.told_of("options") == []


def test_snapshots_that_are_kept_for_ever(world: World):
    world.taken = [Schedule("/", "1h", "7d"), Schedule("/vault/a b", "1d", ""), Schedule("/plain", "1d", "")]
    ((grade, found, remedy),) = world.told_of("snapshots")
    assert (grade, "/vault/a b (1d)" in found, "/plain" in found) == ("warning", True, False)
    assert "retention add '/vault/a b'" in remedy


def test_modules(world: World):
    world.running = Modules(frozenset({"progress"}), False)
    assert ["progress" in each[1] for each in world.told_of("modules")] == [True, False]


def test_a_database_that_does_not_answer(world: World):
    world.reachable = False
    ((grade, found, _),) = world.told_of("database")
    assert (grade, found) == ("error", "no database")
    grades = {each.check: each.grade.value for each in world.report().findings}
    assert grades["release"] == "ok"
    assert {grades[each] for each in ("features", "caps", "layout")} == {"unknown"}


def test_subtrees_of_a_file_system_that_was_removed(world: World):
    world.subtrees.put(Subtree(9, "/old", "gone", 5, "engine", "AES-256-XTS", "AES-256-CBC-CTS", 32, KEY, 1))
    ((grade, found, _),) = world.told_of("database")
    assert (grade, "gone" in found) == ("warning", True)


def test_one_file_system(world: World):
    world.servers.required["other"] = set()
    world.servers.listed["other", 0] = []
    everything, one = world.report(), world.report("other")
    assert len(one.findings) < len(everything.findings)
    assert not any("cephfs:" in each.found for each in one.findings)
    refused = world.result("cepfs")
    assert (refused.code, 'did you mean "cephfs"' in refused.status) == (errno.ENOENT, True)


def test_nobody_waits_longer_than_promised(world: World):
    world.held.clear()
    with ThreadPoolExecutor(1) as executor:
        answer = world.doctor(executor, patience=0.2).examine().answer
        world.held.set()
    assert isinstance(answer, Report)
    grades = {each.check: each.grade.value for each in answer.findings}
    assert (grades["options"], grades["release"], grades["snapshots"]) == ("ok", "unknown", "unknown")
    late = next(each for each in answer.findings if each.check == "release")
    assert "not told in time" in late.found


def test_a_module_that_is_stopping(world: World):
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    assert world.doctor(executor).examine().code == errno.EAGAIN


def test_a_mistake_of_ours_is_told_as_one_check(world: World):
    world.layouts = None  # type: ignore[assignment] # the mistake
    ((grade, found, _),) = world.told_of("layout")
    assert (grade, "AttributeError" in found) == ("unknown", True)
