"""The table of what migrations left behind: old trees in the trash, and snapshots that hold them."""

import json
import sqlite3
from dataclasses import dataclass, fields

from .database import Database


@dataclass(frozen=True)
class LeftMigration:
    """What is left of one. Times are seconds since the epoch.

    Args:
        fscid: the file system's number.
        path: of what was migrated.
        direction: "encrypt", "re-encrypt" or "decrypt".
        key_identifier: of the key of the new tree, or of the old one where it was decrypted.
        source: the inode of the old tree's top.
        trash: is the old tree kept?
        snapshots: of directories above that have it in them, by their paths.
        since: when the trees were exchanged.
        kept_until: when the old tree may go; 0: nobody said so.
    """

    fscid: int
    path: str
    direction: str
    key_identifier: str
    source: int
    trash: bool
    snapshots: tuple[str, ...]
    since: int
    kept_until: int


_COLUMNS = ", ".join(field.name for field in fields(LeftMigration))
_PLACES = ", ".join("?" for _ in fields(LeftMigration))


class LeftMigrationTable:
    """By file system and path. Each call is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, left: LeftMigration) -> None:
        """Record one, in place of what was known there."""
        values = [json.dumps(each) if isinstance(each, tuple) else each for each in vars(left).values()]
        with self._database.transaction() as db:
            db.execute(f"INSERT OR REPLACE INTO LeftMigration ({_COLUMNS}) VALUES ({_PLACES})", values)  # noqa: S608 - our own column names

    def remove(self, fscid: int, path: str) -> None:
        """Drop one; nothing happens where there is none."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM LeftMigration WHERE fscid = ? AND path = ?", (fscid, path))

    def at(self, fscid: int, path: str) -> LeftMigration | None:
        """Give one."""
        query = f"SELECT {_COLUMNS} FROM LeftMigration WHERE fscid = ? AND path = ?"  # noqa: S608 - our own column names
        with self._database.transaction() as db:
            row = db.execute(query, (fscid, path)).fetchone()
        return None if row is None else _left(row)

    def all(self) -> tuple[LeftMigration, ...]:
        """Give all, in order: each was begun by somebody by hand."""
        query = f"SELECT {_COLUMNS} FROM LeftMigration ORDER BY fscid, path"  # noqa: S608 - our own column names
        with self._database.transaction() as db:
            return tuple(_left(row) for row in db.execute(query).fetchall())


def _left(row: sqlite3.Row) -> LeftMigration:
    found = {field.name: row[field.name] for field in fields(LeftMigration)}
    more = {"snapshots": tuple(json.loads(row["snapshots"])), "trash": bool(row["trash"])}
    return LeftMigration(**found | more)
