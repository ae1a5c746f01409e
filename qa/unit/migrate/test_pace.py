"""How fast a migration may copy, and when."""

import datetime
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mgr_fscrypt.ceph.errors import LeaseLostError
from mgr_fscrypt.migrate import Copied, Direction, Migration, Step
from mgr_fscrypt.migrate.pace import Asked, Limits, Pace, Window
from mgr_fscrypt.migrate.shards import Hands, InThisProcess
from mgr_fscrypt.migrate.turns import Turn
from qa.fakes.ceph import FakeMount
from qa.fakes.migration_cases import FILES, Subject, file_system, make_source


class Clock:
    """Goes forward by sleeping only."""

    def __init__(self) -> None:
        self.now = 100.0
        self.naps: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


@pytest.mark.parametrize(
    ("limits", "seconds"),
    [
        (Limits(), 0),
        (Limits(files=5), 2),
        (Limits(size=1000), 10),
        (Limits(files=5, size=1000), 10),
        (Limits(files=5, size=1000).shared(2), 20),
        (Limits(files=0.5), 20),
    ],
)
def test_no_more_is_done_than_allowed(limits: Limits, seconds: float) -> None:
    clock = Clock()
    asked: list[float] = []
    pace = Pace(limits, lambda: asked.append(clock.now), clock, clock.sleep)
    for _ in range(10):
        pace.done(size=600)
        pace.done(size=400)
        pace.done(files=1)
    assert clock.now == pytest.approx(100 + seconds)
    assert len(asked) == len(clock.naps)
    assert max(clock.naps, default=0) <= 0.25, "whoever must stop is told soon"


def test_idle_time_is_not_made_up_for() -> None:
    clock = Clock()
    pace = Pace(Limits(files=1), lambda: None, clock, clock.sleep)
    clock.now += 1000
    pace.done(files=1)
    pace.done(files=1)
    assert clock.now == pytest.approx(1101)


def test_a_pause_ends_with_the_turn() -> None:
    clock = Clock()

    def lost() -> None:
        raise LeaseLostError(116, "lost")

    pace = Pace(Limits(files=0.001), lost, clock, clock.sleep)
    with pytest.raises(LeaseLostError):
        pace.done(files=1)
    assert clock.now < 101


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("field", ["files", "size", "latency"])
def test_what_is_no_limit_is_refused(field: str, wrong: float) -> None:
    with pytest.raises(ValueError, match="no limit"):
        Limits(**{field: wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("latency", "took", "calls", "slept"),
    [
        (0.0, 9.0, 4, 0.0),
        (0.1, 0.1, 4, 0.0),
        # so that the servers have half of the time for others
        (0.1, 0.2, 4, 0.8),
        (0.1, 0.4, 1, 1.2),
        # never for long: it may be over
        (0.001, 2.0, 1, 5.0),
    ],
)
def test_slow_answers_are_followed_by_pauses(latency: float, took: float, calls: int, slept: float) -> None:
    clock = Clock()
    pace = Pace(Limits(latency=latency), lambda: None, clock, clock.sleep)
    for _ in range(calls):
        with pace.timed(Asked.OSD):
            clock.now += took
    assert sum(clock.naps) == pytest.approx(slept)


def test_one_slow_answer_is_no_trouble_and_trouble_ends() -> None:
    clock = Clock()
    pace = Pace(Limits(latency=0.1), lambda: None, clock, clock.sleep)
    for took in (0.01, 0.01, 0.3, 0.01):
        with pace.timed(Asked.MDS):
            clock.now += took
    assert clock.naps == []
    for took in (1.0, *[0.01] * 20):
        before = len(clock.naps)
        with pace.timed(Asked.MDS):
            clock.now += took
    assert clock.naps
    assert len(clock.naps) == before
    # the others are measured by themselves
    with pace.timed(Asked.OSD):
        clock.now += 0.2
    assert len(clock.naps) > before


@pytest.mark.parametrize(
    ("text", "at", "seconds"),
    [
        ("22:00-06:00", "21:59:30", 30),
        ("22:00-06:00", "22:00:00", 0),
        ("22:00-06:00", "00:00:00", 0),
        ("22:00-06:00", "05:59:59", 0),
        ("22:00-06:00", "06:00:00", 16 * 3600),
        ("12:00-13:30", "13:29:59", 0),
        ("12:00-13:30", "13:30:00", 22.5 * 3600),
        ("12:00-13:30", "11:00:00", 3600),
    ],
)
def test_a_window_is_open_in_its_part_of_each_day(text: str, at: str, seconds: float) -> None:
    now = datetime.datetime.fromisoformat(f"2026-11-30T{at}+01:00")
    assert Window.parse(text).closed_for(now) == seconds


def test_a_window_is_the_same_part_of_the_day_for_hosts_elsewhere() -> None:
    here = datetime.timezone(datetime.timedelta(hours=-7))
    limits = Limits(window=Window.parse("22:00-06:00"))
    sent = limits.elsewhere(datetime.datetime(2027, 1, 1, 23, tzinfo=here))
    assert limits.window is not None
    assert sent.window is not None
    # 23:00 where it was said, and 16:00
    for hour, seconds in ((6, 0.0), (23, 6 * 3600.0)):
        elsewhere = datetime.datetime(2027, 1, 2, hour, tzinfo=datetime.UTC)
        assert sent.window.closed_for(elsewhere) == seconds
    assert limits.window.closed_for(datetime.datetime(2027, 1, 2, 23, tzinfo=datetime.UTC)) == 0
    assert Limits().elsewhere(datetime.datetime(2027, 1, 1, tzinfo=here)) == Limits()


@pytest.mark.parametrize("text", ["", "22-6", "24:00-06:00", "22:00-06:60", "06:00-06:00", "22:00-06:00 "])
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="window"):
        Window.parse(text)


