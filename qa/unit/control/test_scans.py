"""What a scan found, beside the register: shown, registered, and told by health."""

import errno
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

import pytest

from mgr_fscrypt.control import FileSystem, Result, Subtrees
from mgr_fscrypt.control.refusal import RefusalError
from mgr_fscrypt.control.scans import MIXED, UNREGISTERED, ScanLines, Scans, ScanWatch
from mgr_fscrypt.messages import Policy
from mgr_fscrypt.messages.job import JobPage, JobState, JobWish
from mgr_fscrypt.messages.scan import FoundSubtree, Mixture, ScanPage, ScanQuestion
from mgr_fscrypt.messages.service import Ask, JobQuestion, JobsQuestion, Said
from mgr_fscrypt.store import Joined, LocalDatabase, SubtreeTable

POLICY = Policy("AES-256-XTS", "AES-256-CBC-CTS", 32, "00" * 16)
OTHER = replace(POLICY, key_identifier="11" * 16)


def found(path: str, inode: int, mode: str = "engine", policy: Policy = POLICY) -> FoundSubtree:
    return FoundSubtree(path, inode, mode, policy, 1, ())


def scan(number: int = 1, path: str = "/", ended: float = 200.0, **options: bool) -> JobState:
    wish = JobWish(f"{number:032x}", "scan", 1, path, options)
    return JobState(wish, "done", "", 200.0, 1, 1, "entries", 1, None, (), "", 0, 100.0, 100.0, ended)


@dataclass
class World:
    """A manager whose service has scanned."""

    database: LocalDatabase
    jobs: list[JobState] = field(default_factory=lambda: [scan()])
    scanned: dict[str, list[FoundSubtree]] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)
    acts: list[tuple[str, ...]] = field(default_factory=list)
    now: float = 50.0
    page: int = 100
    reachable: bool = True
    listed: bool = True

    def __post_init__(self) -> None:
        database = Joined(self.database)
        store = SubtreeTable(database)
        self.store = store
        self.subtrees = Subtrees(store=store, cluster=self, clock=lambda: self.now)
        self.scans = Scans(service=self, store=store, cluster=self, whole=database.whole, answer=self.answer)
        self.watch = self.another_manager()

    def another_manager(self) -> ScanWatch:
        return ScanWatch(
            scans=self.scans,
            subtrees=self.subtrees,
            cluster=self,
            marks=self,
            answer=self.answer,
            recorded=self.recorded,
        )

    def file_systems(self) -> list[FileSystem]:
        return [FileSystem(1, "cephfs"), FileSystem(2, "scratch")]

    def answer(self, work: Callable[[], Result]) -> Result:
        return work() if self.reachable else Result.failed(errno.EAGAIN, "no database")

    def recorded(self, command: str, about: Sequence[str], work: Callable[[], Result]) -> Result:
        result = work()
        self.acts += [(command, *part.about, part.result.status) for part in result.parts]
        return result

    def mark(self, name: str) -> str | None:
        return self.marks.get(name)

    def set_mark(self, name: str, text: str) -> None:
        self.marks[name] = text

    def asked(self, ask: Callable[[], Ask]) -> Said:
        match question := ask():
            case JobsQuestion():
                return JobPage(tuple(self.jobs) if self.listed else (), None)
            case JobQuestion():
                for job in self.jobs:
                    if job.id == question.id:
                        return job
                raise RefusalError(errno.ENOENT, "no such job")
            case ScanQuestion():
                kept = sorted(self.scanned.get(question.job, ()), key=lambda each: each.path.encode())
                left = [each for each in kept if each.path > question.after]
                shown = tuple(left[: self.page])
                return ScanPage(shown, shown[-1].path if len(left) > len(shown) else None)
        raise AssertionError(question)

    def finds(self, *subtrees: FoundSubtree, number: int = 1) -> None:
        self.scanned[f"{number:032x}"] = list(subtrees)

    def register(self, path: str, inode: int, mode: str = "engine", policy: Policy = POLICY) -> None:
        done = self.subtrees.adopt("cephfs", path, found(path, inode, mode, policy).facts.encode())
        assert done.success, done.status

    def standings(self) -> dict[str, str]:
        seen: dict[str, str] = {}
        after: str | None = None
        while True:
            page = self.scans.listing("cephfs", after).answer
            assert isinstance(page, ScanLines)
            assert not seen.keys() & {line.path for line in page.lines}
            seen |= {line.path: line.standing.value for line in page.lines}
            after = page.following
            if after is None:
                return seen

    def told(self, code: str) -> list[str]:
        checks = self.watch.checks()
        return [] if code not in checks else checks[code]["detail"][:-1]

    def look(self) -> None:
        for _ in range(30):
            self.watch.look()


