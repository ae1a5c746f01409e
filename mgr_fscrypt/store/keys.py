"""The table of master keys that were reported."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, fields

from .database import Database
from .ordering import OWN, Order, Spot, page_of


@dataclass(frozen=True)
class Key:
    """One master key of one file system, as it was last reported. Times are seconds since the epoch, 0 for never.

    Args:
        fscid: the file system's number.
        identifier: 32 hexadecimal digits.
        name: what people call it.
        tenant: whose it is.
        state: "active", "disabled", "destroying" or "destroyed".
        generation: how often its lockbox was changed.
        created, expires, due, drill_due: see `messages.KeyFacts`.
        protectors: of each its name, kind, when it was made and when it was last seen to open.
        reported: when this was reported.
    """

    fscid: int
    identifier: str
    name: str
    tenant: str
    state: str
    generation: int
    created: int
    expires: int
    due: int
    drill_due: int
    protectors: tuple[tuple[str, str, int, int], ...]
    reported: int


_COLUMNS = ", ".join(field.name for field in fields(Key))
_PLACES = ", ".join("?" for _ in fields(Key))
ALL_KEYS: Mapping[str, str] = {}
_WANTED = {"tenant": "tenant = ?", "state": "state = ?", "text": "instr(name, ?)"}
_SORTED = {"name": "KeyByName", "expires": "KeyByExpiry"}
"""The index of each order."""


class KeyTable:
    """Keys by file system and identifier. Each call is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, key: Key) -> None:
        """Record a key, in place of what was known of it."""
        row = [getattr(key, field.name) for field in fields(Key)]
        row[10] = json.dumps(key.protectors)
        with self._database.transaction() as db:
            db.execute(f"INSERT OR REPLACE INTO Key ({_COLUMNS}) VALUES ({_PLACES})", row)  # noqa: S608 - our own column names

    def at(self, fscid: int, identifier: str) -> Key | None:
        """Give the key with this identifier."""
        return self._one("fscid = ? AND identifier = ?", (fscid, identifier))

    def named(self, fscid: int, name: str) -> Key | None:
        """Give the key with this name; one that is not destroyed, where there are several."""
        return self._one("fscid = ? AND name = ?", (fscid, name))

    def page(
        self,
        fscid: int | None,
        after: Spot | None,
        limit: int,
        wanted: Mapping[str, str] = ALL_KEYS,
        order: Order = OWN,
    ) -> tuple[Key, ...]:
        """Give up to ``limit`` keys past a line, named by identifiers.

        Args:
            fscid: only of this file system.
            after: where the page before ended.
            limit: at most so many.
            wanted: only those that are so, by the names of `_WANTED`.
            order: by identifiers, or by a column of `_SORTED`.
        """
        conditions = {_WANTED[name]: value for name, value in wanted.items()}
        # said, not left to SQLite: without statistics it would rather sort what a filter leaves than read in order
        index = f" INDEXED BY {_SORTED[order.column]}" if order.column else ""
        rows = page_of(
            self._database,
            f"SELECT {_COLUMNS} FROM Key{index}",  # noqa: S608 - our own
            conditions,
            name="identifier",
            fscid=fscid,
            after=after,
            order=order,
            limit=limit,
        )
        return tuple(map(_key, rows))

    def counts(self) -> Mapping[tuple[int, str], int]:
        """Count the keys by file system number and state."""
        # said, not left to SQLite: of each key this reads its place in the index alone
        query = "SELECT fscid, state, COUNT(*) AS n FROM Key INDEXED BY KeyByState GROUP BY fscid, state"
        with self._database.transaction() as db:
            rows = db.execute(query).fetchall()
        return {(row["fscid"], row["state"]): row["n"] for row in rows}

    def ages(self) -> Mapping[int, tuple[int, float]]:
        """When keys that are there were made, by file system number: the oldest one, and the mean."""
        query = (
            "SELECT fscid, MIN(created) AS oldest, AVG(created) AS mean FROM Key "
            "WHERE state IN ('active', 'disabled') GROUP BY fscid"
        )
        with self._database.transaction() as db:
            rows = db.execute(query).fetchall()
        return {row["fscid"]: (row["oldest"], row["mean"]) for row in rows}

    def due(self, expires: int, drill: int) -> tuple[Key, ...]:
        """Give the keys that are there and expire by the one time, or whose drill is due by the other."""
        condition = "(expires BETWEEN 1 AND ?) OR (drill_due BETWEEN 1 AND ?)"
        query = (
            f"SELECT {_COLUMNS} FROM Key WHERE state IN ('active', 'disabled') AND ({condition}) "  # noqa: S608 - our own
            "ORDER BY fscid, identifier"
        )
        with self._database.transaction() as db:
            rows = db.execute(query, (expires, drill)).fetchall()
        return tuple(_key(row) for row in rows)

    def _one(self, condition: str, values: tuple[int | str, ...]) -> Key | None:
        order = "state = 'destroyed', identifier"
        query = f"SELECT {_COLUMNS} FROM Key WHERE {condition} ORDER BY {order} LIMIT 1"  # noqa: S608 - our own conditions
        with self._database.transaction() as db:
            row = db.execute(query, values).fetchone()
        return None if row is None else _key(row)


def _key(row: sqlite3.Row) -> Key:
    found = {field.name: row[field.name] for field in fields(Key)}
    found["protectors"] = tuple(
        (name, kind, made, proven) for name, kind, made, proven in json.loads(row["protectors"])
    )
    return Key(**found)
