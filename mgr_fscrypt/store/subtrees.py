"""The table of registered subtrees."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields

from .database import Database
from .ordering import OWN, Order

LOOKED_THROUGH = 5_000
"""Rows that one page looks through for what no index knows: a text in a path, or a filter in another order."""


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


@dataclass(frozen=True)
class Wanted:
    """Which subtrees a list has; None: all.

    Args:
        mode: "engine" or "kernel".
        key_identifier: under this key.
        below: this directory or below it.
        text: has this in its path.
        key_name, tenant, state: under a key that was reported, and is called so, belongs to, is in this state.
    """

    mode: str | None = None
    key_identifier: str | None = None
    below: str | None = None
    text: str | None = None
    key_name: str | None = None
    tenant: str | None = None
    state: str | None = None

    def looked_through(self, order: Order) -> bool:
        """Is what is wanted told row by row, since no index that is in this order knows it?"""
        return self.text is not None or (bool(order.column) and self != ALL)

    @property
    def by_key(self) -> bool:
        """Whether the list is in order of keys, since only their table knows what is asked for."""
        return bool(self.of_key) and self.key_identifier is None

    @property
    def of_key(self) -> Mapping[str, str]:
        """What is asked of the key, by the column of its table."""
        said = {"name": self.key_name, "tenant": self.tenant, "state": self.state}
        return {column: value for column, value in said.items() if value is not None}


ALL = Wanted()


@dataclass(frozen=True)
class Place:
    """Where a list goes on: after this file system, key (in a list by key), time (in one by times) and path.

    Without a path it is the begin of the file system, in either direction.
    """

    fscid: int = 0
    path: str = ""
    key_identifier: str = ""
    registered: int = 0


@dataclass(frozen=True)
class Found:
    """A part of a list, and where it goes on; None at its end."""

    subtrees: tuple[Subtree, ...]
    following: Place | None


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
        around = [root]
        while around[-1] != "/":
            around.append(around[-1].rpartition("/")[0] or "/")
        ungated = (
            "NOT EXISTS (SELECT 1 FROM Gate WHERE Gate.fscid = Subtree.fscid AND Gate.path = Subtree.path) "
            "ORDER BY path LIMIT 1"
        )
        # said, not left to SQLite: by the primary key alone it would read all of another mode
        below = (
            f"SELECT {_COLUMNS} FROM Subtree INDEXED BY SubtreeByMode "  # noqa: S608 - our own words
            f"WHERE fscid = ? AND mode = ? AND path > ? AND path < ? AND {ungated}"
        )
        places = ", ".join("?" for _ in around)
        above = (
            f"SELECT {_COLUMNS} FROM Subtree NOT INDEXED "  # noqa: S608 - our own words
            f"WHERE fscid = ? AND mode = ? AND path IN ({places}) AND {ungated}"
        )
        with self._database.transaction() as db:
            row = (
                db.execute(above, (fscid, mode, *around)).fetchone()
                or db.execute(below, (fscid, mode, prefix, prefix[:-1] + "0")).fetchone()
            )
        return None if row is None else _subtree(row)

    def page(
        self, fscid: int | None, after: Place, limit: int, wanted: Wanted = ALL, order: Order = OWN
    ) -> Found:
        """Give up to ``limit`` subtrees past a place, in order of file system and path.

        A list by key is in order of file system, key and path. One that is `looked_through` may go on though it is not
        full: by `LOOKED_THROUGH` rows at a time.

        Args:
            fscid: only of this file system.
            after: the begin, or where the page before ended.
            limit: at most so many.
            wanted: only these.
            order: by paths, or by `registered`.
        """
        most = LOOKED_THROUGH if wanted.looked_through(order) else limit + 1
        shown: list[Subtree] = []
        last = after
        with self._database.transaction() as db:
            for looked, row in enumerate(_rows(db, fscid, after, most, wanted, order), 1):
                if row["fits"]:
                    if len(shown) == limit:
                        return Found(tuple(shown), last)
                    shown.append(_subtree(row))
                last = _place(row, wanted, order)
                if looked == most:
                    return Found(tuple(shown), last)
        return Found(tuple(shown), None)

    def counts(self) -> Mapping[tuple[int, str], int]:
        """Count the subtrees by file system number and mode."""
        with self._database.transaction() as db:
            rows = db.execute("SELECT fscid, mode, n FROM SubtreeCount").fetchall()
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


def _place(row: sqlite3.Row, wanted: Wanted, order: Order) -> Place:
    if order.column:
        return Place(row["fscid"], row["path"], registered=row["registered"])
    return Place(row["fscid"], row["path"], row["key_identifier"] if wanted.by_key else "")


def _rows(
    db: sqlite3.Connection, fscid: int | None, after: Place, most: int, wanted: Wanted, order: Order
) -> Iterator[sqlite3.Row]:
    """What is wanted past a place, in order, up to `most` of each file system, fetched as it is asked for."""
    counted = db.execute("SELECT DISTINCT fscid FROM SubtreeCount ORDER BY fscid").fetchall()
    numbers = [row["fscid"] for row in counted if fscid in (None, row["fscid"])]
    for each in reversed(numbers) if order.reverse else numbers:
        passed = each > after.fscid if order.reverse else each < after.fscid
        if passed and after.fscid:
            continue
        start = after if each == after.fscid else Place(each)
        for query, values in _queries(db, start, wanted, order):
            yield from db.execute(f"{query} LIMIT ?", (*values, most))


Question = tuple[str, tuple[int | str, ...]]
Condition = tuple[str, tuple[str | int, ...]]


def _queries(db: sqlite3.Connection, start: Place, wanted: Wanted, order: Order) -> Iterator[Question]:
    """The questions that, one after the other, give what is wanted of one file system in order.

    Each is answered from an index alone, without sorting: qa/unit/store/test_pages.py looks at SQLite's plans.
    """
    if order.column:
        yield _by_time(start, wanted, order)
        return
    said = {"s.mode": wanted.mode, "s.key_identifier": wanted.key_identifier}
    if wanted.by_key:
        said |= {f"k.{column}": value for column, value in wanted.of_key.items()}
    elif not _is_such_a_key(db, start.fscid, wanted):
        return
    conditions: list[Condition] = [
        (f"{column} = ?", (value,)) for column, value in said.items() if value is not None
    ]
    low, high = "", ""
    if wanted.below not in (None, "/"):
        low, high = _below(db, start.fscid, str(wanted.below))
        if not high:
            conditions.append(("s.path = ?", (str(wanted.below),)))
    fits: list[Condition] = [] if wanted.text is None else [("instr(s.path, ?)", (wanted.text,))]
    # said, not left to SQLite: without statistics it takes an index that fits the order, and reads all of it
    rows = f"Subtree s INDEXED BY {index}" if (index := _index(wanted)) else "Subtree s NOT INDEXED"
    if not wanted.by_key:
        conditions += _between(low, high, start.path, order)
        yield _query(rows, "s.fscid", start.fscid, conditions, fits, ("s.path",), order)
        return
    source = f"Key k CROSS JOIN {rows} ON s.fscid = k.fscid AND s.key_identifier = k.identifier"
    past: Condition = (f"k.identifier {order.sign} ?", (start.key_identifier,))
    steps: list[list[Condition]] = [[past, *_between(low, high, "", order)]]
    if start.key_identifier:
        steps.insert(
            0, [("k.identifier = ?", (start.key_identifier,)), *_between(low, high, start.path, order)]
        )
    elif order.reverse:
        # from the last one on
        steps = [_between(low, high, "", order)]
    for step in steps:
        ranked = ("k.identifier", "s.path")
        yield _query(source, "k.fscid", start.fscid, [*conditions, *step], fits, ranked, order)


def _by_time(start: Place, wanted: Wanted, order: Order) -> Question:
    """In order of the times at which they were registered; what fits is told of each row."""
    said = {"s.mode": wanted.mode, "s.key_identifier": wanted.key_identifier}
    said |= {f"k.{column}": value for column, value in wanted.of_key.items()}
    # what is not known of a key fits nothing
    fits: list[Condition] = [
        (f"IFNULL({column} = ?, 0)", (value,)) for column, value in said.items() if value is not None
    ]
    if wanted.text is not None:
        fits.append(("instr(s.path, ?)", (wanted.text,)))
    if wanted.below not in (None, "/"):
        below = str(wanted.below)
        # "0" is the character after "/"
        fits.append(("(s.path || '/') >= ? AND (s.path || '/') < ?", (f"{below}/", f"{below}0")))
    source = "Subtree s INDEXED BY SubtreeByTime"
    if wanted.of_key:
        source += " LEFT JOIN Key k ON k.fscid = s.fscid AND k.identifier = s.key_identifier"
    conditions: list[Condition] = []
    if start.path:
        conditions.append((f"(s.registered, s.path) {order.sign} (?, ?)", (start.registered, start.path)))
    return _query(source, "s.fscid", start.fscid, conditions, fits, ("s.registered", "s.path"), order)


def _between(low: str, high: str, start: str, order: Order) -> list[Condition]:
    """What lies between two paths, and past the one that the page before ended with."""
    if order.reverse:
        high = min(filter(None, (high, start)), default="")
    else:
        low = max(low, start)
    return [("s.path > ?", (low,)), *[("s.path < ?", (high,))] * bool(high)]


def _index(wanted: Wanted) -> str:
    """The index that has what is wanted together, in order of paths; empty: the primary key has."""
    under_key = wanted.by_key or wanted.key_identifier is not None
    if wanted.mode is None:
        return "SubtreeByKey" if under_key else ""
    return "SubtreeByKeyAndMode" if under_key else "SubtreeByMode"


def _query(
    source: str,
    column: str,
    fscid: int,
    conditions: Sequence[Condition],
    fits: Sequence[Condition],
    ranked: Sequence[str],
    order: Order,
) -> Question:
    columns = ", ".join(f"s.{field.name}" for field in fields(Subtree))
    fitting = " AND ".join(words for words, _ in fits) or "1"
    words = " AND ".join([f"{column} = ?", *(condition for condition, _ in conditions)])
    sorted_by = ", ".join(f"{each} DESC" if order.reverse else each for each in ranked)
    return (
        f"SELECT {columns}, ({fitting}) AS fits FROM {source} WHERE {words} ORDER BY {sorted_by}",  # noqa: S608 - all of it is our own
        (*_values(fits), fscid, *_values(conditions)),
    )


def _values(conditions: Sequence[Condition]) -> Iterator[str | int]:
    for _, values in conditions:
        yield from values


def _is_such_a_key(db: sqlite3.Connection, fscid: int, wanted: Wanted) -> bool:
    """Whether the one key that is wanted is as it is wanted; if nothing is asked of it, it is."""
    said = {"fscid": fscid, "identifier": wanted.key_identifier, **wanted.of_key}
    words = " AND ".join(f"{column} = ?" for column in said)
    found = db.execute(f"SELECT 1 FROM Key WHERE {words}", tuple(said.values()))  # noqa: S608 - our own columns
    return not wanted.of_key or found.fetchone() is not None


def _below(db: sqlite3.Connection, fscid: int, path: str) -> tuple[str, str]:
    """For a directory and what is below it: what lies before and behind it all; nothing behind: only itself.

    Subtrees do not nest: where one is at the path itself, there is no other one.
    """
    if db.execute("SELECT 1 FROM Subtree WHERE fscid = ? AND path = ?", (fscid, path)).fetchone():
        return "", ""
    # "0" is the character after "/"
    return path + "/", path + "0"
