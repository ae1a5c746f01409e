"""Jobs: each state is kept before it is told, and a job goes on where it was, whatever ends the service."""

import errno
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from mgr_fscrypt.ceph.errors import CephError, ClientDiedError, UnreachableError
from mgr_fscrypt.engine import LockedError, RefusedError
from mgr_fscrypt.messages.job import Jobs, JobWish
from mgr_fscrypt.messages.service import JobsQuestion
from mgr_fscrypt.service.jobs import (
    Controls,
    JobFailedError,
    JobRefusedError,
    NoSuchJobError,
    NotServingError,
    RefusedWishError,
    Runner,
    WaitingError,
)
from mgr_fscrypt.service.jobs.records import LONGEST_OVER, MOST_OVER, JobRecord
from mgr_fscrypt.service.jobs.run import KEPT, SLICE
from qa.fakes.jobs import CrashError, Stage, SteppingKind, wish
from qa.fakes.service import KEY, away, refused


@pytest.fixture
def stage() -> Stage:
    return Stage()


def glance(stage: Stage) -> Jobs:
    found = stage.runner.glance()
    assert found is not None
    return found


def test_a_job_is_kept_run_and_told(stage: Stage):
    assert stage.runner.begin_job(wish()).state == "queued"
    assert stage.kept == {"01": "queued"}
    stage.go()
    state = stage.runner.state(wish().id)
    assert (state.state, state.code, state.outcome()) == ("done", 0, {"counted": 3})
    assert (state.done, state.total, state.unit) == (3, 3, "steps")
    assert None not in (state.started, state.ended)
    assert stage.kept == {"01": "done"}


def test_the_same_wish_is_one_job(stage: Stage):
    stage.runner.begin_job(wish(1))
    assert stage.runner.begin_job(wish(1)).id == wish(1).id
    # a command that is given again has another id
    assert stage.runner.begin_job(wish(2)).id == wish(1).id
    assert stage.kept == {"01": "queued"}
    stage.go()
    assert stage.runner.begin_job(wish(1)).state == "done"
    assert stage.runner.begin_job(wish(2)).state == "queued"
    with pytest.raises(JobRefusedError, match="another one"):
        stage.runner.begin_job(wish(1, path="/b"))


def test_what_cannot_be_done_is_refused_when_it_is_asked_for(stage: Stage):
    with pytest.raises(RefusedWishError, match="the option steps only"):
        stage.runner.begin_job(wish(speed=9))
    with pytest.raises(JobRefusedError, match="no jobs of the kind fly"):
        stage.runner.begin_job(wish(kind="fly"))
    with pytest.raises(JobRefusedError, match="file system 1, not for 2"):
        stage.runner.begin_job(JobWish(wish().id, "count", 2, "/a"))
    with pytest.raises(NoSuchJobError):
        stage.runner.pause(wish().id)
    assert stage.kept == {}


def test_pause_and_resume(stage: Stage):
    seen: list[str] = []

    def pause(_: Controls) -> None:
        seen.append(stage.runner.pause(wish().id).state)
        seen.append(stage.kept["01"])

    stage.kind.at[1] = pause
    stage.runner.begin_job(wish())
    stage.go()
    assert seen == ["pausing", "pausing"]
    assert stage.kept == {"01": "paused"}
    assert stage.runner.pause(wish().id).state == "paused"
    stage.go()
    assert stage.kind.steps == [("01", 0)]
    assert stage.runner.resume(wish().id).state == "queued"
    stage.go()
    assert stage.told() == "done"
    assert stage.kind.steps == [("01", 0), ("01", 1), ("01", 2)]


def test_what_ended_last_is_told_of_first(stage: Stage):
    stage.kind.at[1] = lambda _: stage.runner.pause(wish().id)
    for each in (wish(1), wish(2, path="/b")):
        stage.runner.begin_job(each)
        stage.go()
        stage.clock.time += 1
    stage.runner.resume(wish().id)
    stage.go()
    assert [each.id for each in glance(stage).told] == [wish(1).id, wish(2).id]


