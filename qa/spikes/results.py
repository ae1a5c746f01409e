"""How a spike is started and how its figures are printed."""

import argparse
import json
import statistics
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

Row = dict[str, Any]
"""One line of a table: what was done, how often was looked, what was seen."""


def main(question: str, spike: Callable[[float], list[Row]], seconds: float) -> None:
    """Run `spike` for about the seconds asked for by the command line and print its rows.

    Args:
        question: what it is to decide, for the help.
        spike: takes the seconds that each measured case may last.
        seconds: the default.
    """
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--seconds", type=float, default=seconds, help="length of each measured case")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = spike(arguments.seconds)
    ceph = subprocess.run(["ceph", "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    if arguments.json:
        print(json.dumps({"ceph": ceph, "seconds": arguments.seconds, "rows": rows}))
    else:
        print(f"Ceph {ceph}, {arguments.seconds:g} s a case")
        print(table(rows))


def table(rows: Sequence[Row]) -> str:
    """Rows as Markdown; rows with other columns begin a new table."""
    lines: list[str] = []
    columns: list[str] = []
    for row in rows:
        if list(row) != columns:
            columns = list(row)
            lines += ["", "| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
        lines.append("| " + " | ".join(_cell(value) for value in row.values()) + " |")
    return "\n".join(lines)


def milliseconds(samples: Sequence[float]) -> float:
    """The median of seconds, in ms."""
    return round(statistics.median(samples) * 1000, 2)


def worst_milliseconds(samples: Sequence[float]) -> float:
    return round(max(samples) * 1000, 1)


def _cell(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
