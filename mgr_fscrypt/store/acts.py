"""The table of acts: what was done through the manager, each record chained to the one before it."""

import hashlib
import json
import sqlite3
from contextlib import AbstractContextManager
from dataclasses import astuple, dataclass, fields

from .database import Joined

FIRST = "0" * 64
"""What the first record has in place of a digest."""


@dataclass(frozen=True)
class Act:
    """One act.

    Args:
        number: from 1 on, without a gap.
        at: seconds since the epoch.
        who: as far as the manager knows; "cli" for `ceph`, which does not say (doc/facts.md M12).
        manager: the daemon that did it.
        command: noun and verb.
        about: what it was about, as words of a shell.
        code: 0, or the errno of a refusal.
        result: the status line that was answered.
        previous: digest of the record before.
    """

    number: int
    at: int
    who: str
    manager: str
    command: str
    about: str
    code: int
    result: str
    previous: str

    @property
    def digest(self) -> str:
        """SHA-256 over all of the record, as 64 hexadecimal digits."""
        # values only, in this order: written down in doc/manager.md
        text = json.dumps(astuple(self), ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Kept:
    """A record as it lies in the table, with the digest that it had when it was made."""

    act: Act
    digest: str


_COLUMNS = ", ".join(field.name for field in fields(Act))
_PLACES = ", ".join("?" for _ in fields(Act))


class ActTable:
    """Acts by number. What is done inside of `whole` is one transaction with its record."""

    def __init__(self, database: Joined) -> None:
        self._database = database

    def whole(self) -> AbstractContextManager[None]:
        """One transaction for all that is done inside."""
        return self._database.whole()

    def append(
        self, *, at: int, who: str, manager: str, command: str, about: str, code: int, result: str
    ) -> Kept:
        """Add a record to the end of the chain; arguments as in `Act`."""
        with self._database.transaction() as db:
            last = db.execute("SELECT number, digest FROM Act ORDER BY number DESC LIMIT 1").fetchone()
            number, previous = (0, FIRST) if last is None else (last["number"], last["digest"])
            act = Act(number + 1, at, who, manager, command, about, code, result, previous)
            db.execute(
                f"INSERT INTO Act ({_COLUMNS}, digest) VALUES ({_PLACES}, ?)",  # noqa: S608 - our own column names
                (*astuple(act), act.digest),
            )
        return Kept(act, act.digest)

    def newest(self, before: int | None, limit: int) -> tuple[Kept, ...]:
        """Give up to ``limit`` records, newest first: those with smaller numbers than ``before``."""
        condition = "1" if before is None else "number < ?"
        return self._rows(condition, "DESC", () if before is None else (before,), limit)

    def oldest(self, start: int, limit: int) -> tuple[Kept, ...]:
        """Give up to ``limit`` records, oldest first, from the number ``start`` on."""
        return self._rows("number >= ?", "ASC", (start,), limit)

    def _rows(self, condition: str, order: str, values: tuple[int, ...], limit: int) -> tuple[Kept, ...]:
        query = f"SELECT {_COLUMNS}, digest FROM Act WHERE {condition} ORDER BY number {order} LIMIT ?"  # noqa: S608 - our own
        with self._database.transaction() as db:
            rows = db.execute(query, (*values, limit)).fetchall()
        return tuple(map(_kept, rows))


def _kept(row: sqlite3.Row) -> Kept:
    return Kept(Act(*(row[field.name] for field in fields(Act))), row["digest"])
