"""The manager's view of the engine service: that there is one, how it is, and when health has to tell.

How it is reached comes in as a `Launcher`; what it does is its own (doc/service.md).
"""

import errno
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from logging import Logger
from typing import Generic, Protocol, TypeVar

from ..backoff import Backoff
from ..messages import RELEASE
from ..messages.job import Jobs
from ..messages.service import (
    Ask,
    Greeting,
    Hello,
    KeyState,
    Lock,
    Question,
    RotationState,
    Said,
    ServiceStatus,
    StatusQuestion,
    Trouble,
    Unlock,
    Wipe,
)
from ..messages.strict import KEY_IDENTIFIER, KEY_IDENTIFIER_IS, MessageError
from .refusal import RefusalError
from .results import Result
from .text import moment, one_line, shell_word, table
from .values import Simplified

DOWN = "FSCRYPT_SERVICE_DOWN"
UNREACHABLE = "FSCRYPT_KMS_UNREACHABLE"
GRACE = 30.0
"""Seconds without a service that works before health tells: a successor waits for the turn of one that was killed."""
KMS_GRACE = 60.0
"""Seconds for which a key manager does not answer before health tells: it is asked again and again meanwhile."""
SILENCE = 15.0
"""Seconds without an answer after which a service is given up: its machine may be busy."""
PATIENCE = 4.0
"""Seconds that a command waits for an answer."""
_NAMED = 20
LOOK = 2.0
"""Seconds between two questions how it is."""
_ERRNOS = {"refused": errno.EPERM, "bad-wish": errno.EINVAL, "no-such-job": errno.ENOENT}
"""What the codes of a service's troubles are to programs; of all others: try again."""

NO_JOBS = Jobs(0, 0, 0, ())

Settings = TypeVar("Settings")


class ChannelError(Exception):
    """The service is not there, does not answer, or is no service of ours. `remedy` says what to do."""

    def __init__(self, happened: str, *, remedy: str = "") -> None:
        super().__init__(happened)
        self.remedy = remedy


class BusyError(Exception):
    """The service was not asked: others were before us."""


class Channel(Protocol):
    """A connection to a service. Calls may come from several threads."""

    def ask(self, ask: Ask, patience: float) -> Said:
        """What it answers.

        Raises:
            ChannelError: nothing, in so many seconds. An answer that is late is dropped.
            BusyError: others have asked before, and have no answer yet.
        """

    def idle(self, seconds: float) -> None:
        """Wait so long, or until the other end is gone or `hang_up` is called."""

    def hang_up(self) -> None:
        """End the connection; returns at once."""

    def close(self) -> None:
        """See to it that nothing is left of the connection, nor of a child that served it. Takes seconds at most."""


class Launcher(Protocol[Settings]):
    """Starts a service, or finds one."""

    def settings(self) -> Settings | None:
        """How it should run as things are now; None: it should not."""

    def start(self, settings: Settings) -> Channel:
        """Reach one.

        Raises:
            ChannelError: there is none.
        """


@dataclass(frozen=True)
class ServiceReport:
    """What `ceph fscrypt service status` shows.

    Args:
        state: "off", "down", or the service's own state ("serving", "standby", "unreachable").
        since: when that began, in seconds since the epoch.
        failure: why it is down, or was the last time.
        remedy: what to do about that.
        failures: how often it was lost or could not be reached since it last answered for a minute.
        answered: when it answered last, in seconds since the epoch; None: it did not yet.
        service: what it said then; None while it is down.
    """

    state: str
    since: float
    failure: str
    remedy: str
    failures: int
    answered: float | None
    service: ServiceStatus | None

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        return asdict(self)

    def plain(self) -> str:
        """Show it to a person."""
        lines = [f"engine service: {self.state} since {moment(self.since)}"]
        lines += [f"  {one_line(text)}" for text in (self.failure, self.remedy) if text]
        if self.service is not None:
            lines += _described(self.service)
        return "\n".join(lines)


