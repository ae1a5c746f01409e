"""The table of tenants' keys that were reported."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from .database import Database
from .ordering import OWN, Order, Spot, page_of


@dataclass(frozen=True)
class Tenant:
    """The key of one tenant on one file system, as it was last reported. Times are seconds since the epoch.

    Args:
        fscid: the file system's number.
        tenant: whose it is.
        version, rotated, rotate_every, managers, others: see `messages.TenantFacts`.
        reported: when this was reported.
    """

    fscid: int
    tenant: str
    version: int
    rotated: int
    rotate_every: int
    managers: tuple[str, ...]
    others: tuple[str, ...]
    reported: int


_COLUMNS = ", ".join(field.name for field in fields(Tenant))
_PLACES = ", ".join("?" for _ in fields(Tenant))
_LISTS = ("managers", "others")
ALL_TENANTS: Mapping[str, str] = {}
# a list of names as JSON has each of them in quotes, and no other quotes
_WANTED = {"tenant": "tenant = ?", "kms": "instr(managers, ?)", "text": "instr(tenant, ?)"}


class TenantTable:
    """Tenants by file system and name. Each call is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, tenants: Iterable[Tenant]) -> None:
        """Record tenants, each in place of what was known of it."""
        rows = [
            [json.dumps(each) if isinstance(each, tuple) else each for each in vars(tenant).values()]
            for tenant in tenants
        ]
        with self._database.transaction() as db:
            db.executemany(f"INSERT OR REPLACE INTO Tenant ({_COLUMNS}) VALUES ({_PLACES})", rows)  # noqa: S608 - our own column names

    def at(self, fscid: int, tenant: str) -> Tenant | None:
        """Give one."""
        found = self._where("fscid = ? AND tenant = ?", (fscid, tenant))
        return found[0] if found else None

    def page(
        self,
        fscid: int | None,
        after: Spot | None,
        limit: int,
        wanted: Mapping[str, str] = ALL_TENANTS,
        order: Order = OWN,
    ) -> tuple[Tenant, ...]:
        """Give up to ``limit`` tenants past a line, named by themselves. See `KeyTable.page`; by `rotated`, too."""
        conditions = {
            _WANTED[name]: json.dumps(value) if name == "kms" else value for name, value in wanted.items()
        }
        rows = page_of(
            self._database,
            f"SELECT {_COLUMNS} FROM Tenant",  # noqa: S608 - our own
            conditions,
            name="tenant",
            fscid=fscid,
            after=after,
            order=order,
            limit=limit,
        )
        return tuple(map(_tenant, rows))

    def due(self, by: int) -> tuple[Tenant, ...]:
        """Give those whose key was to be rotated by that time."""
        return self._where("rotate_every > 0 AND rotated + rotate_every <= ?", (by,))

    def _where(self, condition: str, values: tuple[int | str, ...]) -> tuple[Tenant, ...]:
        query = f"SELECT {_COLUMNS} FROM Tenant WHERE {condition} ORDER BY fscid, tenant"  # noqa: S608 - our own conditions
        with self._database.transaction() as db:
            rows = db.execute(query, values).fetchall()
        return tuple(_tenant(row) for row in rows)


def _tenant(row: sqlite3.Row) -> Tenant:
    found = {field.name: row[field.name] for field in fields(Tenant)}
    return Tenant(**found | {name: tuple(json.loads(row[name])) for name in _LISTS})
