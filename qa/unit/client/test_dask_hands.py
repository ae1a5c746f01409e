"""Both ends of copying by Dask, without Dask: what becomes of offers and mounts when something comes in between."""

from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from pathlib import Path
from typing import Any

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.errors import LeaseLostError, UnreachableError
from mgr_fscrypt.ceph.interface import Mount
from mgr_fscrypt.engine import Keyring
from mgr_fscrypt.migrate import Direction, Migration
from mgr_fscrypt.migrate.dask_hands import DaskHands
from mgr_fscrypt.migrate.dask_worker import _Hand, serve
from mgr_fscrypt.migrate.offers import NotOfferedError, Offers
from mgr_fscrypt.migrate.pace import UNLIMITED, Limits, Window, local_time
from mgr_fscrypt.migrate.record import hidden_of
from mgr_fscrypt.migrate.scheduler import Scheduler
from mgr_fscrypt.migrate.shards import Shard
from mgr_fscrypt.migrate.turns import Turn
from qa.fakes.ceph import FakeCluster, FakeMount
from qa.fakes.migration_cases import file_system, make_source

PATH = b"/above/tree"


class Client:
    """What a scheduler is asked for; nobody does it."""

    status = "running"

    def __init__(self) -> None:
        self.numbers: list[str] = []
        self.limits: list[Limits] = []
        self.ran: list[Callable[..., object]] = []

    def nthreads(self) -> dict[str, int]:
        return {"a": 1}

    def submit(
        self, _: object, turn: Turn, number: str, shard: Shard, limits: Limits, **options: object
    ) -> Future[Any]:
        self.numbers.append(number)
        self.limits.append(limits)
        return Future()

    def cancel(self, tasks: list[Future[Any]], *, force: bool) -> None:
        assert force

    def run(self, what: Callable[..., object], *, on_error: str) -> None:
        assert on_error == "ignore"
        self.ran.append(what)


class At:
    """A turn, and hands for it."""

    def __init__(self, limits: Limits = UNLIMITED) -> None:
        self.mount = FakeMount(FakeCluster())
        way = make_source(self.mount, Direction.ENCRYPT, PATH)
        Migration(self.mount, file_system(self.mount), PATH).start(way, "")
        self.turn = Turn(PATH, self.mount.stat(hidden_of(PATH)).ino, "token")
        self.over = False
        self.client = Client()
        self.ended: list[str] = []
        self.offers = Offers(self.mount, PATH)
        self.hands = DaskHands(
            self.client,  # type: ignore[arg-type]
            self.offers,
            self.turn,
            limits,
            self.ended.append,
            self._require,
        )

    def _require(self) -> None:
        if self.over:
            raise LeaseLostError(116, "over")


@pytest.fixture
def at() -> At:
    return At()


def test_whoever_has_taken_something_loses_its_session(at: At) -> None:
    done = at.hands.submit(Shard(()))
    at.offers.take(at.client.numbers[0], "one")
    at.hands.replace()
    assert at.ended == ["one"]
    assert isinstance(done.exception(0), BrokenExecutor)
    at.hands.submit(Shard(()))
    at.offers.take(at.client.numbers[1], "another")
    at.hands.end()
    assert at.ended == ["one", "another"]
    assert len(at.client.ran) == 1


def test_who_slept_past_its_turn_leaves_the_offers_of_the_next_one_alone(at: At) -> None:
    at.over = True
    next_one = Offers(at.mount, PATH)
    next_one.offer("a")
    next_one.offer("b")
    next_one.take("a", "at work for the next one")
    with pytest.raises(LeaseLostError):
        at.hands.replace()
    at.hands.end()
    assert (at.ended, at.client.ran) == ([], [])
    next_one.done("a", "at work for the next one")
    next_one.take("b", "another")


def test_sessions_are_ended_where_the_scheduler_went(at: At) -> None:
    at.hands.submit(Shard(()))
    at.offers.take(at.client.numbers[0], "one")
    at.client.status = "closed"
    with pytest.raises(UnreachableError):
        at.hands.submit(Shard(()))
    at.hands.end()
    assert (at.ended, at.client.ran) == (["one"], [])


def test_pages_of_a_worker_are_for_its_host_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def worker(_: str, **options: object) -> None:
        assert options["dashboard_address"] == "127.0.0.1:0"
        raise OSError("asked")

    monkeypatch.setattr("distributed.Worker", worker)
    monkeypatch.setattr("mgr_fscrypt.migrate.dask_worker.keep_out_of_core_dumps", lambda: None)
    monkeypatch.setattr("mgr_fscrypt.migrate.dask_worker.security_of", lambda _: None)
    scheduler = Scheduler("tls://host:1", Path("ca"), Path("certificate"), Path("key"))
    with pytest.raises(OSError, match="asked"):
        serve(Access(), Keyring(), scheduler, lambda: None)


def test_the_window_is_that_of_the_host_that_asks() -> None:
    at = At(Limits(files=8, window=Window(0, 3600)))
    at.hands.submit(Shard(()))
    (limits,) = at.client.limits
    assert limits.files == 4
    assert limits.window is not None
    assert limits.window.zone is not None
    assert limits.window.zone.utcoffset(None) == local_time().utcoffset()


def test_a_worker_that_comes_too_late_does_not_stay_mounted(at: At) -> None:
    class Hand(_Hand):
        mounts = 0

        def mounted(self, turn: Turn) -> Mount:
            self.session = "session"
            self.mounts += 1
            return at.mount

        def let_go(self) -> None:
            self.mounts = 0

    hand = Hand(Access(), Keyring())
    with pytest.raises(NotOfferedError):
        hand.work(at.turn, "nobody's any more", Shard(()), UNLIMITED)
    assert hand.mounts == 0