def test_a_pause_that_is_taken_back_in_time(stage: Stage):
    def hesitate(_: Controls) -> None:
        stage.runner.pause(wish().id)
        assert stage.runner.resume(wish().id).state == "running"

    stage.kind.at[1] = hesitate
    stage.runner.begin_job(wish())
    stage.go()
    assert stage.told() == "done"


def test_one_that_was_told_to_pause_is_paused_after_a_restart(stage: Stage):
    stage.kind.at[1] = lambda _: stage.runner.pause(wish().id)
    stage.records.crash_after = 4
    stage.runner.begin_job(wish())
    with pytest.raises(CrashError):
        stage.go()
    assert stage.kept == {"01": "pausing"}
    stage.restart()
    assert stage.kept == {"01": "paused"}


def test_cancel(stage: Stage):
    stage.kind.at[1] = lambda _: stage.runner.cancel(wish().id)
    stage.runner.begin_job(wish())
    stage.go()
    assert (stage.told(), stage.kind.put_away) == ("cancelled", ["01"])
    assert stage.runner.cancel(wish().id).state == "cancelled"
    # one that never ran has nothing to put away
    stage.runner.begin_job(wish(2))
    assert stage.runner.cancel(wish(2).id).state == "cancelled"
    stage.go()
    assert stage.kind.put_away == ["01"]
    with pytest.raises(JobRefusedError, match="cannot go on"):
        stage.runner.resume(wish(2).id)
    with pytest.raises(JobRefusedError, match="cannot be paused"):
        stage.runner.pause(wish(2).id)


def test_one_that_is_paused_is_run_once_more_to_be_cancelled(stage: Stage):
    stage.kind.at[1] = lambda _: stage.runner.pause(wish().id)
    stage.runner.begin_job(wish())
    stage.go()
    assert stage.runner.cancel(wish().id).state == "cancelling"
    assert stage.kept == {"01": "cancelling"}
    stage.restart()
    stage.go()
    assert (stage.told(), stage.kind.put_away) == ("cancelled", ["01"])
    assert stage.kind.steps == [("01", 0)]


def test_every_crash_of_a_job_that_is_cancelled_is_gone_on_after():
    """Killed after each write: it is cancelled if that was told, and has put away what it left, or it is not."""
    for crash in range(1, 30):
        stage = Stage()
        told: list[str] = []
        stage.kind.at[1] = lambda _, stage=stage, told=told: told.append(stage.runner.cancel(wish().id).state)
        stage.records.crash_after = crash
        with suppress(CrashError):
            stage.runner.begin_job(wish())
            stage.go()
            assert (stage.kept, stage.kind.put_away) == ({"01": "cancelled"}, ["01"])
            break
        stage.restart()
        stage.go()
        if told:
            assert stage.kept == {"01": "cancelled"}, crash
        ended = stage.kept["01"]
        assert ended in ("cancelled", "done"), crash
        assert ended == "done" or stage.kind.put_away == ["01"], crash
    else:
        pytest.fail("it never ran through")
    assert crash > 4


def test_every_crash_is_gone_on_after():
    """Killed after each write, with a pause and a resume on the way: no step is lost, none but the last is repeated."""
    for crash in range(1, 30):
        stage = Stage()
        stage.kind.at[1] = lambda _, stage=stage: stage.runner.pause(wish().id)
        stage.records.crash_after = crash
        with suppress(CrashError):
            stage.runner.begin_job(wish(steps=4))
            stage.go()
            stage.runner.resume(wish().id)
            stage.go()
            # it ran through before that write
            assert stage.kept == {"01": "done"}
            break
        stage.restart()
        if stage.kept.get("01") == "paused":
            stage.runner.resume(wish().id)
        stage.runner.begin_job(wish(steps=4))
        stage.go()
        if stage.kept == {"01": "paused"}:
            stage.runner.resume(wish().id)
            stage.go()
        assert stage.kept == {"01": "done"}, crash
        steps = [number for _, number in stage.kind.steps]
        assert steps == sorted(steps), crash
        assert set(steps) == {0, 1, 2, 3}, crash
    else:
        pytest.fail("it never ran through")
    assert crash > 8