@pytest.fixture
def world() -> Iterator[World]:
    with closing(LocalDatabase()) as database:
        yield World(database)


def test_each_standing_and_what_brings_the_register_up_to_date(world: World):
    world.register("/same", 1)
    world.register("/mode", 2)
    world.register("/old", 3)
    world.register("/replaced", 4)
    world.register("/key", 5)
    world.register("/gone", 6)
    world.finds(
        found("/same", 1),
        found("/mode", 2, "kernel"),
        found("/new place", 3),
        found("/replaced", 44),
        found("/key", 5, policy=OTHER),
        found("/fresh", 7),
    )
    assert world.standings() == {
        "/same": "registered",
        "/mode": "changed",
        "/new place": "moved",
        "/old": "missing",
        "/replaced": "replaced",
        "/key": "replaced",
        "/gone": "missing",
        "/fresh": "unregistered",
    }
    code, shown, _ = world.scans.listing("cephfs").rendered(None)
    assert code == 0
    assert "ceph fscrypt subtree forget cephfs /gone" in shown
    assert (
        "ceph fscrypt subtree forget cephfs /old\n  ceph fscrypt subtree adopt cephfs '/new place'" in shown
    )
    first = json.loads(world.scans.listing("cephfs").rendered("json")[1])["subtrees"][0]
    assert (first["path"], first["standing"], first["mixed"]) == ("/fresh", "unregistered", {})


@pytest.mark.parametrize("page", [1, 2, 3, 100])
def test_pages_fit_together(world: World, page: int):
    world.page = page
    for number in range(1, 8):
        world.register(f"/r{number}", number)
    world.finds(*(found(f"/r{number}", number) for number in range(2, 12, 2)))
    assert world.standings() == {
        **{f"/r{number}": "missing" for number in (1, 3, 5, 7)},
        **{f"/r{number}": "registered" for number in (2, 4, 6)},
        "/r8": "unregistered",
        "/r10": "unregistered",
    }


def test_what_was_registered_while_it_went_on_is_not_missed(world: World):
    world.register("/before", 1)
    world.now = 150.0
    world.register("/meanwhile", 2)
    assert world.standings() == {"/before": "missing"}


def test_what_was_told_since_is_newer_than_what_a_scan_found(world: World):
    world.register("/released", 1)
    world.register("/moved", 2)
    world.finds(found("/released", 1), found("/moved", 2), found("/replaced", 3))
    world.now = 150.0
    world.register("/released", 1, mode="kernel")
    assert world.subtrees.forget("cephfs", "/moved").success
    world.register("/elsewhere", 2)
    world.register("/replaced", 4)
    assert set(world.standings().values()) == {"registered"}
    world.look()
    assert world.told("FSCRYPT_REGISTER_OUTDATED") == []


def test_only_below_the_path_that_was_scanned(world: World):
    world.register("/a/x", 1)
    world.register("/b/x", 2)
    world.jobs = [scan(path="/a")]
    assert world.standings() == {"/a/x": "missing"}


def test_no_scan(world: World):
    world.jobs = [replace(scan(), state="running")]
    refused = world.scans.listing("cephfs")
    assert (refused.code, "ceph fscrypt scan cephfs" in refused.status) == (errno.ENOENT, True)
    assert world.scans.listing("cepfs").code == errno.ENOENT
    world.jobs = [scan()]
    world.reachable = False
    assert world.scans.listing("cephfs").code == errno.EAGAIN
    assert "found no subtree" in replace_reachable(world).rendered(None)[1]


