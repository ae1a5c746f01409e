"""Which subtrees a list has, and where it goes on, as people write it."""

import errno
from collections.abc import Mapping

from ..messages.key import STATES
from ..messages.strict import KEY_IDENTIFIER
from ..messages.subtree import MODES
from ..store import Place, Wanted
from .paging import following, position
from .paths import PathError, normal
from .refusal import RefusalError
from .text import is_unicode


def wanted(filters: Mapping[str, str | None]) -> Wanted:
    """Which subtrees are meant. Raises `RefusalError` for filters that can fit nothing."""
    said = {name: value for name, value in filters.items() if value is not None}
    for name, value in said.items():
        if not value or not is_unicode(value):
            raise RefusalError(errno.EINVAL, f"--{name} must be text, and some")
    for name, known in (("mode", MODES), ("state", STATES)):
        if name in said and said[name] not in known:
            raise RefusalError(
                errno.EINVAL, f'there is no {name} "{said[name]}"; use one of {", ".join(known)}'
            )
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


def place(after: str | None, chosen: Wanted) -> Place:
    """Where a list goes on: FSCID:PATH, in a list by key FSCID:KEY:PATH. Raises `RefusalError`."""
    fscid, name = position(after)
    if not chosen.by_key or after is None:
        return Place(fscid, name)
    identifier, _, path = name.partition(":")
    if KEY_IDENTIFIER.fullmatch(identifier) is None:
        raise RefusalError(
            errno.EINVAL,
            f'"{after}" is not a place in this list; keep its filters when you ask for the next page',
        )
    return Place(fscid, path, identifier)


def named_place(found: Place | None) -> str | None:
    """What asks for the page after a place."""
    if found is None:
        return None
    name = f"{found.key_identifier}:{found.path}" if found.key_identifier else found.path
    return following(found.fscid, name)
