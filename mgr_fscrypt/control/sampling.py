"""Takes the figures of which there is a history: one sample in ten minutes.

What the manager knows is counted; what lies below subtrees, which it does not mount, the engine service tells.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from ..messages.job import Jobs
from ..messages.migration_job import MIGRATE
from ..messages.service import (
    MOST_SIZED,
    Ask,
    BackendState,
    Managers,
    ManagersQuestion,
    Said,
    Sizes,
    SizesQuestion,
)
from ..store import FINE, Found, Place, Wanted
from .cluster import FileSystemMap, names_of
from .history import BYTES, LATENCY, MEAN, MIGRATED, OLDEST, SUBTREES, Figure
from .refusal import RefusalError
from .results import Result
from .service import ServiceReport
from .values import Simplified

FIRST = 30.0
"""Seconds after which the first sample is taken: the service is there by then."""
PATIENCE = 60.0
"""Seconds that the service has for looking at sizes."""
MOST = 8
"""Curves of one figure: of so many file systems, and key managers."""
_ROOM = 100_000
"""Characters of JSON that a question has for paths: a message has 256 KiB."""
_DAY = 86_400


class SampledSubtrees(Protocol):
    """Registered subtrees; `store.SubtreeTable` tells what each call means."""

    def page(self, fscid: int | None, after: Place, limit: int, wanted: Wanted = ...) -> Found:
        """List in order."""
        ...

    def counts(self) -> Mapping[tuple[int, str], int]:
        """Count by file system and mode."""
        ...


class SampledKeys(Protocol):
    """Reported keys; `store.KeyTable` tells what it means."""

    def ages(self) -> Mapping[int, tuple[int, float]]:
        """When keys were made, by file system: the oldest, the mean."""
        ...


class Measures(Protocol):
    """Where samples go; `store.MeasureTable` tells what each call means."""

    def add(self, at: int, what: str, figures: Iterable[tuple[str, float]]) -> None:
        """Take in a sample."""
        ...

    def thin(self, now: int) -> None:
        """Drop what is too old."""
        ...


class _Paths:
    """Which subtrees a file system has, as `Result.answer` carries it; None: more than one can ask for."""

    def __init__(self, paths: tuple[str, ...] | None) -> None:
        self.paths = paths

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        return {"paths": None if self.paths is None else list(self.paths)}

    def plain(self) -> str:
        """Show it to a person."""
        return "\n".join(self.paths or ())


class Sampler:
    """Takes samples. For one thread, which may wait for the service and the database.

    Args:
        measures: where they go; on the database's thread only.
        subtrees, keys: what is registered; the same.
        cluster: the file systems that there are.
        service: how the engine service is.
        ask: asks it. Raises `RefusalError`.
        answer: does work on the database, and answers in time.
        whole: makes of all that is done to the database inside one transaction.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        *,
        measures: Measures,
        subtrees: SampledSubtrees,
        keys: SampledKeys,
        cluster: FileSystemMap,
        service: Callable[[], ServiceReport],
        ask: Callable[[Callable[[], Ask]], Said],
        answer: Callable[[Callable[[], Result]], Result],
        whole: Callable[[], AbstractContextManager[None]],
        clock: Callable[[], float],
    ) -> None:
        self._whole = whole
        self._measures = measures
        self._subtrees = subtrees
        self._keys = keys
        self._cluster = cluster
        self._service = service
        self._ask = ask
        self._answer = answer
        self._clock = clock
        self._taken = clock()
        self._due = self._taken + FIRST
        self._progress: dict[str, tuple[str, int]] = {}
        self._migrated = 0

    def look(self, jobs: Jobs) -> None:
        """Follow the migrations; and take a sample, if it is time, or the clock was set back."""
        self._follow(jobs)
        now = self._clock()
        if self._taken <= now < self._due:
            return
        sizes = self._sizes()
        if sizes is not None and not sizes[1].seen and now < self._due + PATIENCE:
            return
        self._answer(lambda: self._taken_in(int(now), sizes))
        self._taken, self._migrated = now, 0
        # one in each span that is kept
        self._due = (now // FINE + 1) * FINE

    def _follow(self, jobs: Jobs) -> None:
        """Add what migrations got done since the last look. What is new to us may have been done before us."""
        told = {job.id: (job.unit, job.done) for job in jobs.told if job.kind == MIGRATE}
        for job, (unit, done) in told.items():
            before = self._progress.get(job)
            if before is not None:
                # another step counts from its begin
                self._migrated += max(0, done - before[1] if unit == before[0] else done)
        self._progress = told

    def _sizes(self) -> tuple[int, Sizes] | None:
        """The file system that the service works for, and what lies in its subtrees; None: nobody can tell."""
        try:
            managers = self._ask(ManagersQuestion)
            if not isinstance(managers, Managers) or managers.fscid is None:
                return None
            fscid = managers.fscid
            found = self._answer(lambda: Result(answer=_Paths(self._paths(fscid)))).answer
            paths = found.paths if isinstance(found, _Paths) else None
            if paths is None:
                return None
            said = self._ask(lambda: SizesQuestion(paths))
        except RefusalError:
            return None
        return (fscid, said) if isinstance(said, Sizes) else None

    def _paths(self, fscid: int) -> tuple[str, ...] | None:
        found = self._subtrees.page(fscid, Place(), MOST_SIZED + 1).subtrees
        paths = tuple(each.path for each in found)
        if len(paths) > MOST_SIZED or len(json.dumps(paths)) > _ROOM:
            return None
        return paths

    def _taken_in(self, now: int, sizes: tuple[int, Sizes] | None) -> Result:
        with self._whole():
            self._take(now, sizes)
        return Result()

    def _take(self, now: int, sizes: tuple[int, Sizes] | None) -> None:
        """Take in what can be told; on the database's thread."""
        names = names_of(self._cluster)
        subtrees = dict.fromkeys(names, 0)
        for (fscid, _), number in self._subtrees.counts().items():
            if fscid in names:
                subtrees[fscid] += number
        made = {fscid: each for fscid, each in self._keys.ages().items() if fscid in names}
        self._add(now, SUBTREES, ((names[fscid], number) for fscid, number in subtrees.items()))
        self._add(now, OLDEST, ((names[each], (now - made[each][0]) / _DAY) for each in made))
        self._add(now, MEAN, ((names[each], (now - made[each][1]) / _DAY) for each in made))
        if sizes is not None and sizes[0] in names and sizes[1].seen and None not in sizes[1].bytes:
            total = sum(each for each in sizes[1].bytes if each is not None)
            self._add(now, BYTES, [(names[sizes[0]], total)])
        service = self._service().service
        if service is not None:
            if now > self._taken and service.jobs is not None:
                self._add(now, MIGRATED, [("", self._migrated / (now - self._taken))])
            self._add(now, LATENCY, self._latencies(service.backends))
        self._measures.thin(now)

    def _latencies(self, backends: Iterable[BackendState]) -> Iterator[tuple[str, float]]:
        """Of the key managers that were asked since the last sample, and did what they were asked."""
        for each in backends:
            if each.took is not None and not each.error and each.last >= self._taken:
                yield each.name, 1000 * each.took

    def _add(self, now: int, figure: Figure, figures: Iterable[tuple[str, float]]) -> None:
        shown: Sequence[tuple[str, float]] = sorted(figures)[:MOST]
        if shown:
            self._measures.add(now, figure.name, shown)
