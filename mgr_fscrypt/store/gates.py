"""The tables of gates, and of the caps that gates changed."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace

from .database import Database

_REMEMBERED = 20
"""Changes of one entity's caps: whoever connected before all of them is taken to have the original ones."""


@dataclass(frozen=True)
class Gate:
    """What is asked for to keep clients out of one subtree.

    Args:
        fscid: the file system's number.
        path: of the subtree; `/` for the whole file system.
        rung: "observe" while what it did is being taken back, "require", "isolate" or "exclude".
        namespace: the RADOS namespace of the subtree's files.
        admitted: the entities that are let in.
        kept: namespaces that others keep.
        open_paths: directories that others keep.
        wanted: when it was asked for, in seconds since the epoch.
        applied: when all of it had been done; 0: not yet.
        trouble: why not; empty where nothing is in the way.
    """

    fscid: int
    path: str
    rung: str
    namespace: str
    admitted: tuple[str, ...]
    kept: tuple[str, ...]
    open_paths: tuple[str, ...]
    wanted: int
    applied: int = 0
    trouble: str = ""


@dataclass(frozen=True)
class GatedCaps:
    """The caps of one entity, by service, which gates changed.

    Args:
        entity: whose they are.
        original: as they were without any gate.
        history: what gates made of them, each with the time at which all who connect have it, in seconds since the
            epoch; at least one, the last one last.
    """

    entity: str
    original: Mapping[str, str]
    history: tuple[tuple[float, Mapping[str, str]], ...]

    @property
    def after(self) -> Mapping[str, str]:
        """As the last change leaves them."""
        return self.history[-1][1]

    def at(self, date: float) -> Mapping[str, str]:
        """As they were for who connected then."""
        return next((caps for changed, caps in reversed(self.history) if changed <= date), self.original)

    def then(self, date: float, caps: Mapping[str, str]) -> "GatedCaps":
        """With one change more, or the last one with another time."""
        known = self.history[:-1] if dict(self.after) == dict(caps) else self.history
        return replace(self, history=(*known, (date, dict(caps)))[-_REMEMBERED:])


_COLUMNS = ", ".join(field.name for field in fields(Gate))
_PLACES = ", ".join("?" for _ in fields(Gate))
_LISTS = ("admitted", "kept", "open_paths")


class GateTable:
    """Gates by file system and path. Each call is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, gate: Gate) -> None:
        """Record a gate, in place of the one with the same file system and path."""
        row = [
            json.dumps(getattr(gate, field.name)) if field.name in _LISTS else getattr(gate, field.name)
            for field in fields(Gate)
        ]
        with self._database.transaction() as db:
            db.execute(f"INSERT OR REPLACE INTO Gate ({_COLUMNS}) VALUES ({_PLACES})", row)  # noqa: S608 - our own column names

    def remove(self, fscid: int, path: str) -> None:
        """Drop a gate; none is no error."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM Gate WHERE fscid = ? AND path = ?", (fscid, path))

    def at(self, fscid: int, path: str) -> Gate | None:
        """Give the gate of exactly this path."""
        query = f"SELECT {_COLUMNS} FROM Gate WHERE fscid = ? AND path = ?"  # noqa: S608 - our own column names
        with self._database.transaction() as db:
            row = db.execute(query, (fscid, path)).fetchone()
        return None if row is None else _gate(row)

    def all(self) -> tuple[Gate, ...]:
        """Give all gates, in order of file system and path."""
        with self._database.transaction() as db:
            rows = db.execute(f"SELECT {_COLUMNS} FROM Gate ORDER BY fscid, path").fetchall()  # noqa: S608 - our own
        return tuple(_gate(row) for row in rows)

    def record(self, changes: Iterable[GatedCaps]) -> None:
        """Record what is being changed, in place of what was known of those entities."""
        rows = [(each.entity, json.dumps(dict(each.original)), json.dumps(each.history)) for each in changes]
        with self._database.transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO GatedCaps (entity, original, history) VALUES (?, ?, ?)", rows
            )

    def forget(self, entities: Iterable[str]) -> None:
        """Drop what is known of entities that have their original caps again, or are gone."""
        with self._database.transaction() as db:
            db.executemany("DELETE FROM GatedCaps WHERE entity = ?", [(each,) for each in entities])

    def changed(self) -> tuple[GatedCaps, ...]:
        """Give all caps that gates changed, in order of the entities' names."""
        with self._database.transaction() as db:
            rows = db.execute("SELECT entity, original, history FROM GatedCaps ORDER BY entity").fetchall()
        return tuple(
            GatedCaps(
                row["entity"],
                json.loads(row["original"]),
                tuple((changed, caps) for changed, caps in json.loads(row["history"])),
            )
            for row in rows
        )


def _gate(row: sqlite3.Row) -> Gate:
    found = {field.name: row[field.name] for field in fields(Gate)}
    return Gate(**found | {name: tuple(json.loads(found[name])) for name in _LISTS})
