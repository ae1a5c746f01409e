"""What commands are asked with: paths, lists, names of entities; and whether enough is known to answer them by."""

import errno
from collections.abc import Iterable, Mapping

from .nearest import hint
from .observing import Census
from .paths import PathError, normal
from .refusal import RefusalError

FRESH = 120.0
"""Seconds of age up to which a census is good enough to do something to clients by."""


def normal_path(path: str) -> str:
    """The one spelling of a path.

    Raises:
        RefusalError: it is none.
    """
    try:
        return normal(path)
    except PathError as error:
        raise RefusalError(errno.EINVAL, f"{error}; nothing was changed") from error


def require_fresh(census: Census, fscid: int, now: float) -> None:
    """Hold that what is known of a file system's clients, and of caps, is young.

    Raises:
        RefusalError: it is not, or nothing is known.
    """
    sight = census.sights.get(fscid)
    age = now - min(census.asked, sight.asked) if sight else FRESH
    if age >= FRESH:
        raise RefusalError(
            errno.EAGAIN,
            f"the servers have not told of clients and caps for {FRESH:.0f} s "
            f"({census.trouble or 'they are being asked'}), nothing was changed; run it again in some seconds",
        )


def listed(text: str | None, before: tuple[str, ...]) -> tuple[str, ...]:
    """The elements of a list that is written with commas; None: as it was before."""
    if text is None:
        return before
    return tuple(sorted({each.strip() for each in text.split(",") if each.strip()}))


def require_entities(names: Iterable[str], known: Mapping[str, object]) -> None:
    """Hold that all are names of entities.

    Raises:
        RefusalError: one is not; the nearest is told.
    """
    for name in names:
        if name not in known:
            next_step = hint(name, sorted(known), "see `ceph auth ls`")
            raise RefusalError(errno.ENOENT, f'there is no entity "{name}", nothing was changed; {next_step}')
