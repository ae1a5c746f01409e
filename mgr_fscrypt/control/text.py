"""Values as text for people."""

import shlex
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime


def table(heading: Sequence[str], rows: Iterable[Sequence[str]], numbers: Collection[int] = ()) -> str:
    """Lay out rows in columns, without trailing blanks. They are taken one by one, and not kept.

    Args:
        heading: the columns' titles.
        rows: as many cells as there are titles.
        numbers: the columns that are aligned on the right.
    """
    columns = [[title] for title in heading]
    for row in rows:
        for column, cell in zip(columns, row, strict=True):
            column.append(one_line(cell))
    widths = [max(map(len, column)) for column in columns]
    lines = (
        "  ".join(
            cell.rjust(width) if number in numbers else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in zip(*columns, strict=True)
    )
    return "\n".join(line.rstrip() for line in lines)


def moment(seconds: float) -> str:
    """A time since the epoch as people write it, in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def one_line(text: str) -> str:
    """Show control characters of a name as escapes: a name must not move a terminal's cursor."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def shortened(text: str, longest: int) -> str:
    """Leave out the middle of what is longer: the end of a line is what says what to do."""
    if len(text) <= longest:
        return text
    return f"{text[: longest // 2]} ... {text[-longest // 2 :]}"


def is_unicode(text: str) -> bool:
    """Tell whether a text has a UTF-8 form, as all that is stored has; arguments of a shell may have none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shell_word(text: str) -> str:
    """Quote a name for a command that a person may paste into bash: whatever is in it, it stays one word."""
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(_bash_escaped(char) for char in text) + "'"


def _bash_escaped(char: str) -> str:
    if char.isprintable() and char not in "\\'":
        return char
    # three octal digits, because a hexadecimal escape would swallow digits that follow it in some shells
    return "".join(f"\\{byte:03o}" for byte in char.encode("utf-8", "surrogateescape"))
