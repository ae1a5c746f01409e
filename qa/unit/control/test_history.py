"""The history of figures: when samples are taken, of what, and how a curve is told."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from mgr_fscrypt.control import Result
from mgr_fscrypt.control.cluster import FileSystem
from mgr_fscrypt.control.history import FIGURES, MOST_POINTS, History
from mgr_fscrypt.control.refusal import RefusalError
from mgr_fscrypt.control.sampling import FIRST, MOST, PATIENCE, Sampler
from mgr_fscrypt.control.service import ServiceReport
from mgr_fscrypt.messages.job import JobBrief, Jobs
from mgr_fscrypt.messages.service import (
    Ask,
    BackendState,
    Managers,
    Said,
    ServiceStatus,
    Sizes,
    SizesQuestion,
)
from mgr_fscrypt.store import FINE, Key, KeyTable, LocalDatabase, MeasureTable, Subtree, SubtreeTable

START = 1_700_000_400.0
DAY = 86_400
KEY = "00" * 16
MIGRATION = JobBrief(KEY, "migrate", 1, "/a", "running", "", 0, 0, 1000, "copied", None)
STATUS = ServiceStatus("0", 1, "h", 0, "serving", 0, 1, "", "", 0, (), (), (), (), Jobs(0, 0, 0, ()))


class Desk:
    """A sampler on a database in memory, with a service that tells what a test wants."""

    def __init__(self) -> None:
        self.now = START
        self.database = LocalDatabase()
        self.subtrees, self.keys = SubtreeTable(self.database), KeyTable(self.database)
        self.measures = MeasureTable(self.database)
        self.names = ["cephfs"]
        self.said: Said | RefusalError = Sizes(seen=True, bytes=(4096,))
        self.asked: list[Ask] = []
        self.status: ServiceStatus | None = STATUS
        self.history = History(store=self.measures, clock=lambda: self.now)
        self.sampler = Sampler(
            measures=self.measures,
            subtrees=self.subtrees,
            keys=self.keys,
            cluster=self,
            service=lambda: ServiceReport("serving", 0, "", "", 0, None, self.status),
            ask=self.ask,
            answer=lambda work: work(),
            whole=self.whole,
            clock=lambda: self.now,
        )

    def file_systems(self) -> list[FileSystem]:
        return [FileSystem(number, name) for number, name in enumerate(self.names, 1)]

    @contextmanager
    def whole(self) -> Iterator[None]:
        yield

    def ask(self, ask: Callable[[], Ask]) -> Said:
        wish = ask()
        if isinstance(wish, SizesQuestion):
            self.asked.append(wish)
            if isinstance(self.said, RefusalError):
                raise self.said
            return self.said
        return Managers(1, 1.0, "", ())

    def look(self, after: float = 0, *jobs: JobBrief) -> None:
        self.now += after
        self.sampler.look(Jobs(len(jobs), 0, 0, jobs))

    def told(self, what: str, days: int = 1) -> dict[str, list[float]]:
        value = self.value(what, days)
        return {each["about"]: [point["value"] for point in each["points"]] for each in value["curves"]}

    def value(self, what: str, days: int = 1) -> dict[str, Any]:
        answer = self.history.show(what, days).answer
        assert answer is not None
        return answer.simplified()


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    with closing(desk.database):
        yield desk


def subtree(path: str, inode: int) -> Subtree:
    return Subtree(1, path, "cephfs", inode, "engine", "C", "N", 32, KEY, 0)


def key(number: int, age: int, state: str = "active") -> Key:
    made = int(START) - age * DAY
    return Key(1, f"{number:032}", "k", "t", state, 1, made, 0, 0, 0, (), 0)


def test_a_sample_is_taken_each_ten_minutes(desk: Desk):
    desk.subtrees.put(subtree("/a", 7))
    desk.look()
    assert desk.told("subtrees") == {}, "the service has its time to come"
    desk.look(FIRST)
    assert (desk.told("subtrees"), desk.told("bytes")) == ({"cephfs": [1]}, {"cephfs": [4096]})
    for _ in range(3 * FINE // 10):
        desk.look(10)
    assert len(desk.asked) == 4
    with desk.database.transaction() as db:
        found = db.execute("SELECT at, n FROM Measured WHERE what = 'bytes' AND span = 600").fetchall()
    assert [row["n"] for row in found] == [1] * 4
    assert [row["at"] % FINE for row in found] == [0] * 4
    assert desk.asked[0] == SizesQuestion(("/a",))


def test_sizes_are_waited_for_but_not_for_long(desk: Desk):
    desk.subtrees.put(subtree("/a", 7))
    desk.said = Sizes(seen=False, bytes=())
    desk.look(FIRST)
    assert desk.told("subtrees") == {}
    desk.look(PATIENCE)
    assert (desk.told("subtrees"), desk.told("bytes")) == ({"cephfs": [1]}, {})


@pytest.mark.parametrize("said", [RefusalError(11, "there is no engine service"), Sizes(True, (4096, None))])
def test_what_nobody_can_tell_is_left_out(desk: Desk, said: Any):
    desk.said = said
    desk.look(FIRST)
    assert (desk.told("subtrees"), desk.told("bytes")) == ({"cephfs": [0]}, {})


def test_more_subtrees_than_can_be_asked_for_have_no_size(desk: Desk):
    for number in range(30):
        desk.subtrees.put(subtree("/" + "\N{WATCH}" * 600 + str(number), number))
    desk.look(FIRST)
    assert desk.asked == []
    assert (desk.told("subtrees"), desk.told("bytes")) == ({"cephfs": [30]}, {})


def test_ages_are_of_keys_that_can_be_used(desk: Desk):
    for number, (age, state) in enumerate([(10, "active"), (30, "disabled"), (900, "destroyed")]):
        desk.keys.put(key(number, age, state))
    desk.look(FIRST)
    assert desk.told("oldest-key")["cephfs"] == [pytest.approx(30, abs=0.01)]
    assert desk.told("mean-key")["cephfs"] == [pytest.approx(20, abs=0.01)]


def test_a_key_manager_that_was_not_asked_took_no_time(desk: Desk):
    met = BackendState("vault", True, 0, "", START + 20, 0.25)
    others = [
        replace(met, name="refused", error="KmsRefusedError"),
        replace(met, name="away", reachable=False, error="KmsUnreachableError"),
        replace(met, name="before", last=START - 1),
        replace(met, name="never", took=None),
    ]
    desk.status = replace(STATUS, backends=(met, *others))
    desk.look(FIRST)
    assert desk.told("kms") == {"vault": [250]}
    desk.look(FINE)
    assert desk.told("kms") == {"vault": [250]}, "nobody asked it again"
    desk.status = None
    desk.look(FINE)
    assert desk.told("kms") == {"vault": [250]}


def test_migrations_are_followed_through_their_steps(desk: Desk):
    other = replace(MIGRATION, id="11" * 16, kind="verify", done=10_000)
    desk.look(0, replace(MIGRATION, done=500), other)
    for done, unit in ((560, "copied"), (600, "copied"), (90, "verified"), (100, "verified")):
        desk.look(5, replace(MIGRATION, done=done, unit=unit), other)
    desk.look(10)
    # 500 were done before anybody looked; 100 copied, 100 verified, in 30 s
    assert desk.told("migrated") == {"": [pytest.approx(200 / 30)]}


def test_a_clock_that_is_set_back_does_not_end_it(desk: Desk):
    desk.look(FIRST)
    desk.look(-30 * DAY)
    assert desk.told("subtrees") == {"cephfs": [0]}
    desk.look(FINE)
    assert desk.told("subtrees") == {"cephfs": [0, 0]}


def test_there_are_so_many_curves_at_most(desk: Desk):
    desk.names = [f"fs{number:02}" for number in range(MOST + 5)]
    desk.look(FIRST)
    assert list(desk.told("subtrees")) == desk.names[:MOST]


def test_a_curve_has_so_many_points_at_most(desk: Desk):
    for at in range(int(START) - 30 * DAY, int(START), FINE):
        desk.measures.add(at, "bytes", [("cephfs", float(at))])
    for days in (1, 7, 30, 31, 365, 730):
        value = desk.value("bytes", days)
        (points,) = (each["points"] for each in value["curves"])
        assert 1 < len(points) <= MOST_POINTS + 1
        assert value["since"] <= START - days * DAY
        assert all(each["at"] % value["step"] == 0 for each in points)
        assert value["step"] % FINE == 0
    assert desk.value("bytes", 1)["step"] == FINE
    assert desk.value("bytes", 365)["step"] % DAY == 0


@pytest.mark.parametrize("what", FIGURES)
def test_each_figure_is_told_to_people(desk: Desk, what: str):
    plain = desk.history.show(what).answer
    assert plain is not None
    assert plain.plain().startswith("Nothing was measured since 2023-10-")
    desk.measures.add(int(START), what, [("x\x1b", 0.5)])
    shown = desk.history.show(what).answer
    assert shown is not None
    assert "\x1b" not in shown.plain()
    assert FIGURES[what].unit.upper() in shown.plain()


@pytest.mark.parametrize(
    ("what", "days", "says"),
    [
        ("byte", 1, 'did you mean "bytes"?'),
        ("x" * 100_000, 1, "use one of bytes, subtrees"),
        ("", 1, "use one of"),
        ("bytes", 0, "days must be from 1 to 730"),
        ("bytes", -1, "days must be"),
        ("bytes", 10**15, "days must be"),
    ],
)
def test_other_questions_are_refused(desk: Desk, what: str, days: int, says: str):
    result: Result = desk.history.show(what, days)
    assert result.code == 22
    assert says in result.status
