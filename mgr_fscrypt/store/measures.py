"""The table of figures over time: one for each ten minutes of a month, and one for each day of two years.

Each sample goes into both, as part of a mean. So the rows of one figure are bounded, however often samples are taken,
and by how many managers.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from .database import Database

FINE, FINE_KEPT = 600, 30 * 86_400
COARSE, COARSE_KEPT = 86_400, 730 * 86_400
"""Seconds that a row stands for, and for which it is kept."""
_KEPT = ((FINE, FINE_KEPT), (COARSE, COARSE_KEPT))


@dataclass(frozen=True)
class Measure:
    """A figure at a time.

    Args:
        about: whose it is, among those of its kind.
        at: when, in seconds since the epoch: the begin of what it is the mean of.
        value: the figure.
    """

    about: str
    at: int
    value: float


class MeasureTable:
    """Figures by what they are. Each call is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, at: int, what: str, figures: Iterable[tuple[str, float]]) -> None:
        """Take in a sample: whose it is, and the value."""
        rows = [
            (what, span, at // span * span, about, value) for about, value in figures for span, _ in _KEPT
        ]
        with self._database.transaction() as db:
            db.executemany(
                "INSERT INTO Measured (what, span, at, about, value, n) VALUES (?, ?, ?, ?, ?, 1) "
                "ON CONFLICT (what, span, at, about) DO UPDATE "
                "SET value = (value * n + excluded.value) / (n + 1), n = n + 1",
                rows,
            )

    def thin(self, now: int) -> None:
        """Drop what is older than it is kept; and what lies ahead, which a clock that ran ahead has left."""
        with self._database.transaction() as db:
            for span, kept in _KEPT:
                db.execute(
                    "DELETE FROM Measured WHERE span = ? AND (at < ? OR at > ?)", (span, now - kept, now)
                )

    def curve(self, what: str, since: int, step: int) -> tuple[Measure, ...]:
        """Give means for each ``step`` seconds since a time, in order of whose and when.

        Args:
            what: the kind of figure.
            since: from when on.
            step: a multiple of `FINE`. From a multiple of `COARSE` on it is days that are looked at.
        """
        span = COARSE if step % COARSE == 0 else FINE
        query = (
            "SELECT about, at / ? * ? AS slot, SUM(value * n) / SUM(n) AS mean FROM Measured "
            "WHERE what = ? AND span = ? AND at >= ? GROUP BY about, slot ORDER BY about, slot"
        )
        with self._database.transaction() as db:
            rows = db.execute(query, (step, step, what, span, since)).fetchall()
        return tuple(Measure(row["about"], row["slot"], row["mean"]) for row in rows)
