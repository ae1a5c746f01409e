"""Durations and days as people write them."""

import argparse
import datetime

from ..messages.spans import seconds_of

DAY = 86400
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": DAY, "w": 7 * DAY}


def duration(text: str) -> int:
    """Seconds of `90s`, `15m`, `12h`, `7d` or `4w`; `never` is 0."""
    try:
        return seconds_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def waiting(text: str) -> int:
    """A `duration` that ends: what is `never` over would be over at once."""
    if text == "never":
        raise argparse.ArgumentTypeError("a waiting time ends; `key disable` is without an end")
    return duration(text)


def day(text: str) -> int:
    """Seconds since the epoch of a day's begin (UTC) as `2027-12-31`; `never` is 0."""
    if text == "never":
        return 0
    try:
        found = datetime.datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=datetime.UTC)
    except ValueError as error:
        raise argparse.ArgumentTypeError("a day is written as 2027-12-31, or `never`") from error
    return int(found.timestamp())


def moment(seconds: int) -> str:
    """A moment for people, in UTC; `never` for 0."""
    if not seconds:
        return "never"
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def span(seconds: int) -> str:
    """A duration for people, in its largest whole unit; `never` for 0."""
    if not seconds:
        return "never"
    unit, size = next(
        (name, size) for name, size in reversed(_UNITS.items()) if seconds % size == 0 or size == 1
    )
    return f"{seconds // size}{unit}"