class ServiceKeeper(Generic[Settings]):
    """Keeps a service reachable. `run` in a thread of its own, which outlives each service that it starts (doc/facts.md
    M11); all else answers at once, to any thread."""

    def __init__(
        self,
        launcher: Launcher[Settings],
        *,
        now: Callable[[], float],
        date: Callable[[], float],
        log: Logger,
        wait: Callable[[float], object] | None = None,
        backoff: Backoff | None = None,
        seen: Callable[[Jobs | None], None] = lambda _: None,
    ) -> None:
        """Begin without one.

        Args:
            launcher: reaches it.
            now: seconds that only go forward.
            date: seconds since the epoch.
            log: where mistakes of ours are told.
            wait: waits for so many seconds, or until `stop`.
            backoff: pauses between two attempts to reach one.
            seen: is told of the jobs each time when a service tells of them, and of None where none is wanted.
        """
        self._launcher = launcher
        self._seen = seen
        self._jobs: Jobs | None = None
        self._now = now
        self._date = date
        self._log = log
        self._stopping = threading.Event()
        self._wait = wait or self._stopping.wait
        self._backoff = backoff or Backoff()
        self._turn = threading.Lock()
        self._channel: Channel | None = None
        self._silent = ""
        self._settings: Settings | None = None
        self._reached = now()
        self._worked = now()
        self._again = now()
        self._report = ServiceReport("down", date(), "not started yet", "", 0, None, None)

    def run(self) -> None:
        """Until `stop`."""
        try:
            while not self._stopping.is_set():
                try:
                    self.round()
                except Exception as error:  # noqa: BLE001 - see below
                    # the next round may go well; without one no key is unlocked any more, and nobody would know why
                    self._log.exception("the engine service was not seen to by a mistake of this module")
                    self._lost(
                        ChannelError(f"internal error ({type(error).__name__}), see the manager's log")
                    )
                    self._wait(LOOK)
        finally:
            self._part()

    def stop(self) -> None:
        """Have the service end; returns at once, and `run` soon after."""
        self._stopping.set()
        with self._turn:
            channel = self._channel
        if channel is not None:
            channel.hang_up()

    def round(self) -> None:
        """Look once, start what has to be, and wait for the next time."""
        wanted = self._launcher.settings()
        if wanted != self._settings:
            self._part()
            self._settings = wanted
            self._again = self._now()
            self._backoff.reset()
        if wanted is None:
            self._worked = self._now()
            self._tell(
                "off",
                failure="this manager asks none: the option `service` is off, or there is no file system; jobs that "
                "are kept go on where one works, and nobody begins others",
                remedy="to have it ask one: `ceph config set mgr mgr/fscrypt/service child`, or `socket`",
            )
            self._learn(None)
            self._wait(LOOK)
            return
        left = self._again - self._now()
        if left > 0:
            # in pieces: other settings are not to wait for the end of the pause
            self._wait(min(left, LOOK))
            return
        try:
            if self._channel is None:
                self._meet(wanted)
            self._look()
        except ChannelError as error:
            self._part()
            if not self._stopping.is_set():
                self._lost(error)
                self._again = self._now() + self._backoff.delay()

    def status(self) -> Result:
        """How it is, as it was seen last."""
        return Result(answer=self.report())

    def report(self) -> ServiceReport:
        """The same as a value."""
        with self._turn:
            return self._report

    def trouble(self) -> str:
        """Why no wish is done now, as far as is known; empty: they are."""
        with self._turn:
            report, silent, missing = self._report, self._silent, self._channel is None
        if report.state == "serving":
            # it was, at the last look
            return silent or ("it is gone" if missing else "")
        told = report.service
        if told is not None and told.holder:
            return f"it stands by: {told.holder} works"
        return report.failure or (told.trouble if told is not None else "") or f"it is {report.state}"

    def rotations(self) -> tuple[RotationState, ...]:
        """What the service told of tenants' keys when it was seen last."""
        with self._turn:
            return self._report.service.rotations if self._report.service is not None else ()

    def jobs(self) -> Jobs:
        """The jobs of the service when it told of them last."""
        with self._turn:
            return self._jobs or NO_JOBS

    def unlock(self, identifier: str, seconds: float) -> Result:
        """Have the service unlock a key and keep it for a time, by its key manager."""
        return self._told_of_key(identifier, lambda: Unlock(identifier, seconds))

    def lock(self, identifier: str) -> Result:
        """Have the service wipe a key, until it is told to unlock it."""
        return self._told_of_key(identifier, lambda: Lock(identifier))

    def wiped(self, done: Result) -> Result:
        """Have the service wipe the keys that something shut; its result, with why they may be there for a while.

        Where there is no service, nothing is to be wiped; and one that cannot be asked finds out within a minute.
        """
        with self._turn:
            missing = self._channel is None
        for identifier in () if missing else done.shut:
            wiped = self._commanded(partial(Wipe, identifier), f"key {identifier}")
            if not wiped.success:
                why = f"the engine service may have it for another minute: {wiped.status}"
                return replace(done, status=f"{done.status}; {why}")
        return done

    def checks(self) -> Simplified:
        """Give the health checks, as ceph-mgr takes them."""
        with self._turn:
            report, silent = self._report, self._now() - self._worked
        return _down_check(report, silent) | _kms_check(report, self._date())

    def asked(self, ask: Callable[[], Ask]) -> Said:
        """What the service says to it, if it does not refuse.

        Raises:
            RefusalError: it does, does not answer, or is not there; or the question is none (`MessageError`).
        """
        try:
            wish = ask()
        except MessageError as error:
            raise RefusalError(errno.EINVAL, f"{error}; nothing was changed") from error
        with self._turn:
            channel = self._channel
        if channel is None:
            raise RefusalError(
                errno.EAGAIN,
                "there is no engine service, nothing was changed; `ceph fscrypt service status` says why",
            )
        try:
            said = channel.ask(wish, PATIENCE)
            self._silent = ""
        except BusyError as error:
            raise RefusalError(
                errno.EAGAIN,
                "the engine service is busy with another question, nothing was changed; run it again",
            ) from error
        except ChannelError as error:
            self._silent = str(error)
            look = "look at `ceph fscrypt service status`, then run it again"
            raise RefusalError(
                errno.EAGAIN,
                f"{error}; nothing was changed: {look}"
                if isinstance(wish, Question)
                else f"{error}; it may have been done: {look} (twice does no harm)",
            ) from error
        if isinstance(said, Trouble):
            raise RefusalError(
                _ERRNOS.get(said.code, errno.EAGAIN), "; ".join(filter(None, (said.text, said.remedy)))
            )
        return said

    def _told_of_key(self, identifier: str, ask: Callable[[], Ask]) -> Result:
        if not KEY_IDENTIFIER.fullmatch(identifier):
            return Result.failed(
                errno.EINVAL,
                # what was given is not repeated: it may be anything
                f"name the key by its identifier, {KEY_IDENTIFIER_IS}; nothing was changed; "
                "`ceph fscrypt key ls` has it",
            )
        return self._commanded(ask, f"key {identifier}")

    def _commanded(self, ask: Callable[[], Ask], subject: str) -> Result:
        try:
            return _result_of(self.asked(ask), subject)
        except RefusalError as refusal:
            return refusal.result

    def _meet(self, settings: Settings) -> None:
        channel = self._launcher.start(settings)
        with self._turn:
            self._channel = channel
        if self._stopping.is_set():
            raise ChannelError("the module is stopping")
        self._reached = self._now()
        said = channel.ask(Hello(RELEASE), SILENCE)
        self._silent = ""
        if not isinstance(said, Greeting):
            raise _no_answer_to("hello", said)

    def _look(self) -> None:
        channel = self._channel
        if channel is None:
            raise ChannelError("the module is stopping")
        try:
            said = channel.ask(StatusQuestion(), SILENCE)
        except BusyError:
            return  # a command has asked: its answer tells as much
        if not isinstance(said, ServiceStatus):
            raise _no_answer_to("status", said)
        self._silent = ""
        # in standby another one works: it is the one that holds the lease
        if said.state in ("serving", "standby"):
            self._worked = self._now()
        if self._now() - self._reached >= 60:
            self._backoff.reset()
        self._tell(said.state, service=said)
        if said.jobs is not None:
            self._learn(said.jobs)
        channel.idle(LOOK)

    def _learn(self, jobs: Jobs | None) -> None:
        with self._turn:
            self._jobs = jobs
        self._seen(jobs)

    def _part(self) -> None:
        with self._turn:
            channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def _lost(self, error: ChannelError) -> None:
        with self._turn:
            failures = self._report.failures + 1
        self._tell("down", failure=str(error), remedy=error.remedy, failures=failures)

    def _tell(
        self,
        state: str,
        *,
        service: ServiceStatus | None = None,
        failure: str = "",
        remedy: str = "",
        failures: int | None = None,
    ) -> None:
        date = self._date()
        with self._turn:
            before = self._report
            if failures is None:
                failures = 0 if self._now() - self._reached >= 60 else before.failures
            self._report = ServiceReport(
                state=state,
                since=before.since if before.state == state else date,
                failure=failure,
                remedy=remedy,
                failures=failures,
                answered=before.answered if service is None else date,
                service=service,
            )


