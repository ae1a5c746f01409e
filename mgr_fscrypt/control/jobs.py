"""Long work as people see it: begun, listed, paused, gone on with, ended. The engine service does it, and keeps it.

The manager keeps nothing of a job. A command is answered once the service has kept what it says; where no answer comes,
the same command again means the same job (`messages.service.StartJob`).
"""

import errno
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from ..messages.job import MOST_ON_PAGE, STATES, JobPage, JobState, JobWish, Option
from ..messages.service import (
    Ask,
    CancelJob,
    ForgetJob,
    JobQuestion,
    JobsQuestion,
    PauseJob,
    ResumeJob,
    Said,
    StartJob,
)
from ..messages.strict import MessageError
from .asked import normal_path
from .cluster import FileSystemMap, existing, names_of
from .filters import chosen
from .paging import more
from .refusal import RefusalError
from .results import Result
from .text import moment, one_line, shell_word, table
from .values import Simplified


class JobService(Protocol):
    """The engine service, as `control.service.ServiceKeeper` is."""

    def asked(self, ask: Callable[[], Ask]) -> Said:
        """What it says.

        Raises:
            RefusalError: it refuses, does not answer, or is not there.
        """
        ...


@dataclass(frozen=True)
class JobDetail:
    """All that is known of one job.

    Args:
        job: as the service has it.
        fs_name: the name of its file system.
        told: a person is told of it in the status line already.
    """

    job: JobState
    fs_name: str
    told: bool = False

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        return _simplified(self.job, self.fs_name)

    def plain(self) -> str:
        """Show it to a person."""
        if self.told:
            return ""
        job = self.job
        lines = [f"job {job.id}: {job.wish.kind} of {job.wish.path} on {self.fs_name}"]
        lines.append(f"  {job.state} since {moment(job.since)}")
        if job.why:
            lines.append(f"  {job.why}")
        lines += [f"  {name}: {value}" for name, value in job.wish.options.items()]
        if job.unit:
            lines.append(f"  progress: {_progress(job)}{f', {job.rate:.3g} a second' if job.rate else ''}")
        if job.eta is not None:
            lines.append(f"  done by {moment(job.eta)}, at this rate")
        lines.append(f"  asked for {moment(job.created)}")
        if job.started is not None:
            lines.append(f"  begun {moment(job.started)}")
        if job.ended is not None:
            lines.append(
                f"  ended {moment(job.ended)}{'' if job.code is None else f', exit code {job.code}'}"
            )
        shown = [*map(one_line, lines)]
        if job.errors:
            rows = [(each.kind, str(each.count), " ".join(each.examples)) for each in job.errors]
            shown += ["", table(("MET", "COUNT", "SOME OF THEM, AS STORED"), rows, numbers={1})]
        if job.result:
            shown += ["", "result:", *(f"  {line}" for line in _told(job.outcome()))]
        return "\n".join(shown)


@dataclass(frozen=True)
class JobList:
    """A page of the list of jobs.

    Args:
        jobs: one after the other.
        names: of file systems, by their numbers.
        following: what asks for the next page; None on the last one.
    """

    jobs: tuple[JobState, ...]
    names: Mapping[int, str]
    following: str | None
    filtered: bool = field(default=False, compare=False)

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        return {
            "jobs": [_simplified(job, _named(self.names, job.wish.fscid)) for job in self.jobs],
            "following": self.following,
        }

    def plain(self) -> str:
        """Show it to a person."""
        if not self.jobs and self.filtered:
            return "No job fits."
        if not self.jobs:
            return "There is no job."
        rows = [
            (
                job.id,
                job.wish.kind,
                _named(self.names, job.wish.fscid),
                job.wish.path,
                job.state,
                _progress(job),
                "" if job.eta is None else moment(job.eta),
            )
            for job in self.jobs
        ]
        heading = ("JOB", "KIND", "FILE SYSTEM", "PATH", "STATE", "PROGRESS", "DONE BY")
        shown = table(heading, rows)
        return shown if self.following is None else f"{shown}\n{more(self.following)}"


