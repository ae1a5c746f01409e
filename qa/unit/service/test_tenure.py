"""Two services of one file system never have a turn at the same time."""

import random
import threading
from contextlib import AbstractContextManager

import pytest

from mgr_fscrypt.backoff import Backoff
from mgr_fscrypt.service.tenure import INTERVAL, Lease, Tenure
from qa.fakes.service import FakeClock, FakeTurns

DURATION = 5.0


class Stage:
    """One file system, whose services are moved step by step."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.turns = FakeTurns(self.clock, DURATION)

    def tenure(self, name: str) -> Tenure:
        return Tenure(lambda: self.turns.reach(name), self.clock, DURATION, Backoff(chance=lambda: 0.0))

    def step(self, tenure: Tenure, lease: AbstractContextManager[Lease] | Lease) -> None:
        tenure._step(lease)  # type: ignore[arg-type]


def test_a_free_turn_is_taken_and_kept():
    stage = Stage()
    one = stage.tenure("one")
    with stage.turns.reach("one") as lease:
        assert one.epoch is None
        for _ in range(20):
            stage.step(one, lease)
            assert one.epoch == 1
            stage.clock.time += INTERVAL
    assert (one.standing.state, one.standing.since) == ("serving", 1_700_001_000)


def test_the_second_waits_says_for_whom_and_counts_on():
    stage = Stage()
    one, two = stage.tenure("one"), stage.tenure("two")
    with stage.turns.reach("one") as first, stage.turns.reach("two") as second:
        stage.step(one, first)
        stage.step(two, second)
        assert (two.standing.state, two.standing.holder, two.epoch) == ("standby", "one", None)
        first.release()
        stage.step(two, second)
        assert (two.standing.state, two.epoch) == ("serving", 2)
        stage.step(one, first)
        assert (one.epoch, one.standing.state) == (None, "standby")


def test_a_turn_ends_by_our_own_clock_before_anybody_elses():
    stage = Stage()
    one, two = stage.tenure("one"), stage.tenure("two")
    with stage.turns.reach("one") as first, stage.turns.reach("two") as second:
        stage.step(one, first)
        # its thread hangs from here on
        stage.clock.time += DURATION
        assert (one.epoch, one.standing.state) == (None, "unreachable")
        stage.step(two, second)
        assert (one.epoch, two.epoch) == (None, 2)


def test_the_time_counts_from_before_the_question():
    stage = Stage()
    one = stage.tenure("one")
    with stage.turns.reach("one") as lease:
        take = lease.take

        def slow() -> int | None:
            stage.clock.time += 4
            return take()

        lease.take = slow  # type: ignore[method-assign]
        stage.step(one, lease)
        assert one.epoch == 1
        stage.clock.time += 1
        assert one.epoch is None
        assert not stage.turns.free()


def test_a_cluster_that_is_away_is_asked_again_with_pauses_and_the_turn_is_over():
    stage = Stage()
    one = stage.tenure("one")
    pauses: list[float] = []
    states: list[tuple[str, str]] = []

    def wait(over: threading.Event, seconds: float) -> bool:
        stage.clock.time += seconds
        pauses.append(seconds)
        states.append((one.standing.state, one.standing.trouble))
        stage.turns.away = len(pauses) in range(3, 8)
        if len(pauses) == 12:
            one.end()
        return over.is_set()

    stage.clock.wait = wait  # type: ignore[method-assign]
    one.run()
    assert pauses == [INTERVAL] * 3 + [1, 2, 4, 8, 16] + [INTERVAL] * 4
    assert states[:3] == [("serving", "")] * 3
    assert states[3:8] == [("unreachable", "no answer")] * 5
    assert states[8:] == [("serving", "")] * 4
    assert stage.turns.count == 2
    assert one.epoch is None
    assert stage.turns.free(), "it was given back"


@pytest.mark.parametrize("seed", range(20))
def test_never_two_whatever_happens(seed: int):
    dice = random.Random(seed)
    stage = Stage()
    services = [(stage.tenure(str(number)), stage.turns.reach(str(number))) for number in range(3)]
    open_now = [(tenure, reach.__enter__()) for tenure, reach in services]
    seen: list[int] = []
    for _ in range(500):
        tenure, lease = dice.choice(open_now)
        match dice.randrange(10):
            case 0:
                lease.release()
                tenure._stand("standby")
            case 1:
                stage.clock.time += dice.uniform(0, 2 * DURATION)
            case _:
                stage.step(tenure, lease)
        stage.clock.time += dice.uniform(0, 1)
        epochs = [epoch for tenure, _ in open_now if (epoch := tenure.epoch) is not None]
        assert len(epochs) <= 1
        seen += epochs
    assert seen == sorted(seen)
    assert len(set(seen)) > 5
