"""Which lines a list has, and where that of subtrees goes on, as people write it."""

import errno
from collections.abc import Collection, Mapping

from ..messages.key import STATES
from ..messages.strict import KEY_IDENTIFIER
from ..messages.subtree import MODES
from ..store import Order, Place, Spot, Wanted
from .paging import Orders, following, position
from .paths import PathError, normal
from .refusal import RefusalError
from .text import is_unicode

ORDERS: Orders = {"path": str, "registered": int}
"""Of the list of subtrees."""


def chosen(filters: Mapping[str, str | None], known: Mapping[str, Collection[str]]) -> dict[str, str]:
    """The filters that were given. Raises `RefusalError` for those that can fit nothing.

    Args:
        filters: by name; None: not given.
        known: all values that there are, of filters with few.
    """
    said = {name: value for name, value in filters.items() if value is not None}
    for name, value in said.items():
        if not value or not is_unicode(value):
            raise RefusalError(errno.EINVAL, f"--{name} must be text, and some")
        if name in known and value not in known[name]:
            raise RefusalError(
                errno.EINVAL, f'there is no {name} "{value}"; use one of {", ".join(known[name])}'
            )
    return said


def wanted(filters: Mapping[str, str | None]) -> Wanted:
    """Which subtrees are meant. Raises `RefusalError` for filters that can fit nothing."""
    said = chosen(filters, {"mode": MODES, "state": STATES})
    key = said.get("master-key")
    is_identifier = key is not None and KEY_IDENTIFIER.fullmatch(key) is not None
    try:
        below = normal(said["below"]) if "below" in said else None
    except PathError as error:
        raise RefusalError(errno.EINVAL, f"--below: {error}") from error
    return Wanted(
        mode=said.get("mode"),
        key_identifier=key if is_identifier else None,
        key_name=None if is_identifier else key,
        below=below,
        text=said.get("text"),
        tenant=said.get("tenant"),
        state=said.get("state"),
    )


def place(after: str | None, these: Wanted, order: Order) -> Place:
    """Where a list goes on: FSCID:PATH, in a list by key FSCID:KEY:PATH. Raises `RefusalError`."""
    spot = position(after, order, ORDERS)
    if spot is None:
        return Place()
    if order.column:
        return Place(spot.fscid, spot.name, registered=int(spot.value or 0))
    if not these.by_key:
        return Place(spot.fscid, spot.name)
    identifier, _, path = spot.name.partition(":")
    if KEY_IDENTIFIER.fullmatch(identifier) is None:
        raise RefusalError(
            errno.EINVAL,
            f'"{after}" is not a place in this list; keep its filters when you ask for the next page',
        )
    return Place(spot.fscid, path, identifier)


def named_place(found: Place | None, order: Order) -> str | None:
    """What asks for the page after a place."""
    if found is None:
        return None
    name = f"{found.key_identifier}:{found.path}" if found.key_identifier else found.path
    return following(Spot(found.fscid, name, found.registered), order, ORDERS)
