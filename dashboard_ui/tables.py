"""Tables for screens that are too narrow for columns: there each cell says by itself which column it is of."""

import re

_HEADING = re.compile(r"<th scope=\"col\"[^>]*>(.*?)</th>", re.DOTALL)
_ROW = re.compile(r"<tr>.*?</tr>", re.DOTALL)
_CELL = re.compile(r"<t([dh])([ >].*?)</t\1>", re.DOTALL)
_NO_WORDS = re.compile(r"<span.*?</span>|<[^>]*>", re.DOTALL)
"""Elements, and signs beside the words of a heading."""


def by_column(table: str) -> str:
    """Have each cell of a table name its column, but for those that are empty, and those that head their rows.

    Args:
        table: from its caption on, as our templates write it: a row of headings, and rows with a cell for each.
    """
    # what templates give escapes whatever is added to it
    head, begin, body = str(table).partition("<tbody>")
    columns = [_NO_WORDS.sub("", each).strip() for each in _HEADING.findall(head)]

    def named(cell: re.Match[str], column: str) -> str:
        if cell[1] == "h" or not cell[2].partition(">")[2].strip():
            return cell[0]
        return f'<td data-column="{column}"{cell[2]}</td>'

    def row(found: re.Match[str]) -> str:
        left = iter(columns)
        return _CELL.sub(lambda cell: named(cell, next(left)), found[0])

    return head + begin + _ROW.sub(row, body)