def test_a_service_without_its_turn_writes_nothing(stage: Stage):
    def taken(_: Controls) -> None:
        stage.records.epoch = 2

    stage.kind.at[1] = taken
    stage.runner.begin_job(wish())
    before = stage.records.kept
    stage.go()
    assert stage.kept == {"01": "running"}
    assert stage.records.kept is before
    # step 1 was made, and could not be kept
    assert stage.kind.steps == [("01", 0), ("01", 1)]
    assert not stage.runner.going()
    with pytest.raises(NotServingError):
        stage.runner.state(wish().id)


def test_the_end_of_a_turn_is_seen_at_the_next_check(stage: Stage):
    def over(_: Controls) -> None:
        stage.epoch = None

    stage.kind.at[1] = over
    stage.runner.begin_job(wish())
    stage.go()
    assert stage.kind.steps == [("01", 0)]
    with pytest.raises(NotServingError):
        stage.runner.begin_job(wish(2))
    stage.restart()
    assert stage.told() == "queued"
    stage.go()
    assert stage.told() == "done"


def test_what_the_cluster_does_not_take_is_begun_anew(stage: Stage):
    def outage(_: Controls) -> None:
        stage.records.away = True

    stage.kind.at[1] = outage
    stage.runner.begin_job(wish())
    stage.go()
    assert not stage.runner.going()
    stage.records.away = False
    stage.runner.leave()
    stage.runner.begin(stage.records, 1)
    stage.go()
    assert stage.told() == "done"
    assert stage.kind.steps == [("01", 0), ("01", 1), ("01", 1), ("01", 2)]
    stage.records.away = True
    with pytest.raises(CephError):
        stage.runner.begin_job(wish(2))


def test_a_locked_key_has_a_job_wait_until_it_is_unlocked(stage: Stage):
    stage.residents.lock(KEY)
    used: list[bytes] = []

    def use(controls: Controls) -> None:
        with controls.key(KEY) as key:
            used.append(key.identifier)
            controls.check()

    def again(controls: Controls) -> None:
        stage.kind.at[1] = again
        use(controls)

    stage.kind.at[1] = again
    stage.runner.begin_job(wish())
    stage.go()
    state = stage.runner.state(wish().id)
    assert state.state == "waiting"
    assert f"ceph fscrypt key unlock {KEY.hex()}" in state.why
    assert glance(stage).waiting == 1
    stage.residents.keep(KEY, 60.0)
    stage.go()
    assert stage.told() == "waiting"  # its time has not come
    stage.runner.hurry()
    stage.go()
    assert (stage.told(), used) == ("done", [KEY])


def test_a_key_that_is_locked_under_a_job_stops_it(stage: Stage):
    def use(controls: Controls) -> None:
        with controls.key(KEY):
            stage.residents.lock(KEY)
            controls.check()

    stage.kind.at[1] = use
    stage.runner.begin_job(wish())
    stage.go()
    assert stage.told() == "waiting"
    stage.clock.time += 2
    stage.go()
    assert stage.told() == "done"


@pytest.mark.parametrize("trouble", [away(), refused()])
def test_a_key_manager_that_gives_no_key_keeps_no_place(stage: Stage, trouble: Exception):
    stage.unlocker.troubles.append(trouble)

    def use(controls: Controls) -> None:
        with controls.key(KEY):
            pass

    stage.kind.at[1] = use
    stage.runner.begin_job(wish())
    stage.go()
    state = stage.runner.state(wish().id)
    assert (state.state, str(trouble) in state.why) == ("waiting", True)
    assert stage.clock.waits == []
    stage.clock.time += 2
    stage.go()
    assert stage.told() == "done"


@pytest.mark.parametrize(
    "trouble", [UnreachableError(errno.ETIMEDOUT, "no answer"), ClientDiedError(errno.EIO, "x")]
)
def test_a_cluster_that_is_away_has_a_job_wait(stage: Stage, trouble: Exception):
    def fail(_: Controls) -> None:
        raise trouble

    stage.kind.at[1] = fail
    stage.runner.begin_job(wish())
    stage.go()
    assert stage.told() == "waiting"
    stage.clock.time += 2
    stage.go()
    assert stage.told() == "done"