def test_copying_waits_for_its_window() -> None:
    clock = Clock()
    midnight = datetime.datetime(2026, 11, 30, tzinfo=datetime.UTC)

    def now() -> datetime.datetime:
        return midnight + datetime.timedelta(seconds=clock.now)

    pace = Pace(Limits(window=Window.parse("02:00-03:00")), lambda: None, clock, clock.sleep, now)
    pace.wait_for_window()
    assert clock.now == pytest.approx(7200, abs=1)
    pace.done(size=1)
    assert clock.now == pytest.approx(7200, abs=1)
    clock.now = 3 * 3600
    pace.done(size=1)
    assert clock.now == pytest.approx((24 + 2) * 3600, abs=1)


def test_a_migration_waits_for_its_window_and_for_none_behind_the_fence(
    mount: FakeMount, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens = {"after": 3}
    steps: list[Step] = []
    turns: list[Turn] = []

    def closed(self: Window, now: datetime.datetime) -> float:
        opens["after"] -= 1
        return 0.001 if opens["after"] >= 0 else 0.0

    monkeypatch.setattr(Window, "closed_for", closed)
    one = Subject(mount, file_system(mount), make_source(mount, Direction.ENCRYPT, b"/above/tree"))

    @contextmanager
    def hands(turn: Turn) -> Iterator[Hands]:
        turns.append(turn)
        sides = migration.sides(migration.required_record())
        yield InThisProcess(sides, lambda: migration.require_turn_of(turn), Limits())

    migration = Migration(
        mount, one.files, one.path, steps.append, hands=hands, limits=Limits(window=Window(0, 1))
    )
    migration.start(one.way, "")
    copied = Copied()
    migration.converge(copied)
    assert steps == [Step.WAITING, Step.COPYING]
    assert copied.files == len(FILES)

    def told(step: Step) -> None:
        steps.append(step)
        if step is Step.FENCING:
            # from here on it would never open again
            opens["after"] = 1 << 60

    migration = Migration(mount, one.files, one.path, told, hands=hands, limits=Limits(window=Window(0, 1)))
    opens["after"] = 2
    migration.cut_over(Copied(), one.verify, evict=False)
    assert steps[2:5] == [Step.WAITING, Step.FENCING, Step.FINISHING]
    assert [turn.fenced for turn in turns] == [False, True, True]
