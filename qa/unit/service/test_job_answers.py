"""What is answered about jobs: in time, and with what to do next."""

import errno
import threading

import pytest

from mgr_fscrypt.ceph.errors import CephError
from mgr_fscrypt.messages.job import JobPage, Jobs, JobState, JobWish
from mgr_fscrypt.messages.service import (
    CancelJob,
    Done,
    ForgetJob,
    JobAsk,
    JobQuestion,
    JobsQuestion,
    PauseJob,
    ResumeJob,
    StartJob,
    Trouble,
)
from mgr_fscrypt.service.jobs.answering import JobAnswers
from qa.fakes.jobs import Stage, wish

ID = wish().id


class Answered(Stage):
    """A service that is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = JobAnswers(self.runner, patience=30)

    def trouble(self, ask: JobAsk) -> Trouble:
        said = self.answers.answer(ask)
        assert isinstance(said, Trouble)
        return said


@pytest.fixture
def stage() -> Answered:
    return Answered()


def test_each_ask_is_done(stage: Answered):
    states = []
    for ask in (StartJob(wish()), PauseJob(ID), ResumeJob(ID), JobQuestion(ID), CancelJob(ID)):
        said = stage.answers.answer(ask)
        assert isinstance(said, JobState)
        states.append(said.state)
    assert states == ["queued", "paused", "queued", "queued", "cancelled"]
    page = stage.answers.answer(JobsQuestion(None, 5))
    assert isinstance(page, JobPage)
    assert [job.id for job in page.jobs] == [ID]
    assert stage.answers.answer(ForgetJob(ID)) == Done()
    assert stage.answers.glance() == Jobs(0, 0, 0, ())


@pytest.mark.parametrize(
    ("ask", "code", "text"),
    [
        (StartJob(wish(2, kind="fly")), "refused", "knows no jobs of the kind fly; nothing was changed"),
        (StartJob(JobWish("2" * 32, "count", 5, "/a")), "refused", "works for file system 1, not for 5"),
        (StartJob(wish(2, path="/b", speed=1)), "bad-wish", "the option steps only; nothing was changed"),
        (PauseJob("2" * 32), "no-such-job", "there is no job 2222"),
        (JobQuestion("2" * 32), "no-such-job", "there is no job 2222"),
        (JobsQuestion("2" * 32, 5), "no-such-job", "there is no job 2222"),
        (ForgetJob(ID), "refused", "only what is over can be forgotten; nothing was changed"),
    ],
)
def test_refusals(stage: Answered, ask: JobAsk, code: str, text: str):
    stage.runner.begin_job(wish())
    said = stage.trouble(ask)
    assert (said.code, text in said.text) == (code, True)


def test_without_a_turn_nothing_is_done(stage: Answered):
    stage.epoch = None
    assert stage.trouble(StartJob(wish())).code == stage.trouble(JobQuestion(ID)).code == "not-serving"
    assert stage.kept == {}


def test_a_cluster_that_refuses(stage: Answered):
    stage.records.away = True
    said = stage.trouble(StartJob(wish()))
    assert (said.code, "may or may not be done" in said.text) == ("failed", True)


def test_a_cluster_that_does_not_answer(stage: Answered, monkeypatch: pytest.MonkeyPatch):
    go_on, asked = threading.Event(), threading.Event()
    write = stage.records.write

    def hang(epoch: int, changes: dict[str, bytes | None]) -> None:
        asked.set()
        go_on.wait(30)
        write(epoch, changes)

    monkeypatch.setattr(stage.records, "write", hang)
    answers = JobAnswers(stage.runner, patience=0.05)
    said = answers.answer(StartJob(wish()))
    assert isinstance(said, Trouble)
    assert asked.wait(30)
    assert "it may yet be done" in said.text
    # one that waits behind it is not begun
    said = answers.answer(PauseJob(ID))
    assert isinstance(said, Trouble)
    assert "nothing was changed" in said.text
    # and what is only asked is answered meanwhile
    assert answers.glance() == Jobs(0, 0, 0, ())
    go_on.set()
    answers.end()
    answers._clerk.shutdown(wait=True)
    assert stage.kept == {"01": "queued"}
    # the same command again is the same job
    assert JobAnswers(stage.runner).answer(StartJob(wish(2))) == stage.runner.state(ID)


def test_a_key_that_is_unlocked_hurries_what_waits(stage: Answered):
    stage.kind.at[0] = lambda controls: controls.key(b"\0" * 16).__enter__()
    stage.unlocker.troubles.append(CephError(errno.EIO, "x"))
    stage.runner.begin_job(wish())
    stage.go()
    assert stage.told() == "waiting"
    stage.go()
    assert stage.told() == "waiting"
    stage.answers.hurry()
    stage.answers.end()
    stage.answers._clerk.shutdown(wait=True)
    stage.go()
    assert stage.told() == "done"
