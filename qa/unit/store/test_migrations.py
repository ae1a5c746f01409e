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


def tables(db: sqlite3.Connection) -> dict[str, list[tuple[object, ...]]]:
    names = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return {name: sorted(db.execute(f"SELECT * FROM {name}").fetchall()) for (name,) in names}  # noqa: S608


@pytest.mark.parametrize("version", OLD)
def test_an_old_database_becomes_the_present_one_and_keeps_its_rows(version: int):
    with opened(version) as old, opened() as new:
        before = tables(old)
        assert all(before.values()), "a dump without rows proves nothing"
        prepare(old)
        prepare(new)
        assert old.execute(SCHEMA).fetchall() == new.execute(SCHEMA).fetchall()
        after = tables(old)
        assert {name: after[name] for name in before} == before
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
