"""A place for tables, and how it is brought to the present schema."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from .schema import MIGRATIONS


class NotReadyError(Exception):
    """The database cannot be reached now; trying again later is right."""


class NewerSchemaError(Exception):
    """A newer release wrote the database. It was left as it was: this release must not touch it."""


class Database(Protocol):
    """Whatever gives a connection for one transaction."""

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """Begin; commit when the block ends, undo all of it when the block raises.

        The connection inside has the present schema and rows that are read by column name.

        Raises:
            NotReadyError: there is no connection now.
            NewerSchemaError: the schema is newer than this release.
            sqlite3.Error: SQLite's own errors.
        """
        ...


class Joined:
    """A database of which several calls can be made one transaction. For one thread.

    Args:
        database: the one that is meant.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._open: sqlite3.Connection | None = None

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Make all transactions inside one: all of it is done, or nothing."""
        with self._database.transaction() as db:
            self._open = db
            try:
                yield
            finally:
                self._open = None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """See `Database.transaction`."""
        if self._open is not None:
            yield self._open
            return
        with self._database.transaction() as db:
            yield db


def prepare(connection: sqlite3.Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Bring the schema forward, inside the transaction that is open on the connection.

    The schema's version is SQLite's ``user_version``, which a rollback takes back with the tables. Ceph's own
    SCHEMA_VERSIONED is not used: it stamps a new database with version 1 whatever version was created.

    Raises:
        NewerSchemaError: the database has more steps behind it than this release knows.
    """
    # what is deleted is overwritten: names and dates of what was destroyed are not left in free pages
    connection.execute("PRAGMA secure_delete = ON")
    # 32 MiB, where ceph-mgr has 4: what does not fit is read from RADOS again, a millisecond for each page
    connection.execute("PRAGMA cache_size = -32768")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(migrations):
        msg = (
            f"the database has schema {version}, this release of the module knows {len(migrations)}: "
            "it was left as it was; install the newer release again"
        )
        raise NewerSchemaError(msg)
    if version == len(migrations):
        return
    for statements in migrations[version:]:
        for statement in statements:
            connection.execute(statement)
    # a pragma takes no bound parameters; the number is our own
    connection.execute(f"PRAGMA user_version = {len(migrations)}")


class LocalDatabase:
    """A database in a file of this host, or in memory: for tests and for looking at a copy."""

    def __init__(self, file: Path | None = None) -> None:
        self._connection = sqlite3.connect(file or ":memory:", isolation_level=None)
        self._connection.row_factory = sqlite3.Row

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """See `Database.transaction`."""
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            prepare(self._connection)
            yield self._connection

    def close(self) -> None:
        """Close the connection; a file stays."""
        self._connection.close()