class Jobs:
    """The jobs of the engine service."""

    def __init__(
        self,
        *,
        service: JobService,
        cluster: FileSystemMap,
        registered: Callable[[str, str], Result],
        new_id: Callable[[], str],
    ) -> None:
        """Work with these.

        Args:
            service: does them.
            cluster: the file systems that exist.
            registered: whether a subtree is, by the name of its file system and its path; or why that is not known.
            new_id: 32 hexadecimal digits that nobody had before.
        """
        self._service = service
        self._cluster = cluster
        self._registered = registered
        self._new_id = new_id

    def verify(self, fs: str, path: str, *, rate: int | None = None) -> Result:
        """Have a registered subtree looked at for damage, with its key; at most `rate` entries a second.

        Of one that is registered only: another path may be a name that is encrypted, which no record may hold.
        """
        known = self._registered(fs, path)
        if not known.success:
            return known
        options: dict[str, Option] = {} if rate is None else {"rate": rate}
        return self.begin("verify", fs, path, options, instead=f"{client_line('fsck', path, fs)} --key FILE")

    def begin(
        self, kind: str, fs: str, path: str, options: Mapping[str, Option], *, instead: str = ""
    ) -> Result:
        """Have the service do something, when its place comes; the job that does the same already, where there is one.

        Args:
            kind: one that the service knows.
            fs: the name of the file system.
            path: of the directory that it is about.
            options: of that kind; no secret.
            instead: the line for a client, where there is no service that could do it; empty: there is none.
        """
        try:
            number = existing(self._cluster, fs).fscid
            where = normal_path(path)
        except RefusalError as refusal:
            return refusal.result
        try:
            said = self._service.asked(
                lambda: StartJob(JobWish(self._new_id(), kind, number, where, dict(options)))
            )
        except RefusalError as refusal:
            result = refusal.result
            # it is not there, or does not work for this file system
            if result.code in (errno.EAGAIN, errno.EPERM) and instead:
                return Result.failed(result.code, f"{result.status}; or do it on a client: `{instead}`")
            return result
        return self._detail(said, changed=True)

    def show(self, job: str) -> Result:
        """All that is known of one."""
        return self._asked(lambda: JobQuestion(job))

    def listing(
        self,
        after: str | None,
        limit: int | None,
        *,
        filters: Mapping[str, str | None] | None = None,
        reverse: bool = False,
    ) -> Result:
        """A page of all, newest first.

        Args:
            after: the id of a job, which is a place in either direction.
            limit: at most so many.
            filters: `kind` and `state`.
            reverse: oldest first.
        """
        most = MOST_ON_PAGE if limit is None else limit
        try:
            wanted = chosen(filters or {}, {"state": STATES})
            said = self._service.asked(lambda: JobsQuestion(after, most, **wanted, reverse=reverse))
        except RefusalError as refusal:
            return refusal.result
        if not isinstance(said, JobPage):
            return _another_release()
        names = names_of(self._cluster)
        return Result(answer=JobList(said.jobs, names, said.following, filtered=bool(wanted)))

    def pause(self, job: str, *, dry_run: bool = False) -> Result:
        """Have one stop at its next step, until it is told to go on."""
        if dry_run:
            return self._would(job, "pause", but=("done", "failed", "cancelled", "cancelling"))
        return self._asked(lambda: PauseJob(job), changed=True)

    def resume(self, job: str, *, dry_run: bool = False) -> Result:
        """Have one go on that is paused, waits, or failed."""
        if dry_run:
            return self._would(job, "go on with", but=("done", "cancelled", "cancelling"))
        return self._asked(lambda: ResumeJob(job), changed=True)

    def cancel(self, job: str, *, dry_run: bool = False) -> Result:
        """Have one end for good."""
        if dry_run:
            return self._would(job, "cancel", but=("done",))
        return self._asked(lambda: CancelJob(job), changed=True)

    def forget(self, job: str, *, dry_run: bool = False) -> Result:
        """Drop the record of one that is over."""
        if dry_run:
            return self._would(
                job,
                "forget",
                but=("queued", "running", "pausing", "paused", "waiting", "cancelling"),
            )
        try:
            self._service.asked(lambda: ForgetJob(job))
        except RefusalError as refusal:
            return refusal.result
        return Result(status=f"job {job}: forgotten", changed=True)

    def _would(self, job: str, verb: str, *, but: tuple[str, ...]) -> Result:
        """What a verb would come to, which is refused in these states."""
        try:
            said = self._service.asked(lambda: JobQuestion(job))
        except RefusalError as refusal:
            return refusal.result
        if not isinstance(said, JobState):
            return _another_release()
        about = f"job {job}, {said.wish.kind} of {said.wish.path}, which is {said.state}"
        if said.state in but:
            return Result.failed(errno.EPERM, f"would not {verb} {about}")
        return Result(status=f"would {verb} {about}", changed=True)

    def _asked(self, ask: Callable[[], Ask], *, changed: bool = False) -> Result:
        try:
            return self._detail(self._service.asked(ask), changed=changed)
        except RefusalError as refusal:
            return refusal.result

    def _detail(self, said: Said, *, changed: bool) -> Result:
        if not isinstance(said, JobState):
            return _another_release()
        fs_name = _named(names_of(self._cluster), said.wish.fscid)
        if not changed:
            return Result(answer=JobDetail(said, fs_name))
        about = one_line(f"{said.wish.kind} of {said.wish.path} on {fs_name}")
        status = f"job {said.id}, {about}: {said.state}; see `ceph fscrypt job show {said.id}`"
        return Result(status=status, answer=JobDetail(said, fs_name, told=True), changed=True)


