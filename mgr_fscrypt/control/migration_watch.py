"""Migrations that somebody has to see to: those that stand still, and those that left plaintext behind."""

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..messages.job import OVER, JobBrief, Jobs
from ..messages.migration_job import (
    CANCEL,
    CLOSED,
    ENCRYPT,
    LOOK,
    MIGRATE,
    PURGE,
    ROLLBACK,
    LookOptions,
    PurgeOptions,
    as_options,
)
from ..store import LeftMigration
from .cluster import FileSystemMap, names_of
from .jobs import Jobs as JobCommands
from .migration_outcomes import LeftMigrations
from .raised import Warned, raised
from .results import Result
from .text import moment, one_line, shell_word
from .values import Simplified

STALLED = "FSCRYPT_MIGRATION_STALLED"
REMAINS = "FSCRYPT_PLAINTEXT_REMAINS"
STILL = 600.0
"""Seconds without progress after which a migration counts as stalled: one large file may take minutes."""
AGAIN = 3600.0
"""Seconds between two looks at what is left of a migration: people remove snapshots by other means than ours."""
_ACTS = (MIGRATE, ROLLBACK, PURGE, CANCEL)
_IDLE = ("queued", "paused", "pausing")
"""States in which nobody expects progress: others come first, or somebody wants it so."""


@dataclass(frozen=True)
class Left:
    """What migrations left behind, as `Result.answer` has it."""

    migrations: tuple[LeftMigration, ...]

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        return {"migrations": [vars(each) for each in self.migrations]}

    def plain(self) -> str:
        """Show it to a person."""
        return "\n".join(one_line(each.path) for each in self.migrations)


class MigrationWatch:
    """Looks now and then. For one thread, which may wait for the service and the database.

    Args:
        left: what migrations left behind; on the database's thread only.
        jobs: begins looks.
        cluster: the file systems.
        answer: does work on the database, and answers in time.
        recorded: does work of a command about something, and records it in the audit.
        now: seconds that only go forward.
        date: seconds since the epoch.
    """

    def __init__(
        self,
        *,
        left: LeftMigrations,
        jobs: JobCommands,
        cluster: FileSystemMap,
        answer: Callable[[Callable[[], Result]], Result],
        recorded: Callable[[str, Sequence[str], Callable[[], Result]], Result],
        now: Callable[[], float],
        date: Callable[[], float],
    ) -> None:
        self._left = left
        self._jobs = jobs
        self._cluster = cluster
        self._answer = answer
        self._recorded = recorded
        self._now = now
        self._date = date
        self._known: tuple[LeftMigration, ...] = ()
        self._looked: dict[tuple[int, str], float] = {}
        self._progress: dict[str, tuple[tuple[str, int, str], float]] = {}
        self._stalled: list[tuple[JobBrief, str]] = []

    @property
    def known(self) -> tuple[LeftMigration, ...]:
        """What was left behind, as it was seen last."""
        return self._known

    @property
    def stalled(self) -> int:
        """How many stand still."""
        return len(self._stalled)

    def look(self, jobs: Jobs) -> None:
        """See how it stands by what the service told of its jobs, and have it look at what is left."""
        self._see(jobs)
        found = self._answer(lambda: Result(answer=Left(self._left.all())))
        if isinstance(found.answer, Left):
            self._known = found.answer.migrations
        names, now = names_of(self._cluster), self._now()
        for each in self._known:
            place = (each.fscid, each.path)
            if each.fscid not in names or now - self._looked.get(place, now - AGAIN) < AGAIN:
                continue
            if self._begin(each, names[each.fscid]).code == errno.EAGAIN:
                # no service: the next round tries again. One that refuses works for another file system
                return
            self._looked[place] = now

    def checks(self) -> Simplified:
        """Give the health checks, as ceph-mgr takes them."""
        names = names_of(self._cluster)
        stalled = [f"job {job.id}, {job.kind} {job.about}: {why}" for job, why in self._stalled]
        remains = [
            line
            for each in self._known
            if each.direction == ENCRYPT
            for line in _remains(each, names.get(each.fscid, f"file system {each.fscid}"))
        ]
        found = {
            STALLED: Warned(
                "{} migrations do not get on",
                stalled,
                "see `ceph fscrypt job show JOB`; when its reason is seen to, `job resume JOB`; `job cancel JOB` "
                "leaves the source as it was",
            ),
            REMAINS: Warned(
                "{} places keep the plaintext of what was encrypted since",
                remains,
                "they are looked at each hour",
            ),
        }
        return raised(found)

    def _begin(self, left: LeftMigration, fs_name: str) -> Result:
        """Have it looked at; or have the old tree removed, whose time has come if nobody has said another one since."""
        if not (left.trash and 0 < left.kept_until <= self._date()):
            return self._jobs.begin(LOOK, fs_name, left.path, as_options(LookOptions(left.source)))
        options = as_options(PurgeOptions(lose_changes=False, lose_excluded=False, dry_run=False, due=True))
        begun = self._jobs.begin(PURGE, fs_name, left.path, options)
        if begun.success:
            about = (fs_name, left.path, "when its time had come")
            self._answer(lambda: self._recorded("migrate purge", about, lambda: begun))
        return begun

    def _see(self, jobs: Jobs) -> None:
        now = self._now()
        mine = [job for job in jobs.told if job.kind in _ACTS]
        active = [job for job in mine if job.state not in (*OVER, *_IDLE) and CLOSED not in job.unit]
        before, self._progress = self._progress, {}
        self._stalled = [(job, job.why) for job in mine if job.state == "failed"]
        for job in active:
            at = (job.state, job.done, job.unit)
            seen, since = before.get(job.id, (at, now))
            since = since if seen == at else now
            self._progress[job.id] = (at, since)
            if now - since >= STILL:
                why = job.why or f"{job.state} without progress for {now - since:.0f} s"
                self._stalled.append((job, why))


def _remains(left: LeftMigration, fs_name: str) -> list[str]:
    where = f"{left.path} of {fs_name}"
    found = []
    if left.trash:
        until = f", to be purged at {moment(left.kept_until)}" if left.kept_until else ""
        command = f"ceph fscrypt migrate purge {shell_word(fs_name)} {shell_word(left.path)}"
        found.append(f"{where}: the old tree is kept since {moment(left.since)}{until}: run `{command}`")
    found += [f"{where}: snapshot {each} has the old tree: remove it" for each in left.snapshots]
    return found