def test_waits_grow(stage: Stage):
    def fail(_: Controls) -> None:
        stage.kind.at[1] = fail
        raise WaitingError("for Godot")

    stage.kind.at[1] = fail
    stage.runner.begin_job(wish())
    attempts = 0
    for _ in range(1200):
        before = stage.records.writes
        stage.go()
        attempts += stage.records.writes > before
        stage.clock.time += 1
    assert 20 < attempts < 40


@pytest.mark.parametrize(
    ("trouble", "why", "code"),
    [
        (JobFailedError("it broke", remedy="mend it", code=1), "it broke; mend it", 1),
        (
            RefusedError(errno.EINVAL, "not there", b"/plain name", remedy="Go away."),
            "not there; Go away.",
            3,
        ),
        (LockedError(b"/plain name", KEY), f"locked: needs the key {KEY.hex()}; ", 4),
        (CephError(errno.EIO, "bad sector", b"/plain name"), "bad sector", 3),
        (ValueError("/plain name"), "internal error (ValueError); ", 7),
    ],
)
def test_failures_are_told_without_paths(stage: Stage, trouble: Exception, why: str, code: int):
    def fail(_: Controls) -> None:
        raise trouble

    stage.kind.at[1] = fail
    stage.runner.begin_job(wish())
    stage.go()
    state = stage.runner.state(wish().id)
    assert (state.state, state.code) == ("failed", code)
    assert state.why.startswith(why)
    assert "plain name" not in stage.records.kept[f"job.{wish().id}"].decode()
    assert (glance(stage).failed, glance(stage).active) == (1, 0)
    # from its cursor
    assert stage.runner.resume(wish().id).state == "queued"
    stage.go()
    assert stage.kind.steps == [("01", 0), ("01", 1), ("01", 2)]
    assert stage.told() == "done"


def test_a_failed_one_can_be_cancelled(stage: Stage):
    def fail(_: Controls) -> None:
        raise JobFailedError("no", remedy="")

    stage.kind.at[1] = fail
    stage.runner.begin_job(wish())
    stage.go()
    assert stage.runner.cancel(wish().id).state == "cancelling"
    stage.go()
    assert (stage.told(), stage.kind.put_away) == ("cancelled", ["01"])


def test_forgetting(stage: Stage):
    stage.runner.begin_job(wish())
    with pytest.raises(JobRefusedError, match="only what is over"):
        stage.runner.forget(wish().id)
    stage.go()
    stage.runner.forget(wish().id)
    assert stage.kept == {}
    with pytest.raises(NoSuchJobError):
        stage.runner.forget(wish().id)


def test_a_few_run_at_a_time_and_the_first_comes_first():
    stage = Stage(places=2)
    for number in range(1, 5):
        stage.runner.begin_job(wish(number, path=f"/{number}"))
    stage.runner.step()
    assert stage.kept == {"01": "running", "02": "running", "03": "queued", "04": "queued"}
    stage.threads.pop(0)()
    stage.runner.step()
    assert stage.kept == {"01": "done", "02": "running", "03": "running", "04": "queued"}
    # in the same order after a restart
    stage.restart()
    stage.runner.step()
    assert stage.kept == {"01": "done", "02": "running", "03": "running", "04": "queued"}


def test_a_long_one_makes_way_for_others():
    stage = Stage(places=1)

    def last(_: Controls) -> None:
        stage.clock.time += SLICE

    stage.kind.at[2] = last
    stage.runner.begin_job(wish(1, steps=5, path="/1"))
    stage.runner.begin_job(wish(2, steps=1, path="/2"))
    stage.go()
    assert stage.kind.steps == [("01", 0), ("01", 1), ("02", 0), ("01", 2), ("01", 3), ("01", 4)]
    assert stage.kept == {"01": "done", "02": "done"}


def test_two_that_change_one_tree_do_not_run_at_once():
    stage = Stage(SteppingKind(), SteppingKind("change", changes=True), places=9)
    stage.runner.begin_job(wish(1, kind="change", path="/a/b"))
    stage.runner.begin_job(wish(2, path="/a"))
    stage.runner.begin_job(wish(3, path="/a/b/c"))
    stage.runner.begin_job(wish(4, path="/a/bc"))
    stage.runner.step()
    assert [job for job, state in stage.kept.items() if state == "running"] == ["01", "04"]
    whys = [stage.runner.state(wish(number).id).why for number in (2, 3, 4)]
    assert whys == [f"job {wish(1).id} is at work there: it comes after that one"] * 2 + [""]
    stage.go()
    assert set(stage.kept.values()) == {"done"}


