"""The manager's view of a service that comes, goes, hangs and refuses."""

import errno
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from mgr_fscrypt.backoff import Backoff
from mgr_fscrypt.control.observing import Census
from mgr_fscrypt.control.outages import Outages
from mgr_fscrypt.control.refusal import RefusalError
from mgr_fscrypt.control.results import Result
from mgr_fscrypt.control.service import (
    DOWN,
    GRACE,
    KMS_GRACE,
    LOOK,
    UNREACHABLE,
    BusyError,
    ChannelError,
    ServiceKeeper,
    ServiceReport,
)
from mgr_fscrypt.messages.job import Jobs
from mgr_fscrypt.messages.service import (
    Ask,
    BackendState,
    Done,
    Greeting,
    Hello,
    JobQuestion,
    KeyState,
    Lock,
    ManagersQuestion,
    Said,
    ServiceStatus,
    StatusQuestion,
    TenantKeyState,
    Trouble,
    Unlock,
    Wipe,
)

KEY = "00112233445566778899aabbccddeeff"
STATUS = ServiceStatus(
    release="0.1.0",
    pid=7,
    host="a",
    started=1.0,
    state="serving",
    since=2.0,
    epoch=3,
    holder="",
    trouble="",
    longest=0.0,
    keys=(),
    tenant_keys=(),
    backends=(),
    rotations=(),
    jobs=Jobs(0, 0, 0, ()),
)


class Service:
    """What is at the other end of a channel."""

    def __init__(self, stage: "Stage") -> None:
        self.stage = stage
        self.asked: list[Ask] = []
        self.closed = self.hung_up = False

    def ask(self, ask: Ask, patience: float) -> Said:
        self.asked.append(ask)
        if self.closed or self.hung_up or self.stage.dead:
            raise ChannelError("it is gone: it ended with code 1", remedy="look at the log")
        return self.stage.answer(ask)

    def idle(self, seconds: float) -> None:
        self.stage.wait(seconds)

    def hang_up(self) -> None:
        self.hung_up = True

    def close(self) -> None:
        self.closed = True