def _down_check(report: ServiceReport, silent: float) -> Simplified:
    if silent < GRACE:
        return {}
    trouble = report.failure or (report.service.trouble if report.service else "") or report.state
    return {
        DOWN: {
            "severity": "warning",
            "summary": "no engine service works: no key is unlocked, and no job goes on",
            "count": 1,
            "detail": [
                f"for {silent:.0f} s: {trouble}",
                report.remedy or "see `ceph fscrypt service status`",
                "clients with keys of their own go on",
            ],
        }
    }


def _kms_check(report: ServiceReport, date: float) -> Simplified:
    backends = report.service.backends if report.service is not None else ()
    silent = [each for each in backends if not each.reachable and each.since <= date - KMS_GRACE]
    if not silent:
        return {}
    told = [
        f"key manager {each.name}: since {moment(each.since)}, when it was asked last: {each.error}; run "
        f"`cephfs-fscrypt kms test {shell_word(each.name)}` on host {report.service.host if report.service else '?'}"
        for each in silent[:_NAMED]
    ]
    return {
        UNREACHABLE: {
            "severity": "warning",
            "summary": f"{len(silent)} key managers do not answer the engine service: their keys cannot be unlocked",
            "count": len(silent),
            "detail": [*map(one_line, told), "keys that are unlocked stay so, and clients with keys go on"],
        }
    }