def replace_reachable(world: World) -> Result:
    world.reachable = True
    return world.scans.listing("cephfs")


def test_what_a_scan_is_told_to_register_is_registered_once(world: World):
    world.page = 2
    world.register("/old", 3)
    world.register("/replaced", 4)
    world.jobs = [scan(register=True)]
    world.finds(found("/a", 1), found("/b", 2), found("/moved", 3), found("/replaced", 44))
    world.look()
    assert set(world.standings().values()) == {"registered"}
    assert [(act[0], act[2]) for act in world.acts] == [
        ("scan register", "/a"),
        ("scan register", "/b"),
        ("scan register", "/moved"),
        ("scan register", "/replaced"),
    ]
    world.subtrees.forget("cephfs", "/a")
    world.watch = world.another_manager()
    world.look()
    assert world.standings()["/a"] == "unregistered", "an old scan registers nothing again"
    assert len(world.told(UNREGISTERED)) == 1


def test_a_database_that_falls_silent_ends_nothing(world: World):
    world.jobs = [scan(register=True)]
    world.finds(found("/a", 1))
    world.reachable = False
    world.look()
    assert (world.acts, world.marks) == ([], {})
    world.reachable = True
    world.look()
    assert len(world.acts) == 1


def test_many_are_registered_bit_by_bit(world: World):
    world.page = 1
    world.jobs = [scan(register=True)]
    world.finds(*(found(f"/{number}", number) for number in range(1, 8)))
    world.watch.look()
    assert (len(world.acts), world.marks) == (5, {})
    # another manager begins anew, which is no matter
    world.watch = world.another_manager()
    world.look()
    assert len(world.acts) == 7
    assert world.marks == {"scan.1": scan().id}


def test_what_cannot_be_registered_holds_up_no_other(world: World):
    world.register("/a", 1)
    world.jobs = [scan(register=True)]
    world.finds(found("/a/b", 2), found("/c", 3))
    world.look()
    assert [("lie one in the other" in act[3]) for act in world.acts] == [True, False]
    assert world.standings() == {"/a": "missing", "/a/b": "unregistered", "/c": "registered"}


def test_two_subtrees_that_changed_places(world: World):
    world.register("/a", 1)
    world.register("/b", 2)
    world.jobs = [scan(register=True)]
    world.finds(found("/a", 2), found("/b", 1))
    world.look()
    assert set(world.standings().values()) == {"registered"}


def test_health(world: World):
    world.page = 2
    mixed = (Mixture("plain", 3, "/a/x\n"), Mixture("other-mode", 1, "/a/y"))
    world.finds(replace(found("/a", 1), mixed=mixed), found("/b", 2), found("/c", 3))
    world.look()
    assert world.told(MIXED) == ["cephfs /a: 3 plain, 1 other-mode, such as /a/x\\n"]
    assert [line.split(":")[0] for line in world.told(UNREGISTERED)] == [
        "cephfs /a",
        "cephfs /b",
        "cephfs /c",
    ]
    assert world.acts == [], "nothing is registered that nobody asked for"
    for path, inode in (("/a", 1), ("/b", 2), ("/c", 3)):
        world.register(path, inode)
    world.look()
    assert world.told(UNREGISTERED) == []
    # a newer scan takes its place
    world.jobs.append(scan(2, ended=300.0))
    world.finds(found("/a", 1), number=2)
    world.look()
    assert world.told(MIXED) == []
    assert len(world.told(UNREGISTERED)) == 2


def test_a_scan_that_many_jobs_have_followed(world: World):
    world.finds(found("/a", 1))
    world.look()
    world.listed = False
    world.watch = world.another_manager()
    world.look()
    assert len(world.told(UNREGISTERED)) == 1
    world.jobs = []
    world.watch = world.another_manager()
    world.look()
    assert world.watch.checks() == {}
