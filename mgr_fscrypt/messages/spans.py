"""Durations as people write them."""

import re

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SPAN = re.compile(r"([0-9]{1,6})([smhdw])")


def seconds_of(text: str) -> int:
    """Seconds of `90s`, `15m`, `12h`, `7d` or `4w`; `never` is 0.

    Raises:
        ValueError: it is none of these.
    """
    if text == "never":
        return 0
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError("a time is a number with s, m, h, d or w, such as 7d, or `never`")
    return int(found[1]) * _UNITS[found[2]]


def kept_for(text: str) -> int:
    """The same for what is kept: nobody who says `0d` means that it is kept without an end, as 0 does.

    Raises:
        ValueError: it is none, or no time at all.
    """
    seconds = seconds_of(text)
    if not seconds and text != "never":
        raise ValueError("it has to be more than 0, or `never`")
    return seconds
