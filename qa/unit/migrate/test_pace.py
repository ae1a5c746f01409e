"""How fast a migration may copy."""

import pytest

from mgr_fscrypt.ceph.errors import LeaseLostError
from mgr_fscrypt.migrate.pace import Limits, Pace


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
