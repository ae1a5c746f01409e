"""Lists in the order that was asked for: each page begins right behind the one before, whatever was added meanwhile."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .database import Database
from .schema import EXPIRY, NEVER


@dataclass(frozen=True)
class Order:
    """How a list is sorted: by file systems, within one by a column, and lines with the same by their names.

    Args:
        column: of the list's table; empty: by names alone.
        reverse: backwards, file systems too.
    """

    column: str = ""
    reverse: bool = False

    @property
    def sign(self) -> str:
        """How what follows compares to what is before it, in SQL."""
        return "<" if self.reverse else ">"


OWN = Order()
"""The order that a list has by itself."""


@dataclass(frozen=True)
class Spot:
    """The line that a page ended with. What is found by it is what follows in the order.

    Args:
        fscid: its file system; 0 in lists without.
        name: what names it there.
        value: what it has in the column of the order; None where that is by names alone.
    """

    fscid: int
    name: str
    value: int | str | None = None


def ranks(order: Order, name: str) -> tuple[str, ...]:
    """What makes the order of one file system's lines, as SQL; `name` is the column that names a line."""
    column = EXPIRY if order.column == "expires" else order.column
    return (column, name) if column else (name,)


def rank_values(order: Order, spot: Spot) -> tuple[int | str, ...]:
    """The values of a line for `ranks`."""
    if not order.column:
        return (spot.name,)
    value = "" if spot.value is None else spot.value
    return (NEVER if order.column == "expires" and not value else value, spot.name)


def question(
    source: str,
    conditions: Mapping[str, int | str],
    *,
    name: str,
    after: Spot | None,
    order: Order,
    limit: int,
    by_file_system: bool = True,
) -> tuple[str, tuple[int | str, ...]]:
    """The question that gives a page, and its values.

    Args:
        source: `SELECT ... FROM ...`.
        conditions: each with one place for its value.
        name: the column that names a line.
        after: where the page before ended; None: from the begin.
        order: of the list.
        limit: at most so many.
        by_file_system: the table has a column `fscid`, which comes first.
    """
    sorted_by = ranks(order, name)
    if by_file_system and "fscid = ?" not in conditions:
        sorted_by = ("fscid", *sorted_by)
    words, values = list(conditions), list(conditions.values())
    if after is not None:
        words.append(f"({', '.join(sorted_by)}) {order.sign} ({', '.join('?' for _ in sorted_by)})")
        values += (after.fscid, *rank_values(order, after))[-len(sorted_by) :]
    way = " DESC" if order.reverse else ""
    return (
        f"{source} WHERE {' AND '.join(words) or '1'} ORDER BY {', '.join(each + way for each in sorted_by)} LIMIT ?",
        (*values, limit),
    )


def page_of(
    database: Database,
    source: str,
    conditions: Mapping[str, int | str],
    *,
    name: str,
    fscid: int | None,
    after: Spot | None,
    order: Order,
    limit: int,
) -> Sequence[sqlite3.Row]:
    """Give a page of a table with a column `fscid`, in one transaction: of one file system, or for None of all.

    Other arguments as `question`.
    """
    after, left = _within(fscid, after, order)
    if not left:
        return ()
    own = {} if fscid is None else {"fscid = ?": fscid}
    query, values = question(source, {**conditions, **own}, name=name, after=after, order=order, limit=limit)
    with database.transaction() as db:
        return db.execute(query, values).fetchall()


def _within(fscid: int | None, after: Spot | None, order: Order) -> tuple[Spot | None, bool]:
    """Where a list of one file system goes on: past its own lines only; and whether there is any of it left.

    Args:
        fscid: the one; None: all.
        after: where the page before ended, which may have been on another one.
        order: of the list.
    """
    if fscid is None or after is None or after.fscid == fscid:
        return after, True
    over = after.fscid < fscid if order.reverse else after.fscid > fscid
    return None, not over
