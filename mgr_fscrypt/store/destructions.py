"""The table of keys whose end one person asked for, and another one has to approve."""

import sqlite3
from dataclasses import astuple, dataclass, fields

from .database import Database
from .ordering import OWN, Order, Spot, page_of


@dataclass(frozen=True)
class Destruction:
    """The wish that a key be destroyed. Times are seconds since the epoch.

    Args:
        fscid: the file system's number.
        key_identifier: which key.
        requested_by: name of the identity that asked for it.
        requested: when.
        approved_by: name of the other one; empty: nobody yet.
        approved: when; 0: not yet.
        behind: names of who asked, and of those who let them in, with blanks between: as it was then.
    """

    fscid: int
    key_identifier: str
    requested_by: str
    requested: int
    approved_by: str = ""
    approved: int = 0
    behind: str = ""


_COLUMNS = ", ".join(field.name for field in fields(Destruction))
_PLACES = ", ".join("?" for _ in fields(Destruction))


class DestructionTable:
    """Wishes by file system and key. Each call is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, wish: Destruction) -> None:
        """Record a wish in place of what there was."""
        with self._database.transaction() as db:
            db.execute(f"INSERT OR REPLACE INTO Destruction ({_COLUMNS}) VALUES ({_PLACES})", astuple(wish))  # noqa: S608 - our own column names

    def drop(self, fscid: int, key_identifier: str) -> bool:
        """Forget a wish; False: there is none."""
        with self._database.transaction() as db:
            done = db.execute(
                "DELETE FROM Destruction WHERE fscid = ? AND key_identifier = ?", (fscid, key_identifier)
            )
            return done.rowcount == 1

    def at(self, fscid: int, key_identifier: str) -> Destruction | None:
        """Give the wish about a key."""
        query = f"SELECT {_COLUMNS} FROM Destruction WHERE fscid = ? AND key_identifier = ?"  # noqa: S608 - our own
        with self._database.transaction() as db:
            row = db.execute(query, (fscid, key_identifier)).fetchone()
        return None if row is None else _wish(row)

    def page(
        self,
        fscid: int | None,
        after: Spot | None,
        limit: int,
        approved: bool | None = None,
        order: Order = OWN,
    ) -> tuple[Destruction, ...]:
        """Give up to ``limit`` wishes past a line, named by keys. See `KeyTable.page`; by `requested`, too.

        Args:
            approved: only those that are, or are not.
        """
        rows = page_of(
            self._database,
            f"SELECT {_COLUMNS} FROM Destruction",  # noqa: S608 - our own
            {} if approved is None else {"(approved > 0) = ?": approved},
            name="key_identifier",
            fscid=fscid,
            after=after,
            order=order,
            limit=limit,
        )
        return tuple(map(_wish, rows))


def _wish(row: sqlite3.Row) -> Destruction:
    return Destruction(*(row[field.name] for field in fields(Destruction)))
