"""Values as text for people."""

from collections.abc import Collection, Sequence


def table(heading: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[int] = ()) -> str:
    """Lay out rows in columns, without trailing blanks.

    Args:
        heading: the columns' titles.
        rows: as many cells as there are titles.
        numbers: the columns that are aligned on the right.
    """
    cells = [tuple(heading), *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heading))]
    lines = (
        "  ".join(
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)


def one_line(text: str) -> str:
    """Show control characters of a name as escapes: a name must not move a terminal's cursor."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
