"""The tables of evictions that are asked for, and of the sessions that were ended by them."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields

from .database import Database

_REMEMBERED = 7 * 86400
"""Seconds for which an ended session is told of, when nothing stands any more that ended it."""


@dataclass(frozen=True)
class Eviction:
    """What is asked for to end sessions that can meet one subtree.

    Args:
        fscid: the file system's number.
        path: of the subtree.
        inode: of its top directory: another subtree at its path is not meant.
        rung: "evict" or "fence"; "observe" while what it did is being taken back.
        grace: seconds that a session has after it was told of.
        most: how many sessions may be ended in all before somebody is asked.
        spared: the entities whose sessions are left alone.
        gateways: the entities of gateways whose sessions are ended, too.
        wanted: when it was asked for, in seconds since the epoch.
        complete: since when a fence is complete, in seconds since the epoch; 0: it is not.
        trouble: what is in the way; empty: nothing.
    """

    fscid: int
    path: str
    inode: int
    rung: str
    grace: int
    most: int
    spared: tuple[str, ...]
    gateways: tuple[str, ...]
    wanted: int
    complete: int = 0
    trouble: str = ""


@dataclass(frozen=True)
class Ended:
    """A session that was ended, or is just being ended; for two subtrees: once for each.

    Args:
        fscid: the file system's number.
        session: its number there.
        address: `ip:port/nonce`, which OSDs and MDSs refuse since.
        path: of the subtree that it was ended for.
        entity, host, software, root: see `control.clients.Client`.
        why: in one sentence.
        at: when, in seconds since the epoch.
        until: when the cluster's blocklist lets go of the address; 0: it is not on it.
        lifted: when it was taken from the blocklist on demand; 0: never.
    """

    fscid: int
    session: int
    address: str
    path: str
    entity: str
    host: str
    software: str
    root: str
    why: str
    at: int
    until: int = 0
    lifted: int = 0


_COLUMNS = ", ".join(field.name for field in fields(Eviction))
_PLACES = ", ".join("?" for _ in fields(Eviction))
_LISTS = ("spared", "gateways")
_ENDED = ", ".join(field.name for field in fields(Ended))
_ENDED_PLACES = ", ".join("?" for _ in fields(Ended))


class EvictionTable:
    """Evictions by file system and path, and the sessions that they ended. Each call is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, eviction: Eviction) -> None:
        """Record one, in place of the one with the same file system and path."""
        row = [
            json.dumps(getattr(eviction, field.name))
            if field.name in _LISTS
            else getattr(eviction, field.name)
            for field in fields(Eviction)
        ]
        with self._database.transaction() as db:
            db.execute(f"INSERT OR REPLACE INTO Eviction ({_COLUMNS}) VALUES ({_PLACES})", row)  # noqa: S608 - our own column names

    def remove(self, fscid: int, path: str) -> None:
        """Drop one; none is no error. The sessions that it ended are told of for a while."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM Eviction WHERE fscid = ? AND path = ?", (fscid, path))

    def at(self, fscid: int, path: str) -> Eviction | None:
        """Give the one of exactly this path."""
        query = f"SELECT {_COLUMNS} FROM Eviction WHERE fscid = ? AND path = ?"  # noqa: S608 - our own column names
        with self._database.transaction() as db:
            row = db.execute(query, (fscid, path)).fetchone()
        return None if row is None else _eviction(row)

    def all(self) -> tuple[Eviction, ...]:
        """Give all, in order of file system and path."""
        query = f"SELECT {_COLUMNS} FROM Eviction ORDER BY fscid, path"  # noqa: S608 - our own column names
        with self._database.transaction() as db:
            return tuple(map(_eviction, db.execute(query).fetchall()))

    def record(self, ended: Ended) -> None:
        """Record a session that is about to be ended, in place of what was known of it.

        Those of a week ago that are on no blocklist are forgotten.
        """
        with self._database.transaction() as db:
            db.execute(
                "DELETE FROM EndedSession WHERE at < ? AND until < ? AND NOT EXISTS (SELECT 1 FROM Eviction "
                "WHERE Eviction.fscid = EndedSession.fscid AND Eviction.path = EndedSession.path "
                "AND Eviction.wanted <= EndedSession.at)",
                (ended.at - _REMEMBERED, ended.at),
            )
            row = astuple(ended)
            db.execute(f"INSERT OR REPLACE INTO EndedSession ({_ENDED}) VALUES ({_ENDED_PLACES})", row)  # noqa: S608 - our own

    def hand_over(self, ended: Ended, path: str) -> None:
        """Have a session be one that was ended for the subtree of another path, and for this one no more."""
        this = (ended.fscid, ended.session, ended.address, ended.path)
        where = "WHERE fscid = ? AND session = ? AND address = ? AND path = ?"
        with self._database.transaction() as db:
            # where it was ended for that one as well, that stays as it was
            db.execute(f"UPDATE OR IGNORE EndedSession SET path = ? {where}", (path, *this))  # noqa: S608 - our own words
            db.execute(f"DELETE FROM EndedSession {where}", this)  # noqa: S608 - our own words

    def blocked(self, until: Mapping[str, int]) -> None:
        """Record for addresses of ended sessions until when they are on the blocklist."""
        with self._database.transaction() as db:
            db.executemany(
                "UPDATE EndedSession SET until = ? WHERE address = ?",
                [(date, address) for address, date in until.items()],
            )

    def lift(self, addresses: Iterable[str], date: int) -> None:
        """Record that addresses were taken from the blocklist."""
        with self._database.transaction() as db:
            db.executemany(
                "UPDATE EndedSession SET until = 0, lifted = ? WHERE address = ?",
                [(date, address) for address in addresses],
            )

    def ended(self) -> tuple[Ended, ...]:
        """Give all ended sessions that are told of, in the order in which they were ended."""
        query = f"SELECT {_ENDED} FROM EndedSession ORDER BY at, fscid, session"  # noqa: S608 - our own column names
        with self._database.transaction() as db:
            return tuple(Ended(*tuple(row)) for row in db.execute(query).fetchall())


def _eviction(row: sqlite3.Row) -> Eviction:
    found = {field.name: row[field.name] for field in fields(Eviction)}
    return Eviction(**found | {name: tuple(json.loads(found[name])) for name in _LISTS})