class Stage:
    """A manager, and a launcher that starts what it is told to."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.waits: list[float] = []
        self.way: str | None = "child"
        self.dead = self.unable = False
        self.status: Said = STATUS
        self.answers: dict[type[Ask], Said | Exception] = {Hello: Greeting("0.1.0", 7, 3, "a")}
        self.started: list[tuple[str, Service]] = []
        self.starts: list[float] = []
        self.seen: list[Jobs | None] = []
        self.mistaken = False
        self.waited: Callable[[], None] = lambda: None
        self.keeper = ServiceKeeper(
            self,
            now=lambda: self.time,
            date=lambda: 1_700_000_000 + self.time,
            log=logging.getLogger("test"),
            wait=self.wait,
            backoff=Backoff(chance=lambda: 0.0),
            seen=self.see,
        )

    def settings(self) -> str | None:
        return self.way

    def start(self, settings: str) -> Service:
        self.starts.append(self.time)
        if self.unable:
            raise ChannelError("it cannot be started", remedy="name another interpreter")
        self.started.append((settings, Service(self)))
        return self.started[-1][1]

    def answer(self, ask: Ask) -> Said:
        found = self.status if isinstance(ask, StatusQuestion) else self.answers.get(type(ask), Done())
        if isinstance(found, Exception):
            raise found
        return found

    def see(self, jobs: Jobs | None) -> None:
        if self.mistaken:
            raise ValueError("what was not thought of")
        self.seen.append(jobs)

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.time += seconds
        self.waited()

    def rounds(self, count: int) -> None:
        for _ in range(count):
            self.keeper.round()

    def report(self) -> ServiceReport:
        answer = self.keeper.status().answer
        assert isinstance(answer, ServiceReport)
        return answer


def test_it_starts_one_and_looks_again_and_again():
    stage = Stage()
    stage.rounds(5)
    ((_, service),) = stage.started
    assert service.asked == [Hello("0.1.0"), *[StatusQuestion()] * 5]
    assert stage.waits == [LOOK] * 5
    report = stage.report()
    assert (report.state, report.failure, report.failures, report.service) == ("serving", "", 0, STATUS)
    assert stage.keeper.checks() == {}


def test_a_mistake_of_ours_is_told_and_the_next_look_goes_well():
    stage, states = Stage(), []
    stage.mistaken = True

    def waited() -> None:
        states.append((stage.report().state, stage.report().failure))
        stage.mistaken = False
        if len(states) == 3:
            stage.keeper.stop()

    stage.waited = waited
    stage.keeper.run()
    assert states[0] == ("down", "internal error (ValueError), see the manager's log")
    assert (states[-1], stage.seen[0]) == (("serving", ""), STATUS.jobs)
    assert len(stage.started) == 1, "its jobs went on"


def test_one_that_dies_is_followed_by_another_with_growing_pauses():
    stage = Stage()
    stage.rounds(2)
    stage.dead = True
    while len(stage.starts) < 9:
        stage.rounds(1)
    pauses = [after - before for before, after in pairwise(stage.starts)]
    # the first one lived for two looks
    assert pauses == [2 * LOOK + 1, 2, 4, 8, 16, 32, 60, 60]
    assert max(stage.waits) == LOOK
    assert all(service.closed for _, service in stage.started)
    report = stage.report()
    assert (report.state, report.failures) == ("down", 9)
    assert (report.failure, report.remedy) == ("it is gone: it ended with code 1", "look at the log")
    stage.dead = False
    while stage.report().state == "down":
        stage.rounds(1)
    assert (stage.report().state, stage.report().failures) == ("serving", 9)
    stage.rounds(31)
    assert stage.report().failures == 0
    stage.dead = True
    died = stage.time
    while len(stage.starts) < 11:
        stage.rounds(1)
    assert stage.starts[-1] - died == 1, "the pauses begin anew"


def test_other_settings_end_the_pause():
    stage = Stage()
    stage.unable = True
    while len(stage.starts) < 8:
        stage.rounds(1)
    stage.unable = False
    stage.way = "socket"
    changed = stage.time
    while stage.report().state == "down":
        stage.rounds(1)
    assert stage.starts[-1] - changed <= LOOK


def test_health_is_patient_then_tells_then_recovers():
    stage = Stage()
    stage.unable = True
    while stage.time < 1000 + GRACE:
        assert stage.keeper.checks() == {}
        stage.rounds(1)
    stage.rounds(1)
    check = stage.keeper.checks()[DOWN]
    assert check["severity"] == "warning"
    assert "it cannot be started" in check["detail"][0]
    assert check["detail"][1] == "name another interpreter"
    stage.unable = False
    while stage.report().state == "down":
        stage.rounds(1)
    assert stage.keeper.checks() == {}


@pytest.mark.parametrize(("state", "told"), [("serving", False), ("standby", False), ("unreachable", True)])
def test_health_by_state(state: str, told: bool):
    stage = Stage()
    stage.status = STATUS.__class__(**vars(STATUS) | {"state": state, "epoch": None, "trouble": "no answer"})
    stage.rounds(round(GRACE / LOOK) + 2)
    assert (DOWN in stage.keeper.checks()) == told
    if told:
        assert "no answer" in stage.keeper.checks()[DOWN]["detail"][0]


def test_health_tells_of_key_managers_that_do_not_answer_for_long():
    stage = Stage()
    since = 1_700_000_000 + stage.time
    met = (
        BackendState("sealed", True, 1.0, "Refused", 1.0, None),
        BackendState("far\n", False, since, "Timeout", since, None),
    )
    stage.status = STATUS.__class__(**vars(STATUS) | {"backends": met})
    stage.rounds(1)
    assert stage.keeper.checks() == {}
    stage.rounds(round(KMS_GRACE / LOOK))
    check = stage.keeper.checks()[UNREACHABLE]
    assert (check["severity"], check["count"], len(check["detail"])) == ("warning", 1, 2)
    assert check["detail"][0].startswith("key manager far\\n: since 2023-11-14 22:30:00 UTC")
    assert "Timeout; run `cephfs-fscrypt kms test " in check["detail"][0]
    stage.status = STATUS
    stage.rounds(1)
    assert stage.keeper.checks() == {}


def test_one_that_is_not_wanted_ends_and_health_is_silent():
    stage = Stage()
    stage.rounds(1)
    stage.way = None
    stage.rounds(30)
    assert stage.started[0][1].closed
    assert stage.report().state == "off"
    assert "nobody begins others\n  to have it ask one: `ceph config set" in stage.report().plain()
    assert stage.keeper.checks() == {}
    stage.way = "child"
    stage.rounds(1)
    assert stage.report().state == "serving"


def test_jobs_are_told_of_while_they_are_known():
    stage = Stage()
    jobs = Jobs(2, 1, 0, ())
    stage.status = replace(STATUS, jobs=jobs)
    stage.rounds(1)
    # a successor that has just begun its turn, and one that is lost
    stage.status = replace(STATUS, jobs=None)
    stage.rounds(1)
    stage.dead = True
    stage.rounds(1)
    assert (stage.seen, stage.keeper.jobs()) == ([jobs], jobs)
    stage.way = None
    stage.rounds(1)
    assert (stage.seen, stage.keeper.jobs()) == ([jobs, None], Jobs(0, 0, 0, ()))


def test_other_settings_are_for_another_one():
    stage = Stage()
    stage.rounds(2)
    stage.way = "socket"
    stage.rounds(2)
    assert [way for way, _ in stage.started] == ["child", "socket"]
    assert [service.closed for _, service in stage.started] == [True, False]
    assert stage.report().failures == 0


def test_stop_ends_it():
    stage = Stage()
    stage.rounds(1)
    stage.keeper.stop()
    assert stage.started[0][1].hung_up
    stage.keeper.run()
    assert stage.started[0][1].closed
    assert len(stage.started) == 1


@pytest.mark.parametrize(
    ("said", "failure"),
    [
        (
            Trouble("unknown", "version must be 1", "run one release"),
            "the service refused hello: version must be 1",
        ),
        (Done(), "the service answered something else to hello"),
    ],
)
def test_one_that_is_none_of_ours(said: Said, failure: str):
    stage = Stage()
    stage.answers[Hello] = said
    stage.rounds(1)
    assert (stage.report().state, stage.report().failure) == ("down", failure)
    assert "one release" in stage.report().remedy
    assert stage.started[0][1].closed


def test_a_question_that_is_under_way_is_no_loss():
    stage = Stage()
    stage.rounds(1)
    stage.answers[StatusQuestion] = BusyError()
    stage.rounds(1)
    assert not stage.started[0][1].closed


UNLOCK: Callable[[ServiceKeeper[str]], Result] = lambda keeper: keeper.unlock(KEY, 60)  # noqa: E731


@pytest.mark.parametrize(
    ("answer", "code", "status"),
    [
        (KeyState(KEY, "unlocking", 0, 1.0, ""), 0, f"key {KEY}: unlocking"),
        (
            Trouble("refused", "only for jobs", "raise the limit"),
            errno.EPERM,
            "only for jobs; raise the limit",
        ),
        (Trouble("not-serving", "no turn", "look"), errno.EAGAIN, "no turn; look"),
        (BusyError(), errno.EAGAIN, "nothing was changed; run it again"),
        (ChannelError("no answer in 4 s"), errno.EAGAIN, "twice does no harm"),
    ],
)
def test_a_command_to_unlock(answer: Said | Exception, code: int, status: str):
    stage = Stage()
    stage.rounds(1)
    stage.answers[Unlock] = answer
    result = stage.keeper.unlock(KEY, 60)
    assert (result.code, status in result.status) == (code, True), result.status
    assert stage.started[0][1].asked[-1] == Unlock(KEY, 60)


def test_a_question_without_an_answer_changed_nothing():
    stage = Stage()
    stage.rounds(1)
    for question in (ManagersQuestion(), JobQuestion(KEY)):
        stage.answers[type(question)] = ChannelError("no answer in 4 s")
        with pytest.raises(RefusalError) as caught:
            stage.keeper.asked(lambda asked=question: asked)  # type: ignore[misc]
        assert "no answer in 4 s; nothing was changed: look at " in caught.value.result.status


def test_keys_that_were_shut_are_wiped_and_who_cannot_be_asked_is_told():
    stage = Stage()
    done = Result(status="recorded", changed=True, shut=(KEY,))
    assert stage.keeper.wiped(done) == done, "there is no service, and nothing to wipe"
    stage.rounds(1)
    assert stage.keeper.wiped(done) == done
    channel = stage.started[0][1]
    assert channel.asked[-1] == Wipe(KEY)
    count = len(channel.asked)
    assert stage.keeper.wiped(Result(status="known already")).status == "known already"
    assert len(channel.asked) == count
    stage.answers[Wipe] = ChannelError("no answer in 4 s")
    late = stage.keeper.wiped(done)
    assert (late.code, late.changed) == (0, True)
    assert late.status.startswith(
        "recorded; the engine service may have it for another minute: no answer in 4 s"
    )


def test_why_no_wish_is_done_is_known_at_once():
    stage = Stage()
    assert stage.keeper.trouble() == "not started yet"
    stage.rounds(1)
    assert stage.keeper.trouble() == ""
    stage.answers[Unlock] = BusyError()
    stage.keeper.unlock(KEY, 60)
    assert stage.keeper.trouble() == "", "it works at another wish"
    stage.answers[Unlock] = ChannelError("no answer in 4 s")
    stage.keeper.unlock(KEY, 60)
    assert stage.keeper.trouble() == "no answer in 4 s"
    stage.rounds(1)
    assert stage.keeper.trouble() == ""
    stage.keeper._part()
    assert stage.keeper.trouble() == "it is gone", "before it is told of"
    stage.dead = True
    stage.rounds(2)
    assert stage.keeper.trouble() == "it is gone: it ended with code 1"
    for state, holder, why in (
        ("standby", "b", "it stands by: b works"),
        ("unreachable", "", "no answer of the cluster"),
        ("off", "", "it is off"),
    ):
        trouble = "" if holder else "no answer of the cluster"
        told = None if state == "off" else replace(STATUS, state=state, holder=holder, trouble=trouble)
        stage.keeper._tell(state, service=told)
        assert stage.keeper.trouble() == why


def test_what_does_not_work_is_told_with_what_waits_and_what_works():
    stage, census, database = Stage(), Census(), ""
    outages = Outages(
        database=lambda: database,
        service=stage.keeper.trouble,
        report=stage.keeper.report,
        census=lambda: census,
    )
    assert [(each.what, each.why) for each in outages.now()] == [("service", "not started yet")]
    backends = [BackendState(name, reachable, 1.0, error, 1.0, None) for name, reachable, error in (
        ("vault", False, "KmsUnreachableError"), ("hsm", True, "KmsRefusedError"), ("other", True, ""))]  # fmt: skip
    stage.status = replace(STATUS, backends=tuple(backends))
    stage.rounds(1)
    census, database = Census(trouble="the MDS does not answer"), "no answer in 5 s"
    found = outages.now()
    assert [(each.what, each.why) for each in found] == [
        ("database", "no answer in 5 s"),
        ("key-manager", "it did not answer when it was asked last (KmsUnreachableError)"),
        ("key-manager", "it refused what it was asked last (KmsRefusedError)"),
        ("servers", "the MDS does not answer"),
    ]
    assert found[1].name == "The key manager vault"
    assert all(each.waits and each.works for each in found)


def test_a_command_to_lock():
    stage = Stage()
    assert stage.keeper.lock(KEY).code == errno.EAGAIN
    stage.rounds(1)
    assert stage.keeper.lock(KEY).success
    assert stage.started[0][1].asked[-1] == Lock(KEY)
    refused = stage.keeper.lock("a passphrase")
    assert (refused.code, "32 lower-case hexadecimal digits" in refused.status) == (errno.EINVAL, True)
    assert "a passphrase" not in refused.status


def test_what_is_shown():
    stage = Stage()
    stage.status = STATUS.__class__(
        **vars(STATUS)
        | {
            "keys": (KeyState(KEY, "unlocking", 2, None, "KmsUnreachableError"),),
            "tenant_keys": (TenantKeyState("acme", 3, 17),),
            "backends": (
                BackendState("vault", False, 1_700_000_000.0, "KmsUnreachableError", 1_700_000_001.0, None),
            ),
        }
    )
    stage.rounds(1)
    shown = stage.keeper.status().rendered(None)[1].splitlines()
    assert shown[0] == "engine service: serving since 2023-11-14 22:30:00 UTC"
    assert shown[1] == "  process 7 on a, release 0.1.0, turn 3"
    assert shown[4].split() == [KEY, "unlocking", "2", "the", "last", "job", "KmsUnreachableError"]
    assert shown[7].split() == ["acme", "3", "17"]
    assert shown[10].split() == [
        "vault",
        "unreachable",
        "2023-11-14",
        "22:13:20",
        "UTC",
        "KmsUnreachableError",
    ]
    value = json.loads(stage.keeper.status().rendered("json")[1])
    assert value["service"]["backends"][0]["since"] == 1_700_000_000
    assert (value["state"], value["service"]["keys"][0]["uses"]) == ("serving", 2)
    assert value["service"]["tenant_keys"] == [{"tenant": "acme", "version": 3, "keys": 17}]
