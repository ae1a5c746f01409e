"""Databases as older releases left them, each a dump in qa/vectors/store: all of them become the present one.

A new step comes with the dump of the schema before it; the dumps that are there are never made anew.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from mgr_fscrypt.store import prepare
from mgr_fscrypt.store.schema import MIGRATIONS

DUMPS = Path(__file__).resolve().parents[2] / "vectors" / "store"
OLD = range(1, len(MIGRATIONS))
SCHEMA = "SELECT name, sql FROM sqlite_master ORDER BY name"


@contextmanager
def opened(version: int = 0) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        if version:
            db.executescript((DUMPS / f"schema-{version}.sql").read_text())
        yield db


def columns(db: sqlite3.Connection) -> dict[str, str]:
    names = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return {name: ", ".join(row[1] for row in db.execute(f"PRAGMA table_info({name})")) for (name,) in names}


def tables(db: sqlite3.Connection, wanted: dict[str, str]) -> dict[str, list[tuple[object, ...]]]:
    queries = {name: f"SELECT {some} FROM {name}" for name, some in wanted.items()}  # noqa: S608
    return {name: sorted(db.execute(query).fetchall()) for name, query in queries.items()}


@pytest.mark.parametrize("version", OLD)
def test_an_old_database_becomes_the_present_one_and_keeps_its_rows(version: int):
    with opened(version) as old, opened() as new:
        had = columns(old)
        before = tables(old, had)
        assert all(before.values()), "a dump without rows proves nothing"
        prepare(old)
        prepare(new)
        assert old.execute(SCHEMA).fetchall() == new.execute(SCHEMA).fetchall()
        assert tables(old, had) == before
        after = tables(old, columns(old))
        if version == 7:
            inodes = old.execute("SELECT path, inode FROM Eviction ORDER BY path").fetchall()
            assert inodes == [("/a/b", 10), ("/gone", 0)]
        if 9 <= version < 13:
            assert old.execute("SELECT DISTINCT created_by FROM Identity").fetchall() == [("?",)], (
                "nobody knows"
            )
            assert old.execute("SELECT behind FROM Destruction").fetchall() == [("ann ?",)]
        if version < 4:
            counts = [(1, "engine", 1), (1, "kernel", 1), (2, "engine", 1)]
            assert after["SubtreeCount"] == counts, "what was there before is counted"


@pytest.mark.parametrize("version", OLD)
def test_a_step_that_was_released_is_never_changed(version: int):
    with opened(version) as old, opened() as made:
        prepare(made, MIGRATIONS[:version])
        assert old.execute("PRAGMA user_version").fetchone() == (version,)
        assert [name for name, _ in old.execute(SCHEMA)] == [name for name, _ in made.execute(SCHEMA)]
        words = [[" ".join((sql or "").split()) for _, sql in db.execute(SCHEMA)] for db in (old, made)]
        assert words[0] == words[1]
