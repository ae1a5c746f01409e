"""What was measured over time, as `ceph fscrypt history` tells it: which figures there are, and a curve of one."""

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..store import COARSE, COARSE_KEPT, FINE, FINE_KEPT, Measure
from .nearest import hint
from .results import Result
from .text import moment, table
from .values import Simplified

DAYS = 30
"""That are told where nothing is said."""
_DAY = 86_400
MOST_DAYS = COARSE_KEPT // _DAY
MOST_POINTS = 150
"""Of one curve: as many as a drawing of it can show."""


@dataclass(frozen=True)
class Figure:
    """A kind of figure.

    Args:
        name: what it is asked for by.
        unit: of its values.
        about: whose it is: "file system", "key manager", or empty, where there is one of its kind.
        meaning: in words.
    """

    name: str
    unit: str
    about: str
    meaning: str


BYTES = Figure("bytes", "bytes", "file system", "what lies below the encrypted subtrees, in raw sizes")
SUBTREES = Figure("subtrees", "subtrees", "file system", "encrypted subtrees that are registered")
MIGRATED = Figure("migrated", "entries a second", "", "what migrations got done")
OLDEST = Figure("oldest-key", "days", "file system", "the age of the oldest key that can be used")
MEAN = Figure("mean-key", "days", "file system", "the mean age of the keys that can be used")
LATENCY = Figure("kms", "milliseconds", "key manager", "how long a key manager took when it was asked last")
FIGURES: Mapping[str, Figure] = {
    each.name: each for each in (BYTES, SUBTREES, MIGRATED, OLDEST, MEAN, LATENCY)
}
"""All that there are."""


class KeptMeasures(Protocol):
    """Figures over time; `store.MeasureTable` tells what it means."""

    def curve(self, what: str, since: int, step: int) -> Sequence[Measure]:
        """Means for each step, in order of whose and when."""
        ...


@dataclass(frozen=True)
class Curves:
    """The curves of one kind of figure, as `Result.answer` has them. Times are seconds since the epoch.

    Args:
        figure: the kind.
        since: from when on.
        until: up to when.
        step: seconds that each point is the mean of.
        points: in order of whose and when; where nothing was measured there is none.
    """

    figure: Figure
    since: int
    until: int
    step: int
    points: tuple[Measure, ...]

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        curves: dict[str, list[Simplified]] = {}
        for each in self.points:
            curves.setdefault(each.about, []).append({"at": each.at, "value": each.value})
        return {
            "what": self.figure.name,
            "unit": self.figure.unit,
            "of": self.figure.about,
            "meaning": self.figure.meaning,
            "since": self.since,
            "until": self.until,
            "step": self.step,
            "curves": [{"about": about, "points": points} for about, points in curves.items()],
        }

    def plain(self) -> str:
        """Show it to a person."""
        if not self.points:
            return f"Nothing was measured since {moment(self.since)}."
        title = (self.figure.about or "of").upper()
        rows = ((moment(each.at), each.about or "all", f"{each.value:.10g}") for each in self.points)
        return table(("FROM", title, self.figure.unit.upper()), rows, numbers={2})


class History:
    """What the command about figures over time does.

    Args:
        store: where they are kept.
        clock: seconds since the epoch.
    """

    def __init__(self, *, store: KeptMeasures, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    def show(self, what: str, days: int | None = None) -> Result:
        """Give the curves of a figure.

        Args:
            what: its name.
            days: how far back; `DAYS` when not given.
        """
        days = DAYS if days is None else days
        figure = FIGURES.get(what)
        if figure is None:
            next_step = hint(what, FIGURES, f"use one of {', '.join(FIGURES)}")
            return Result.failed(errno.EINVAL, f"there is no such figure; {next_step}")
        if not 0 < days <= MOST_DAYS:
            return Result.failed(errno.EINVAL, f"days must be from 1 to {MOST_DAYS}, not {days}")
        until = int(self._clock())
        span = FINE if days * _DAY <= FINE_KEPT else COARSE
        step = -(-days * _DAY // MOST_POINTS // span) * span
        # a whole step is its own, and the last one is still going on
        since = (until - days * _DAY) // step * step
        points = tuple(each for each in self._store.curve(what, since, step) if each.at <= until)
        return Result(answer=Curves(figure, since, until, step, points))
