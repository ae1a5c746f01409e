"""Curves over time as drawings: where each line goes, what stands at the axes, and the same as a table.

The server draws, as SVG: no script is needed. Lines differ by their dashes as well as by their colours. Words stand
beside the drawing, which is stretched, and words in it would be, too.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .visit import Answer
from .words import size

WIDTH, HEIGHT = 1000, 200
"""Of the drawing, in units of its own."""
SPANS = {1: "Day", 7: "Week", 30: "Month", 365: "Year", 730: "Two years"}
"""How far back one can look: days, and what that is called."""
_HOURS = 2
"""Days up to which the axis has hours."""
_ALONE = re.compile(r"M[^M]*h0(?=M|$)")
_STEPS = (1, 2, 5, 10)


@dataclass(frozen=True)
class Line:
    """One curve.

    Args:
        name: whose it is.
        path: of the drawing, as SVG has it; broken where nothing was measured.
        alone: the part of it that has no length: what was measured, and nothing beside it.
        last: the newest value, for a person.
        lowest, highest: the same.
    """

    name: str
    path: str
    alone: str
    last: str
    lowest: str
    highest: str


@dataclass(frozen=True)
class Plot:
    """A drawing.

    Args:
        lines: by whose they are.
        levels: what stands beside it, from above.
        times: what stands below it, from the left.
        rows: the same as a table, newest first: when, and a value of each line; empty where nothing was measured.
    """

    lines: tuple[Line, ...]
    levels: tuple[str, ...]
    times: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def days_of(text: str) -> int:
    """How far back somebody wants to look; a month, where they said nothing that can be had."""
    said = int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else 0
    return said if said in SPANS else 30


def plotted(answers: Mapping[str, Answer]) -> Plot | None:
    """Give the drawing of what was told; None: nothing was measured.

    Args:
        answers: of ``history``, of one unit and span, by what their curves are called; empty: by whose they are alone.
    """
    told = [(name, each.value) for name, each in answers.items() if each.value is not None]
    curves = [
        (" of ".join(filter(None, (name, curve["about"]))), curve["points"])
        for name, value in told
        for curve in value["curves"]
        if curve["points"]
    ]
    if not curves:
        return None
    value = told[0][1]
    since, until, step = value["since"], value["until"], value["step"]
    most = max(point["value"] for _, points in curves for point in points)
    shown = size if value["unit"] == "bytes" else _number
    top = _top(most, value["unit"] == "bytes")
    lines = []
    for name, points in curves:
        values = [point["value"] for point in points]
        path = _path(points, since, until, step, top)
        alone = "".join(_ALONE.findall(path))
        ends = (shown(values[-1]), shown(min(values)), shown(max(values)))
        lines.append(Line(name or "all", path, alone, *ends))
    moments = [since, (since + until) // 2, until]
    hours = until - since <= _HOURS * 86_400
    return Plot(
        tuple(lines),
        (shown(top), shown(top / 2), "0"),
        tuple(_moment(each, hours=hours) for each in moments),
        _rows(curves, shown),
    )


def _path(points: Sequence[Mapping[str, Any]], since: int, until: int, step: int, top: float) -> str:
    parts, before = [], None
    for each in points:
        # a point stands for the time from its begin on
        across = min(max((each["at"] - since) / max(until - since, 1), 0), 1) * WIDTH
        down = HEIGHT - min(each["value"] / top, 1) * HEIGHT
        joined = before is not None and each["at"] - before <= 1.5 * step
        # what stands alone is a line without length, whose round ends are a dot (`Line.alone`: a large one)
        parts.append(f"{'L' if joined else 'M'}{across:.1f} {down:.1f}" + ("" if joined else "h0"))
        before = each["at"]
    return "".join(parts)


def _top(most: float, binary: bool) -> float:
    """A round number, not below: the end of the axis."""
    if most <= 0:
        return 1
    size = 1.0
    while binary and size * 1024 <= most:
        size *= 1024
    rest, power = most / size, 1.0
    while power * 10 < rest:
        power *= 10
    while power > rest:
        power /= 10
    return size * power * next(each for each in _STEPS if power * each >= rest * (1 - 1e-9))


def _rows(
    curves: Sequence[tuple[str, Sequence[Mapping[str, Any]]]], shown: Callable[[float], str]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    by_time: dict[int, dict[int, str]] = {}
    for number, (_, points) in enumerate(curves):
        for point in points:
            by_time.setdefault(point["at"], {})[number] = shown(point["value"])
    return tuple(
        (_moment(at, hours=True), tuple(by_time[at].get(number, "") for number in range(len(curves))))
        for at in sorted(by_time, reverse=True)
    )


def _moment(seconds: int, *, hours: bool) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):{'%Y-%m-%d %H:%M' if hours else '%Y-%m-%d'}}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