def test_what_has_not_seen_the_end_of_its_turn_is_waited_for():
    stage = Stage(SteppingKind(), SteppingKind("change", changes=True))
    stage.runner.begin_job(wish(1))
    stage.runner.begin_job(wish(2, kind="change", path="/a/b"))
    stage.runner.step()
    (slow,) = stage.threads
    stage.threads.clear()
    stage.runner.leave()
    assert stage.runner.glance() is None
    stage.records.epoch = stage.epoch = 2
    stage.runner.begin(stage.records, 2)
    stage.runner.cancel(wish(1).id)
    stage.runner.step()
    # neither the same job nor another one beside it
    assert stage.threads == []
    slow()
    assert stage.kind.steps == []
    stage.go()
    assert stage.kept == {"01": "cancelled", "02": "done"}


def test_a_mistake_of_the_runner_itself_is_gone_on_after(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    def forget(_run: object, _record: object) -> JobRecord:
        raise KeyError("a mistake")

    with monkeypatch.context() as patched:
        patched.setattr("mgr_fscrypt.service.jobs.run.Run.kept", forget)
        stage.runner.begin_job(wish(steps=0))
        stage.go()
    assert not stage.runner.going()
    stage.runner.leave()
    stage.runner.begin(stage.records, 1)
    stage.go()
    assert stage.told() == "done"


def test_progress_is_told_at_once_and_kept_now_and_then(stage: Stage):
    seen = []

    def tell(controls: Controls) -> None:
        stage.clock.time += 2
        controls.progress(1, 5, "pages")
        seen.append(stage.runner.state(wish().id))
        writes = stage.records.writes
        stage.clock.time += KEPT
        controls.check()
        assert stage.records.writes == writes + 1

    stage.kind.at[0] = tell
    stage.runner.begin_job(wish())
    stage.go()
    (state,) = seen
    assert (state.done, state.total, state.unit, state.rate) == (1, 5, "pages", 0.5)
    assert state.eta == stage.clock.date() - KEPT + 8


def test_what_was_noted_is_counted_once(stage: Stage):
    def note(controls: Controls) -> None:
        for number in range(5):
            controls.note("odd-size", b"/a/%d\xff" % number)

    def note_and_pause(controls: Controls) -> None:
        note(controls)
        stage.runner.pause(wish().id)

    stage.kind.at[0] = note
    stage.kind.at[1] = note_and_pause
    stage.runner.begin_job(wish())
    stage.go()
    (error,) = stage.runner.state(wish().id).errors
    # what came after the cursor is met again
    assert (error.kind, error.count, error.examples) == (
        "odd-size",
        5,
        ("/a/0\\xff", "/a/1\\xff", "/a/2\\xff"),
    )
    stage.kind.at[1] = note
    stage.runner.resume(wish().id)
    stage.go()
    assert [each.count for each in stage.runner.state(wish().id).errors] == [10]


def test_classes_of_errors_are_bounded(stage: Stage):
    def note(controls: Controls) -> None:
        for number in range(100):
            controls.note(f"kind-{number}", b"/a")

    stage.kind.at[0] = note
    stage.runner.begin_job(wish())
    stage.go()
    errors = stage.runner.state(wish().id).errors
    assert (len(errors), sum(each.count for each in errors), errors[-1].kind) == (20, 100, "others")


def test_waiting_is_interrupted(stage: Stage):
    def wait(controls: Controls) -> None:
        stage.runner.cancel(wish().id)
        controls.wait(3600)

    stage.kind.at[0] = wait
    stage.runner.begin_job(wish())
    stage.go()
    assert stage.told() == "cancelled"
    assert sum(stage.clock.waits) < 1


def test_old_ones_are_forgotten():
    stage = Stage(places=1)
    stage.runner.begin_job(wish(1))
    stage.go()
    stage.clock.time += LONGEST_OVER + 1
    stage.runner.begin_job(wish(2))
    stage.go()
    assert stage.kept == {"02": "done"}
    (record,) = map(JobRecord.decode, stage.records.kept.values())
    for number in range(3, MOST_OVER + 3):
        state = replace(record.state, wish=wish(number), ended=stage.clock.date() + number)
        stage.records.kept[f"job.{state.id}"] = JobRecord(state).encode()
    stage.clock.time += MOST_OVER + 3
    stage.restart()
    stage.runner.begin_job(wish(MOST_OVER + 3))
    stage.go()
    assert len(stage.records.kept) == MOST_OVER
    assert not {f"job.{wish(number).id}" for number in (2, 3)} & stage.records.kept.keys()
    assert f"job.{wish(4).id}" in stage.records.kept


def test_pages(stage: Stage):
    for number in range(1, 8):
        stage.runner.begin_job(wish(number, path=f"/{number}"))
        stage.clock.time += 1
    page = stage.runner.page(JobsQuestion(None, 3))
    assert [job.id[-1] for job in page.jobs] == ["7", "6", "5"]
    assert page.following == wish(5).id
    rest = stage.runner.page(JobsQuestion(page.following, 100))
    assert [job.id[-1] for job in rest.jobs] == ["4", "3", "2", "1"]
    assert rest.following is None
    with pytest.raises(NoSuchJobError):
        stage.runner.page(JobsQuestion(wish(9).id, 3))


def test_pages_of_some_and_the_oldest_first():
    stage = Stage(SteppingKind(), SteppingKind("brief"))
    for number in range(1, 8):
        stage.runner.begin_job(wish(number, "brief" if number % 2 else "count", f"/{number}"))
        stage.clock.time += 1

    def pages(**wanted: Any) -> list[list[str]]:
        shown, after = [], None
        while True:
            page = stage.runner.page(JobsQuestion(after, 2, **wanted))
            shown.append([job.id[-1] for job in page.jobs])
            after = page.following
            if after is None:
                return shown

    assert pages(reverse=True) == [["1", "2"], ["3", "4"], ["5", "6"], ["7"]]
    assert pages(kind="count") == [["6", "4"], ["2"]]
    assert pages(kind="count", reverse=True, state="queued") == [["2", "4"], ["6"]]
    assert pages(state="done") == [[]]
    assert pages(kind="nosuch") == [[]]


def test_a_page_is_one_message(stage: Stage):
    for number in range(1, 50):
        stage.runner.begin_job(wish(number, path="/" + "\x01" * 4000 + str(number)))
    page = stage.runner.page(JobsQuestion(None, 100))
    assert 1 < len(page.jobs) < 10
    assert page.following == page.jobs[-1].id
    assert len(glance(stage).told) == 20


def test_a_record_of_another_release_is_left_alone(stage: Stage):
    stage.records.kept["job.later"] = b'{"kind": "fscrypt.job", "version": 2}'
    stage.restart()
    stage.runner.begin_job(wish())
    stage.go()
    assert stage.told() == "done"
    assert "job.later" in stage.records.kept


def test_a_kind_that_this_release_does_not_know(stage: Stage):
    stage.runner.begin_job(wish())
    stage.kinds = ()
    stage.restart()
    stage.go()
    state = stage.runner.state(wish().id)
    assert state.state == "failed"
    assert "knows no jobs of the kind count" in state.why


def test_records_come_as_they_went(stage: Stage):
    stage.runner.begin_job(wish(steps=2))
    (data,) = stage.records.kept.values()
    assert JobRecord.decode(data).encode() == data


@pytest.fixture
def living() -> Iterator[Stage]:
    """One with threads of its own and time that passes."""
    stage = Stage()
    stage.runner.leave()
    yield stage
    stage.runner.end()


def test_it_lives_on_threads(living: Stage):
    done = threading.Event()
    runner = Runner(living.kinds, living.records.reach, lambda: living.epoch, living.residents, living.clock)
    living.kind.at[2] = lambda _: done.set()
    thread = threading.Thread(target=runner.run)
    thread.start()
    begun = False
    while not begun:
        with suppress(NotServingError):
            runner.begin_job(wish())
            begun = True
    assert done.wait(30)
    runner.end()
    runner.join(30)
    thread.join(30)
    assert not thread.is_alive()
    assert runner.glance() is None
