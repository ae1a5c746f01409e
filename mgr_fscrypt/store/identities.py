"""The table of those who may use the API, and of what they prove it by."""

import sqlite3
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, fields

from .database import Database
from .ordering import OWN, Order, Spot, question


@dataclass(frozen=True)
class Identity:
    """Somebody, or some program, who may use the API. Times are seconds since the epoch.

    Args:
        name: as lists and the audit have it.
        kind: what is proven: "token", "certificate" or "dashboard".
        proof: of a token its SHA-256 in hexadecimal; a certificate's subject; the name of a user of Ceph's dashboard.
        role: what they may do.
        tenant: whose things alone; empty: all.
        created: when they were let in.
        expires: from when on they are not any more; 0: never.
        used: when they were last met; 0: never. Whoever was met is nobody else by that.
        created_by: names of who let them in, of who let that one in, and so on, with blanks between; empty: it was done
            at the command line.
    """

    name: str
    kind: str
    proof: str
    role: str
    tenant: str
    created: int
    expires: int
    used: int = field(default=0, compare=False)
    created_by: str = ""


_COLUMNS = ", ".join(field.name for field in fields(Identity))
_PLACES = ", ".join("?" for _ in fields(Identity))
EVERYBODY: Mapping[str, str] = {}
_WANTED = {"role": "role = ?", "kind": "kind = ?", "tenant": "tenant = ?"}


class IdentityTable:
    """Identities by name. Each call is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, identity: Identity) -> bool:
        """Record somebody new; False: the name or the proof is another's."""
        with self._database.transaction() as db:
            done = db.execute(
                f"INSERT OR IGNORE INTO Identity ({_COLUMNS}) VALUES ({_PLACES})",  # noqa: S608 - our own column names
                astuple(identity),
            )
            return done.rowcount == 1

    def drop(self, name: str) -> bool:
        """Forget somebody; False: there is nobody of that name."""
        with self._database.transaction() as db:
            return db.execute("DELETE FROM Identity WHERE name = ?", (name,)).rowcount == 1

    def met(self, name: str, at: int) -> None:
        """Note when somebody was last met."""
        with self._database.transaction() as db:
            db.execute("UPDATE Identity SET used = max(used, ?) WHERE name = ?", (at, name))

    def page(
        self,
        after: Spot | None,
        limit: int,
        wanted: Mapping[str, str] = EVERYBODY,
        order: Order = OWN,
    ) -> tuple[Identity, ...]:
        """Give up to ``limit`` identities past a line. See `KeyTable.page`; by any column of times."""
        query, values = question(
            f"SELECT {_COLUMNS} FROM Identity",  # noqa: S608 - our own
            {_WANTED[name]: value for name, value in wanted.items()},
            name="name",
            after=after,
            order=order,
            limit=limit,
            by_file_system=False,
        )
        with self._database.transaction() as db:
            return tuple(map(_identity, db.execute(query, values).fetchall()))

    def proven(self, kind: str, proof: str) -> Identity | None:
        """Give the one whom something proves."""
        query = f"SELECT {_COLUMNS} FROM Identity WHERE kind = ? AND proof = ?"  # noqa: S608 - our own
        with self._database.transaction() as db:
            row = db.execute(query, (kind, proof)).fetchone()
        return None if row is None else _identity(row)


def _identity(row: sqlite3.Row) -> Identity:
    return Identity(*(row[field.name] for field in fields(Identity)))
