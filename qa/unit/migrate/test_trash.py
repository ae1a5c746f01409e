"""How long the trash is kept, and how fast it goes."""

import copy
import datetime
import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from mgr_fscrypt.ceph.errors import NotFoundError
from mgr_fscrypt.engine import BusyError, RefusedError
from mgr_fscrypt.migrate import Copied, Direction, Migration, Record, State
from mgr_fscrypt.migrate.migration import LONGEST_KEPT
from mgr_fscrypt.migrate.pace import Limits
from mgr_fscrypt.migrate.record import RECORD, hidden_of
from mgr_fscrypt.migrate.trees import walk
from qa.fakes.ceph import DiedError, FakeCluster, FakeMount
from qa.fakes.migration_cases import Subject, file_system, make_source

PATH = b"/above/tree"
NOW = 1_800_000_000


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mgr_fscrypt.migrate.migration.time.time", lambda: NOW + 0.5)


@pytest.fixture
def one(mount: FakeMount) -> Subject:
    return Subject(mount, file_system(mount), make_source(mount, Direction.ENCRYPT, PATH))


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize(("kept_until", "after"), [(0, False), (NOW + 1, False), (NOW, True), (1, True)])
def test_the_time_of_the_trash_comes(state: State, kept_until: int, *, after: bool) -> None:
    record = Record("c", "/p", Direction.ENCRYPT, 1, "", "", state=state, kept_until=kept_until)
    assert record.due(NOW) is (state is State.PURGING or (state is State.DONE and after))


def test_it_is_kept_as_long_as_was_said_from_the_cut_over_on(one: Subject) -> None:
    record = one.migration.start(one.way, "", keep=3600)
    assert (record.keep, record.kept_until) == (3600, 0)
    one.migration.start(one.way, "")
    one.migration.converge(Copied())
    one.cut_over()
    record = one.migration.required_record()
    assert (record.state, record.kept_until) == (State.DONE, NOW + 3600)
    # and then from the moment on in which it is said
    assert one.migration.start(one.way, "", keep=60).kept_until == NOW + 60
    assert one.migration.start(one.way, "", keep=0).kept_until == 0


def test_without_a_word_it_is_kept(one: Subject) -> None:
    one.copy()
    one.cut_over()
    assert one.migration.required_record().kept_until == 0


def test_no_time_is_said_that_cannot_be_told(one: Subject, mount: FakeMount) -> None:
    with pytest.raises(RefusedError, match="hundred years"):
        one.migration.start(one.way, "", keep=LONGEST_KEPT + 1)
    assert one.migration.record() is None
    with pytest.raises(NotFoundError):
        mount.stat(hidden_of(PATH))
    kept = one.migration.start(one.way, "", keep=LONGEST_KEPT).keep
    assert datetime.datetime.fromtimestamp(NOW + kept, datetime.UTC).year < 2200


def test_whoever_wants_only_what_is_due_asks_in_its_turn(one: Subject) -> None:
    one.migration.start(one.way, "", keep=60)
    one.migration.converge(Copied())
    one.cut_over()
    with pytest.raises(BusyError, match="kept longer"):
        one.migration.purge(only_due=True)
    assert one.state() is State.DONE
    one.migration.start(one.way, "", keep=0)
    with pytest.raises(BusyError, match="kept longer"):
        one.migration.purge(only_due=True)
    record = one.migration.required_record()
    one.mount.setxattr(hidden_of(PATH), RECORD, replace(record, kept_until=NOW).encode())
    one.migration.purge(only_due=True)
    assert one.state() is None


def test_whoever_finishes_a_cut_over_knows_the_time() -> None:
    base = FakeCluster()
    mount = FakeMount(base)
    way = make_source(mount, Direction.ENCRYPT, PATH, lambda *_: None)
    one = Subject(mount, file_system(mount), way)
    one.migration.start(way, "", keep=60)
    one.migration.converge(Copied())
    one.files.close()
    finished = 0
    for changes in range(100):
        cluster = copy.deepcopy(base)
        dying = FakeMount(cluster)
        subject = Subject(dying, file_system(dying), way)
        dying.die_after(changes)
        try:
            subject.cut_over()
        except DiedError:
            cluster.leases.clear()
        else:
            break
        heir = FakeMount(cluster)
        record = Subject(heir, file_system(heir), way).migration.start(way, "")
        assert record.state is State.COPYING or record.kept_until == NOW + 60
        finished += record.state is State.DONE
    assert finished > 2


@pytest.mark.parametrize("act", ["purge", "cancel"])
def test_what_goes_is_counted_for_the_limits(
    one: Subject, mount: FakeMount, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    counted: list[Limits] = []

    class Counting:
        def __init__(self, limits: Limits, _: Callable[[], None]) -> None:
            self._limits = limits

        def done(self, *, files: int) -> None:
            assert files == 1
            counted.append(self._limits)

    one.copy()
    entries = sum(not met.leaving for met in walk(one.source, PATH))
    if act == "purge":
        one.cut_over()
    monkeypatch.setattr("mgr_fscrypt.migrate.removing.Pace", Counting)
    limits = Limits(files=7)
    getattr(Migration(mount, one.files, PATH, limits=limits), act)()
    assert set(counted) == {limits}
    assert len(counted) >= entries


def test_a_record_of_before_says_nothing_of_it() -> None:
    record = Record("c", "/p", Direction.ENCRYPT, 1, "", "", excluded=(5,), keep=1, kept_until=2)
    assert Record.decode(record.encode()) == record
    value = json.loads(record.encode())
    for name in ("keep", "kept_until", "excluded"):
        del value[name]
    old = Record.decode(json.dumps(value).encode())
    assert old == replace(record, excluded=(), keep=0, kept_until=0)
