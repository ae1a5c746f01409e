"""Jobs as people see them, and what the service is asked."""

import errno
import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import yaml

from mgr_fscrypt.control import FileSystem, RefusalError, Result
from mgr_fscrypt.control.jobs import Jobs
from mgr_fscrypt.messages import MessageError
from mgr_fscrypt.messages.job import JobError, JobPage, JobState, JobWish, result_text
from mgr_fscrypt.messages.service import (
    Ask,
    CancelJob,
    Done,
    ForgetJob,
    JobQuestion,
    JobsQuestion,
    PauseJob,
    ResumeJob,
    Said,
    StartJob,
)

ID = "00112233445566778899aabbccddeeff"
WISH = JobWish(ID, "verify", 1, "/a", {"rate": 5})
QUEUED = JobState.queued(WISH, 5.0)
RUNNING = replace(QUEUED, state="running", done=5, total=10, unit="entries", rate=2.5, eta=9.0, started=6.0)
DONE = replace(
    RUNNING,
    state="done",
    eta=None,
    rate=0.0,
    errors=(JobError("odd-size", 2, ("/a/b", "/a/c")),),
    result=result_text(
        {"entries": 10, "first": [{"finding": "odd-size", "inode": 7}], "busy": 0, "none": {}}
    ),
    code=1,
    ended=9.0,
)


class Service:
    """Says what a test wants, and tells what it was asked."""

    def __init__(self) -> None:
        self.said: Said | RefusalError = QUEUED
        self.got: list[Ask] = []

    def asked(self, ask: Callable[[], Ask]) -> Said:
        try:
            self.got.append(ask())
        except MessageError as error:
            raise RefusalError(errno.EINVAL, str(error)) from error
        if isinstance(self.said, RefusalError):
            raise self.said
        return self.said


class Stage:
    """The brain between a cluster and a service."""

    def __init__(self) -> None:
        self.service = Service()
        self.known = Result()
        self.jobs = Jobs(
            service=self.service, cluster=self, registered=lambda _fs, _path: self.known, new_id=lambda: ID
        )

    def file_systems(self) -> Sequence[FileSystem]:
        return [FileSystem(1, "cephfs")]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_verify_is_begun_and_told_by_its_id(stage: Stage):
    result = stage.jobs.verify("cephfs", "//a/", rate=5)
    assert stage.service.got == [StartJob(WISH)]
    assert result.status == f"job {ID}, verify of /a on cephfs: queued; see `ceph fscrypt job show {ID}`"
    assert result.changed
    assert result.rendered(None) == (0, "", result.status)
    shown = json.loads(result.rendered("json")[1])
    assert (shown["id"], shown["kind"], shown["fs_name"], shown["path"]) == (ID, "verify", "cephfs", "/a")
    assert (shown["state"], shown["options"], shown["result"]) == ("queued", {"rate": 5}, {})


def test_what_is_not_there_is_not_begun(stage: Stage):
    stage.known = Result.failed(errno.ENOENT, "no subtree /a is registered")
    assert stage.jobs.verify("cephfs", "/a") is stage.known
    assert stage.jobs.begin("verify", "cehpfs", "/a", {}).code == errno.ENOENT
    assert stage.jobs.begin("verify", "cephfs", "a", {}).code == errno.EINVAL
    assert stage.jobs.begin("verify", "cephfs", "/a", {"Rate": 1}).code == errno.EINVAL
    assert stage.service.got == []


def test_without_a_service_the_clients_line_is_told(stage: Stage):
    stage.service.said = RefusalError(errno.EAGAIN, "there is no engine service, nothing was changed")
    told = stage.jobs.verify("cephfs", "/a b").status
    assert told.endswith("or do it on a client: `cephfs-fscrypt fsck '/a b' --fs cephfs --key FILE`")
    stage.service.said = RefusalError(errno.EPERM, "this service works for file system 1, not for 2")
    assert "or do it on a client: `cephfs-fscrypt fsck" in stage.jobs.verify("cephfs", "/a").status
    stage.service.said = RefusalError(errno.EINVAL, "rate must be from 1")
    assert stage.jobs.verify("cephfs", "/a").status == "rate must be from 1"


