"""Lists in pages: where one goes on is a file system's number and a name after it."""

import errno

from .refusal import RefusalError
from .text import is_unicode, shell_word

PAGE = 1000
"""Lines on a page when no limit is given."""
MAX_PAGE = 5_000
"""More would make an answer of several megabytes."""
_MAX_DIGITS = 18
"""Of a file system's number: what fits SQLite's integers."""


def page_size(limit: int | None) -> int:
    """How many lines a page has. Raises `RefusalError` for a limit that is none."""
    limit = PAGE if limit is None else limit
    if not 0 < limit <= MAX_PAGE:
        raise RefusalError(errno.EINVAL, f"limit must be from 1 to {MAX_PAGE}, not {limit}")
    return limit


def position(after: str | None) -> tuple[int, str]:
    """The place that `following` of the page before names; the begin for None. Raises `RefusalError`."""
    if after is None:
        return (0, "")
    number, colon, name = after.partition(":")
    is_number = number.isascii() and number.isdigit() and len(number) <= _MAX_DIGITS
    if not colon or not is_number or not is_unicode(name):
        raise RefusalError(
            errno.EINVAL, f'"{after}" is not a place in the list; use what the page before gave as following'
        )
    return (int(number), name)


def following(fscid: int, name: str) -> str:
    """What asks for the page after the line of that name."""
    return f"{fscid}:{name}"


def more(place: str) -> str:
    """Tells a person how to see the page that begins at `place`."""
    return f"There are more: add `--after {shell_word(place)}`."
