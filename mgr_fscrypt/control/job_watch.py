"""Jobs in `ceph -s`: an event of the module `progress` for each, which goes when the job is over.

`progress` keeps events in the memory of one ceph-mgr: another one begins without. They go by the jobs' ids, so one that
was begun before this module was loaded anew is found again, and ended where its job is no more.
"""

from collections.abc import Collection, Mapping
from logging import Logger
from typing import Protocol

from ..messages.job import OVER, JobBrief, Jobs
from .text import one_line

PREFIX = "fscrypt-job-"


class BoardError(Exception):
    """The events cannot be changed now."""


class Board(Protocol):
    """Where events are shown. Each call may raise `BoardError`."""

    def events(self) -> Collection[str]:
        """The ids of all that are there, whoever made them."""
        ...

    def update(self, event: str, message: str, share: float) -> None:
        """Show it, done so far as a share of 1."""
        ...

    def complete(self, event: str) -> None:
        """It came to its end."""
        ...

    def fail(self, event: str, why: str) -> None:
        """It will not come to its end."""
        ...


class JobWatch:
    """Shows what the service tells of its jobs. For one thread."""

    def __init__(self, board: Board, log: Logger) -> None:
        self._board = board
        self._log = log
        self._shown: dict[str, tuple[str, float]] | None = None

    def look(self, jobs: Jobs | None) -> None:
        """Show this; None: nobody tells any more."""
        try:
            if self._shown is None:
                left = [each for each in self._board.events() if each.startswith(PREFIX)]
                self._shown = {each.removeprefix(PREFIX): ("", 0.0) for each in left}
            if jobs is None:
                self._leave(self._shown)
            else:
                self._show(self._shown, jobs)
        except BoardError as error:
            # what is shown is looked at anew then
            self._shown = None
            self._log.info("jobs are not shown in `ceph -s`: %s", error)

    def _show(self, shown: dict[str, tuple[str, float]], jobs: Jobs) -> None:
        told = {job.id: job for job in jobs.told}
        active = [job for job in jobs.told if job.state not in OVER]
        for job in active:
            line = (_message(job), _share(job))
            if shown.get(job.id) != line:
                self._board.update(f"{PREFIX}{job.id}", *line)
                shown[job.id] = line
        cut = jobs.active > len(active)
        for known in tuple(shown):
            if self._ended(known, told, cut=cut):
                del shown[known]

    def _ended(self, known: str, told: Mapping[str, JobBrief], *, cut: bool) -> bool:
        """End the event of a job that is over; is it?"""
        job = told.get(known)
        if job is None and cut:
            # it may be among those that are not told of
            return False
        if job is not None and job.state not in OVER:
            return False
        if job is not None and job.state == "failed":
            self._board.fail(f"{PREFIX}{known}", one_line(job.why))
        elif job is not None and job.state == "cancelled":
            self._board.fail(f"{PREFIX}{known}", "cancelled")
        else:
            self._board.complete(f"{PREFIX}{known}")
        return True

    def _leave(self, shown: dict[str, tuple[str, float]]) -> None:
        for known in tuple(shown):
            self._board.fail(f"{PREFIX}{known}", "this manager asks no engine service any more")
            del shown[known]


def _message(job: JobBrief) -> str:
    state = "" if job.state == "running" else f" ({job.state})"
    return one_line(f"fscrypt {job.kind} {job.about}{state}")


def _share(job: JobBrief) -> float:
    # to the thousandth: what cannot be seen is not told
    return round(min(1.0, job.done / job.total), 3) if job.total else 0.0
