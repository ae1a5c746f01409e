"""Forms about what moves by itself: they are held to what people put of it."""

import errno
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from mgr_fscrypt.api.exchange import Visitor
from mgr_fscrypt.api.standing import standing
from mgr_fscrypt.control import RefusalError, Result
from mgr_fscrypt.control.jobs import JobDetail
from mgr_fscrypt.messages.job import STATES, JobState, JobWish
from mgr_fscrypt.store import Identity, LocalDatabase
from qa.fakes.api_door import Door
from qa.fakes.gating import ISOLATE, OBSERVE, World, furnished

ID = "ab" * 16
JOB = JobState.queued(JobWish(ID, "migrate", 1, "/a"), 5.0)


@pytest.fixture
def world() -> Iterator[World]:
    with closing(LocalDatabase()) as database:
        yield furnished(database)


def shown(job: JobState) -> Result:
    return Result(answer=JobDetail(job, "cephfs"))


def test_a_job_that_goes_on_is_the_same_until_somebody_stops_it_or_it_ends():
    held = {state: standing("job show", shown(replace(JOB, state=state))) for state in STATES}
    same = [{"queued", "running", "waiting"}, {"pausing", "paused"}, {"cancelling", "cancelled"}]
    for states in (*same, {"done"}, {"failed"}):
        (one,) = {held[state] for state in states}
        assert {state for state in STATES if held[state] == one} == states
    assert standing("job show", shown(replace(JOB, done=7, rate=2.0, why="x"))) == held["queued"]
    for code in (errno.ENOENT, errno.EAGAIN):
        with pytest.raises(RefusalError):
            standing("job show", Result.failed(code, "no"))


def test_a_gate_is_the_same_while_it_is_carried_out_and_not_once_somebody_asks_for_another(world: World):
    def held() -> object:
        return standing("gate show", world.rungs.show("cephfs", "/vault"))

    none = held()
    assert world.rungs.set(ISOLATE).success
    asked = held()
    assert asked != none
    world.settle()
    assert held() == asked, "carried out, it is what was asked for"
    assert world.rungs.set(replace(ISOLATE, admit="client.stray")).success
    assert held() not in (none, asked)
    assert world.rungs.set(OBSERVE).success
    assert held() == none, "one that is being taken back goes by itself"
    with pytest.raises(RefusalError):
        standing("gate show", Result.failed(errno.EAGAIN, "no"))


def test_a_form_about_a_job_is_refused_once_somebody_stopped_it(door: Door, monkeypatch: pytest.MonkeyPatch):
    # it can be loaded where ceph-mgr's own modules are
    from mgr_fscrypt.api.caller import ApiCaller

    api = door.manager.module.serving.api
    now: list[Result] = [shown(JOB)]
    done: list[str] = []

    def cancelled(_desk: object, **named: Any) -> Result:
        done.append(named["job"])
        return Result(status="cancelled")

    for command, given in (("job show", lambda _desk, **_named: now[0]), ("job cancel", cancelled)):
        monkeypatch.setitem(api.routes, command, replace(api.routes[command], command=given))
    caller = ApiCaller(api, Visitor(Identity("ann", "token", "x", "operator", "", 1, 0), "192.0.2.9"))
    tag = caller.tag("job cancel", {"job": ID})
    assert tag
    assert caller.tag("job cancel", {}) == "", "of nothing in particular"
    now[0] = shown(replace(JOB, state="paused"))
    late = caller.call_if("job cancel", {"job": ID}, tag)
    assert (late.code, "nothing was changed" in late.status, done) == (errno.ESTALE, True, [])
    now[0] = Result.failed(errno.EAGAIN, "there is no engine service")
    away = caller.call_if("job cancel", {"job": ID}, tag)
    assert (away.code, away.status, done) == (errno.EAGAIN, "there is no engine service", [])
    assert caller.tag("job cancel", {"job": ID}) == ""
    now[0] = shown(replace(JOB, state="running", done=9))
    assert caller.call_if("job cancel", {"job": ID}, tag).code == 0, "that it goes on keeps nobody from it"
    assert done == [ID]