def _result_of(said: Said, subject: str) -> Result:
    """What a service's answer means for whoever gave the command."""
    match said:
        case KeyState():
            return Result(status=f"{subject}: {said.state}; see `ceph fscrypt service status`")
        case _:
            return Result(status=f"{subject}: done")


def _no_answer_to(question: str, said: Said) -> ChannelError:
    if isinstance(said, Trouble):
        return ChannelError(f"the service refused {question}: {said.text}", remedy=said.remedy)
    return ChannelError(
        f"the service answered something else to {question}",
        remedy="run the manager module and the service of one release",
    )


def _described(service: ServiceStatus) -> list[str]:
    turn = f", turn {service.epoch}" if service.epoch is not None else ""
    lines = [f"  process {service.pid} on {service.host}, release {service.release}{turn}"]
    if service.holder:
        lines.append(f"  the turn is with {service.holder}")
    if service.trouble:
        lines.append(f"  the cluster: {service.trouble}")
    jobs = service.jobs
    if jobs is not None and (jobs.active or jobs.failed):
        counts = f"{jobs.active} not over, {jobs.waiting} of them waiting; {jobs.failed} failed"
        lines.append(f"  jobs: {counts}; see `ceph fscrypt job ls`")
    if service.keys:
        rows = [
            (
                key.key_identifier,
                key.state,
                str(key.uses),
                "the last job" if key.until is None else moment(key.until),
                key.error,
            )
            for key in service.keys
        ]
        lines += ["", table(("KEY", "STATE", "JOBS", "UNTIL", "ERROR"), rows, numbers={2})]
    if service.tenant_keys:
        here = [(each.tenant, str(each.version), str(each.keys)) for each in service.tenant_keys]
        lines += ["", table(("KEY OF TENANT", "VERSION", "FOR KEYS"), here, numbers={1, 2})]
    if service.backends:
        met = [
            (
                backend.name,
                "reachable" if backend.reachable else "unreachable",
                moment(backend.since),
                backend.error,
            )
            for backend in service.backends
        ]
        lines += ["", table(("KEY MANAGER", "STATE", "SINCE", "LAST ERROR"), met)]
    if service.rotations:
        rotated = [
            (state.facts.tenant, str(state.facts.version), moment(state.facts.rotated), state.error)
            for state in service.rotations
        ]
        lines += ["", table(("TENANT", "KEY VERSION", "ROTATED", "ERROR"), rotated, numbers={1})]
    return lines
