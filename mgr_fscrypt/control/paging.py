"""Lists in pages, and their orders: where one goes on is a file system's number and a name after it."""

import errno
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar
from urllib.parse import quote, unquote

from ..store import OWN, Order, Spot
from .refusal import RefusalError
from .text import is_unicode, shell_word

PAGE = 1000
"""Lines on a page when no limit is given."""
MAX_PAGE = 5_000
"""More would make an answer of several megabytes."""
Orders = Mapping[str, type[int] | type[str]]
"""The orders of a list: columns, and what is in them. The first one is what names a line, and the list's own order."""
_Line = TypeVar("_Line")
_MAX_DIGITS = 18
"""Of a file system's number: what fits SQLite's integers."""
_LABELLED = re.compile(r"(-?)([a-z]+):(.*)", re.DOTALL)


def page_size(limit: int | None) -> int:
    """How many lines a page has. Raises `RefusalError` for a limit that is none."""
    limit = PAGE if limit is None else limit
    if not 0 < limit <= MAX_PAGE:
        raise RefusalError(errno.EINVAL, f"limit must be from 1 to {MAX_PAGE}, not {limit}")
    return limit


def order_of(sort: str | None, orders: Orders, *, reverse: bool = False) -> Order:
    """The order that is asked for. Raises `RefusalError`: the list has no such one."""
    own = next(iter(orders))
    if sort is not None and sort not in orders:
        raise RefusalError(
            errno.EINVAL, f'this list is not sorted by "{sort}"; use one of {", ".join(orders)}'
        )
    return Order("" if sort in (None, own) else str(sort), reverse)


def position(after: str | None, order: Order = OWN, orders: Orders | None = None) -> Spot | None:
    """The place that `following` of the page before names; None for None, the begin.

    Args:
        after: as it was given.
        order: of this list.
        orders: all that it has; None: no other one.

    Raises:
        RefusalError: it is no such place, or one of another order.
    """
    if after is None:
        return None
    found = _LABELLED.fullmatch(after)
    label, rest = ("", after)
    if found is not None and found[2] in (orders or ()):
        label, rest = f"{found[1]}{found[2]}", found[3]
    if label != _label(order, orders):
        raise RefusalError(
            errno.EINVAL,
            f'"{after}" is not a place in this order of the list; ask for the next page as for the one before, with '
            "the same --sort and --reverse, or begin anew without --after",
        )
    number, colon, name = rest.partition(":")
    value: int | str | None = None
    if order.column and orders is not None:
        text, colon, name = name.partition(":")
        value = _value(text, orders[order.column], after)
    if not colon or not _is_number(number) or not is_unicode(name):
        raise _nowhere(after)
    return Spot(int(number), name, value)


def following(spot: Spot, order: Order = OWN, orders: Orders | None = None) -> str:
    """What asks for the page after a line; arguments as `position`."""
    label = _label(order, orders)
    # the one part that may have colons in it and is not the last
    value = f"{quote(str(spot.value), safe='')}:" if order.column else ""
    return f"{label}{':' * bool(label)}{spot.fscid}:{value}{spot.name}"


def cut(
    found: Sequence[_Line], limit: int, spot: Callable[[_Line], Spot], order: Order, orders: Orders
) -> tuple[Sequence[_Line], str | None]:
    """A page of what was found, of which one more than `limit` was asked for, and what asks for the next page.

    Args:
        spot: where a line is.
        order, orders: as `position`.
    """
    if len(found) <= limit:
        return found, None
    return found[:limit], following(spot(found[limit - 1]), order, orders)


def more(place: str) -> str:
    """Tells a person how to see the page that begins at `place`."""
    return f"There are more: add `--after {shell_word(place)}`."


def _label(order: Order, orders: Orders | None) -> str:
    """What the place of an order begins with; empty for a list's own one, whose places are numbers and names."""
    if order == OWN:
        return ""
    own = next(iter(orders or {"": str}))
    return f"{'-' * order.reverse}{order.column or own}"


def _value(text: str, kind: type[int] | type[str], after: str) -> int | str:
    if kind is str:
        return unquote(text)
    if not _is_number(text):
        raise _nowhere(after)
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS


def _nowhere(after: str) -> RefusalError:
    return RefusalError(
        errno.EINVAL, f'"{after}" is not a place in the list; use what the page before gave as following'
    )
