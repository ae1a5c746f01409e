"""Figures over time: means, bounds on what is kept, and what a clock does that is set."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from mgr_fscrypt.store import COARSE, FINE, LocalDatabase, Measure, MeasureTable
from mgr_fscrypt.store.measures import COARSE_KEPT, FINE_KEPT

NOW = 1_700_000_000 // COARSE * COARSE


@pytest.fixture
def database() -> Iterator[LocalDatabase]:
    with closing(LocalDatabase()) as made:
        yield made


def rows(database: LocalDatabase) -> int:
    with database.transaction() as db:
        return int(db.execute("SELECT COUNT(*) FROM Measured").fetchone()[0])


def test_samples_of_a_span_are_one_mean_of_all(database: LocalDatabase):
    table = MeasureTable(database)
    for at, value in ((0, 1.0), (1, 2.0), (FINE - 1, 6.0), (FINE, 10.0)):
        table.add(NOW + at, "bytes", [("cephfs", value), ("other", -value)])
    table.add(NOW, "subtrees", [("cephfs", 99.0)])
    assert table.curve("bytes", NOW, FINE) == (
        Measure("cephfs", NOW, 3.0),
        Measure("cephfs", NOW + FINE, 10.0),
        Measure("other", NOW, -3.0),
        Measure("other", NOW + FINE, -10.0),
    )
    # each sample weighs the same in what is wider
    assert table.curve("bytes", NOW, COARSE)[0] == Measure("cephfs", NOW, 4.75)
    assert table.curve("bytes", NOW, 6 * FINE)[0] == Measure("cephfs", NOW, 4.75)
    assert table.curve("bytes", NOW + FINE, FINE)[0] == Measure("cephfs", NOW + FINE, 10.0)


def test_what_is_kept_is_bounded(database: LocalDatabase):
    """Three years of a figure, each third hour: a month of spans, two years of days."""
    table = MeasureTable(database)
    most = 0
    for at in range(NOW - 3 * 365 * COARSE, NOW, 18 * FINE):
        table.add(at, "bytes", [("cephfs", 1.0)])
        if at % (30 * COARSE) < 18 * FINE:
            table.thin(at)
            most = max(most, rows(database))
    table.thin(NOW)
    assert rows(database) == FINE_KEPT // (18 * FINE) + COARSE_KEPT // COARSE
    assert most <= rows(database) + 2
    (first, *_) = table.curve("bytes", 0, COARSE)
    assert first.at == NOW - COARSE_KEPT


def test_what_a_clock_left_that_ran_ahead_goes(database: LocalDatabase):
    table = MeasureTable(database)
    table.add(NOW + 10 * COARSE, "bytes", [("cephfs", 1.0)])
    table.add(NOW, "bytes", [("cephfs", 2.0)])
    table.thin(NOW)
    assert table.curve("bytes", 0, FINE) == (Measure("cephfs", NOW, 2.0),)
    assert rows(database) == 2


def test_a_curve_is_read_from_its_own_rows(database: LocalDatabase):
    with database.transaction() as db:
        plan = db.execute(
            "EXPLAIN QUERY PLAN SELECT about, at FROM Measured WHERE what = 'x' AND span = 600 AND at >= 5"
        ).fetchall()
        dropped = db.execute("EXPLAIN QUERY PLAN DELETE FROM Measured WHERE span = 600 AND at < 5").fetchall()
    assert [_words(row) for row in plan] == ["SEARCH Measured USING PRIMARY KEY (what=? AND span=? AND at>?)"]
    assert "SEARCH Measured USING" in _words(dropped[0])


def _words(row: sqlite3.Row) -> str:
    return str(row["detail"])