def _another_release() -> Result:
    return Result.failed(
        errno.EPROTO,
        "the engine service answered something else; run the manager module and the service of one release",
    )


def _named(names: Mapping[int, str], fscid: int) -> str:
    return names.get(fscid, f"file system {fscid} (removed)")


def _progress(job: JobState) -> str:
    if not job.unit:
        return ""
    if not job.total:
        return f"{job.done} {job.unit}"
    return f"{job.done} of {job.total} {job.unit}"


def _simplified(job: JobState, fs_name: str) -> Simplified:
    value = asdict(job)
    wish = value.pop("wish")
    try:
        result = job.outcome()
    except MessageError:
        # of a kind of another release: as it is
        result = {"text": job.result}
    return {
        "id": wish["id"],
        "kind": wish["kind"],
        "fs_name": fs_name,
        "path": wish["path"],
        "options": dict(wish["options"]),
        **value,
        "errors": [asdict(each) | {"examples": list(each.examples)} for each in job.errors],
        "result": result,
    }


def _told(value: Any) -> list[str]:
    """Plain JSON as lines for people."""
    match value:
        case dict() | list() if not value:
            return ["none"]
        case dict():
            return [line for name, each in value.items() for line in _told_of(one_line(str(name)), each)]
        case list():
            items = [_told(each) for each in value]
            return [
                text for first, *rest in items for text in (f"- {first}", *(f"  {line}" for line in rest))
            ]
        case _:
            return [one_line(str(value))]


def _told_of(name: str, value: Any) -> list[str]:
    lines = _told(value)
    if isinstance(value, dict | list) and value:
        return [f"{name}:", *(f"  {line}" for line in lines)]
    return [f"{name}: {lines[0]}"]


def client_line(command: str, path: str, fs: str) -> str:
    """The line of `cephfs-fscrypt` that does the same on a client."""
    return f"cephfs-fscrypt {command} {shell_word(path)} --fs {shell_word(fs)}"
