import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mgr_fscrypt.store import Joined, LocalDatabase, NewerSchemaError, Subtree, SubtreeTable, prepare
from mgr_fscrypt.store.schema import MIGRATIONS

FIRST = ("CREATE TABLE A (x)", "INSERT INTO A VALUES (1)")
SECOND = ("ALTER TABLE A ADD COLUMN y", "UPDATE A SET y = x + 1")


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


def fail_after(_: object) -> None:
    raise ZeroDivisionError


def test_a_new_database_gets_every_step(db: sqlite3.Connection):
    prepare(db, [FIRST, SECOND])
    assert db.execute("SELECT x, y FROM A").fetchall() == [(1, 2)]
    assert db.execute("PRAGMA user_version").fetchone() == (2,)


def test_an_old_database_gets_the_steps_it_lacks_and_keeps_its_rows(db: sqlite3.Connection):
    prepare(db, [FIRST])
    db.execute("INSERT INTO A VALUES (7)")
    prepare(db, [FIRST, SECOND])
    prepare(db, [FIRST, SECOND])
    assert db.execute("SELECT x, y FROM A ORDER BY x").fetchall() == [(1, 2), (7, 8)]


def test_a_step_that_fails_leaves_the_old_schema_and_its_number(db: sqlite3.Connection):
    prepare(db, [FIRST])
    db.execute("BEGIN")
    with pytest.raises(sqlite3.OperationalError), db:
        prepare(db, [FIRST, (SECOND[0], "INSERT INTO nowhere VALUES (1)")])
    assert db.execute("PRAGMA user_version").fetchone() == (1,)
    assert [column[1] for column in db.execute("PRAGMA table_info(A)")] == ["x"]


def test_what_is_deleted_is_overwritten(tmp_path: Path):
    file = tmp_path / "database"
    with closing(LocalDatabase(file)) as database:
        with database.transaction() as found:
            found.execute("CREATE TABLE Words (word TEXT)")
            found.execute("INSERT INTO Words VALUES (?)", ("unmistakable" * 20,))
        assert b"unmistakable" in file.read_bytes()
        with database.transaction() as found:
            found.execute("DELETE FROM Words")
    assert b"unmistakable" not in file.read_bytes()


def test_a_newer_database_is_refused_and_left_alone(db: sqlite3.Connection):
    prepare(db, [FIRST, SECOND])
    with pytest.raises(NewerSchemaError, match="has schema 2, this release of the module knows 1"):
        prepare(db, [FIRST])
    assert db.execute("PRAGMA user_version").fetchone() == (2,)


def test_the_first_released_step_is_never_changed(db: sqlite3.Connection):
    prepare(db, MIGRATIONS[:1])
    columns = [column[1] for column in db.execute("PRAGMA table_info(Subtree)")]
    assert columns == [
        "fscid",
        "path",
        "fs_name",
        "inode",
        "mode",
        "contents",
        "names",
        "padding",
        "key_identifier",
        "registered",
    ]


def test_a_file_keeps_what_was_committed_and_nothing_else(tmp_path: Path):
    file = tmp_path / "register.db"
    subtree = Subtree(1, "/a", "cephfs", 5, "engine", "AES-256-XTS", "AES-256-CBC-CTS", 32, "00" * 16, 0)
    database = LocalDatabase(file)
    SubtreeTable(database).put(subtree)
    with pytest.raises(ZeroDivisionError), database.transaction() as db:
        fail_after(db.execute("DELETE FROM Subtree"))
    database.close()
    again = LocalDatabase(file)
    assert SubtreeTable(again).at(1, "/a") == subtree
    again.close()


def test_several_calls_can_be_one_transaction():
    subtree = Subtree(1, "/a", "cephfs", 5, "engine", "AES-256-XTS", "AES-256-CBC-CTS", 32, "00" * 16, 0)
    with closing(LocalDatabase()) as database:
        joined = Joined(database)
        table = SubtreeTable(joined)
        with pytest.raises(ZeroDivisionError), joined.whole():
            fail_after(table.put(subtree))
        assert table.at(1, "/a") is None
        with joined.whole():
            table.put(subtree)
        assert SubtreeTable(database).at(1, "/a") == subtree