def test_a_list(stage: Stage):
    stage.service.said = JobPage((RUNNING, replace(DONE, wish=replace(WISH, fscid=9, path="/x\x1b"))), ID)
    result = stage.jobs.listing(None, None)
    assert stage.service.got == [JobsQuestion(None, 100)]
    assert result.answer is not None
    assert result.answer.plain().replace(ID, f"{'ID':32}").splitlines() == [
        f"{'JOB':32}  KIND    FILE SYSTEM              PATH    STATE    PROGRESS         DONE BY",
        f"{'ID':32}  verify  cephfs                   /a      running  5 of 10 entries  1970-01-01 00:00:09 UTC",
        f"{'ID':32}  verify  file system 9 (removed)  /x\\x1b  done     5 of 10 entries",
        f"There are more: add `--after {'ID':32}`.",
    ]
    value = yaml.safe_load(result.rendered("yaml")[1])
    assert [job["state"] for job in value["jobs"]] == ["running", "done"]
    assert value["following"] == ID
    stage.service.said = JobPage((), None)
    assert stage.jobs.listing(ID, 5).rendered(None)[1] == "There is no job."
    assert stage.service.got[-1] == JobsQuestion(ID, 5)
    assert stage.jobs.listing(None, 10**6).code == errno.EINVAL
    assert stage.jobs.listing("1", 5).code == errno.EINVAL


def test_one_is_shown(stage: Stage):
    stage.service.said = RUNNING
    result = stage.jobs.show(ID)
    assert stage.service.got == [JobQuestion(ID)]
    assert (result.status, result.changed) == ("", False)
    assert result.rendered(None)[1].splitlines() == [
        f"job {ID}: verify of /a on cephfs",
        "  running since 1970-01-01 00:00:05 UTC",
        "  rate: 5",
        "  progress: 5 of 10 entries, 2.5 a second",
        "  done by 1970-01-01 00:00:09 UTC, at this rate",
        "  asked for 1970-01-01 00:00:05 UTC",
        "  begun 1970-01-01 00:00:06 UTC",
    ]


def test_one_that_is_done_is_shown_with_its_result(stage: Stage):
    stage.service.said = DONE
    shown = stage.jobs.show(ID).rendered(None)[1]
    assert shown.splitlines()[-13:] == [
        "  begun 1970-01-01 00:00:06 UTC",
        "  ended 1970-01-01 00:00:09 UTC, exit code 1",
        "",
        "MET       COUNT  SOME OF THEM, AS STORED",
        "odd-size      2  /a/b /a/c",
        "",
        "result:",
        "  busy: 0",
        "  entries: 10",
        "  first:",
        "    - finding: odd-size",
        "      inode: 7",
        "  none: none",
    ]
    value = json.loads(stage.jobs.show(ID).rendered("json")[1])
    assert value["result"]["first"] == [{"finding": "odd-size", "inode": 7}]
    assert value["errors"] == [{"kind": "odd-size", "count": 2, "examples": ["/a/b", "/a/c"]}]
    stage.service.said = replace(DONE, result="[1]")
    assert json.loads(stage.jobs.show(ID).rendered("json")[1])["result"] == {"text": "[1]"}


@pytest.mark.parametrize(
    ("verb", "ask"),
    [("pause", PauseJob(ID)), ("resume", ResumeJob(ID)), ("cancel", CancelJob(ID))],
)
def test_verbs(stage: Stage, verb: str, ask: Ask):
    stage.service.said = RUNNING
    act: Callable[..., Result] = getattr(stage.jobs, verb)
    result = act(ID)
    assert stage.service.got == [ask]
    assert result.status.startswith(f"job {ID}, verify of /a on cephfs: running")
    preview = act(ID, dry_run=True)
    assert stage.service.got[1:] == [JobQuestion(ID)]
    assert preview.status.startswith("would ")
    stage.service.said = replace(DONE, state="cancelled" if verb != "cancel" else "done")
    assert act(ID, dry_run=True).code == errno.EPERM
    assert act("7").code == errno.EINVAL
    stage.service.said = RefusalError(errno.ENOENT, "there is no job")
    assert act(ID).code == act(ID, dry_run=True).code == errno.ENOENT


def test_forgetting(stage: Stage):
    stage.service.said = Done()
    assert stage.jobs.forget(ID).status == f"job {ID}: forgotten"
    assert stage.service.got == [ForgetJob(ID)]
    stage.service.said = RUNNING
    assert stage.jobs.forget(ID, dry_run=True).code == errno.EPERM
    stage.service.said = DONE
    assert stage.jobs.forget(ID, dry_run=True).status.startswith(f"would forget job {ID}")
    stage.service.said = RefusalError(errno.ENOENT, "there is no job")
    assert stage.jobs.forget(ID).code == errno.ENOENT


def test_a_service_of_another_release(stage: Stage):
    stage.service.said = Done()
    for result in (stage.jobs.show(ID), stage.jobs.listing(None, None), stage.jobs.pause(ID, dry_run=True)):
        assert result.code == errno.EPROTO
