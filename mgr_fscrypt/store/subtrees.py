"""The table of registered subtrees."""

import sqlite3
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields

from .database import Database


@dataclass(frozen=True)
class Subtree:
    """One registered subtree.

    Args:
        fscid: the file system's number, which survives a rename of the file system.
        path: absolute path of the top directory.
        fs_name: the file system's name when the subtree was registered.
        inode: inode number of the top directory.
        mode: "engine" or "kernel".
        contents: name of the contents mode.
        names: name of the file names mode.
        padding: of names, in bytes.
        key_identifier: 32 hexadecimal digits.
        registered: when, in seconds since the epoch.
    """

    fscid: int
    path: str
    fs_name: str
    inode: int
    mode: str
    contents: str
    names: str
    padding: int
    key_identifier: str
    registered: int


_COLUMNS = ", ".join(field.name for field in fields(Subtree))
_PLACES = ", ".join("?" for _ in fields(Subtree))


class SubtreeTable:
    """Registered subtrees by file system and path. Each call is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, subtree: Subtree) -> None:
        """Record a subtree, in place of the one with the same file system and path.

        Raises:
            sqlite3.IntegrityError: its inode is registered under another path.
        """
        with self._database.transaction() as db:
            db.execute("DELETE FROM Subtree WHERE fscid = ? AND path = ?", (subtree.fscid, subtree.path))
            db.execute(f"INSERT INTO Subtree ({_COLUMNS}) VALUES ({_PLACES})", astuple(subtree))  # noqa: S608 - our own column names

    def remove(self, fscid: int, path: str) -> None:
        """Drop the record of a subtree; none is no error."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM Subtree WHERE fscid = ? AND path = ?", (fscid, path))

    def at(self, fscid: int, path: str) -> Subtree | None:
        """Give the subtree with exactly this path."""
        return self._one("fscid = ? AND path = ?", (fscid, path))

    def with_inode(self, fscid: int, inode: int) -> Subtree | None:
        """Give the subtree whose top directory has this inode number."""
        return self._one("fscid = ? AND inode = ?", (fscid, inode))

    def first_below(self, fscid: int, path: str) -> Subtree | None:
        """Give some subtree that lies below a path."""
        prefix = path.rstrip("/") + "/"
        # "0" is the character after "/": the range holds what begins with the prefix, and uses the key
        return self._one("fscid = ? AND path > ? AND path < ?", (fscid, prefix, prefix[:-1] + "0"))

    def met_from(self, fscid: int, root: str, mode: str) -> Subtree | None:
        """Give some subtree of this mode without a gate of its own that lies at a directory, below it, or around it."""
        prefix = root.rstrip("/") + "/"
        ungated = (
            "mode = ? AND NOT EXISTS "
            "(SELECT 1 FROM Gate WHERE Gate.fscid = Subtree.fscid AND Gate.path = Subtree.path)"
        )
        below = f"fscid = ? AND path > ? AND path < ? AND {ungated}"
        found = self._one(below, (fscid, prefix, prefix[:-1] + "0", mode))
        # the directory itself and those above it: few, each found by the primary key
        while found is None:
            found = self._one(f"fscid = ? AND path = ? AND {ungated}", (fscid, root, mode))
            if root == "/":
                break
            root = root.rpartition("/")[0] or "/"
        return found

    def page(self, fscid: int | None, after: tuple[int, str], limit: int) -> tuple[Subtree, ...]:
        """Give up to ``limit`` subtrees in order of file system and path, past the one named by ``after``."""
        condition, values = "(fscid, path) > (?, ?)", after
        if fscid is not None:
            # said so, SQLite finds the place in the primary key; with the pair it reads the file system's rows
            condition, values = "fscid = ? AND path > ?", (fscid, after[1] if after[0] == fscid else "")
            if after[0] > fscid:
                return ()
        query = f"SELECT {_COLUMNS} FROM Subtree WHERE {condition} ORDER BY fscid, path LIMIT ?"  # noqa: S608 - our own
        with self._database.transaction() as db:
            rows = db.execute(query, (*values, limit)).fetchall()
        return tuple(_subtree(row) for row in rows)

    def counts(self) -> Mapping[tuple[int, str], int]:
        """Count the subtrees by file system number and mode."""
        with self._database.transaction() as db:
            rows = db.execute(
                "SELECT fscid, mode, COUNT(*) AS n FROM Subtree GROUP BY fscid, mode"
            ).fetchall()
        return {(row["fscid"], row["mode"]): row["n"] for row in rows}

    def name_last_seen(self, fs_name: str) -> int | None:
        """Give the number of a file system that had this name when one of its subtrees was registered."""
        found = self._one("fs_name = ?", (fs_name,))
        return found.fscid if found else None

    def _one(self, condition: str, values: tuple[int | str, ...]) -> Subtree | None:
        query = f"SELECT {_COLUMNS} FROM Subtree WHERE {condition} ORDER BY fscid, path LIMIT 1"  # noqa: S608 - our own conditions
        with self._database.transaction() as db:
            row = db.execute(query, values).fetchone()
        return None if row is None else _subtree(row)


def _subtree(row: sqlite3.Row) -> Subtree:
    return Subtree(**{field.name: row[field.name] for field in fields(Subtree)})
