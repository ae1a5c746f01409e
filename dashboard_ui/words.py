"""Numbers, sizes and times as people read them."""

from datetime import UTC, datetime

_POWERS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def moment(seconds: float) -> str:
    """A point in time, in UTC; one that no calendar has as the number that it is."""
    try:
        return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return f"{seconds} s after 1970"


def span(seconds: float) -> str:
    """A length of time, roughly."""
    for size_of, name in ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        count = int(abs(seconds) // size_of)
        if count:
            return f"{count} {name}{'s' if count > 1 else ''}"
    return "no time"


def number(value: float) -> str:
    """A number, in groups of three digits."""
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.3g}"


def size(value: float) -> str:
    """So many bytes, in the unit that fits."""
    power = 0
    while value >= 1024 and power < len(_POWERS) - 1:
        value, power = value / 1024, power + 1
    return f"{value:.3g} {_POWERS[power]}" if value < 1000 else f"{value:.0f} {_POWERS[power]}"
