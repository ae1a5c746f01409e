"""Health checks of things that can be counted, in the shape in which ceph-mgr takes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .text import one_line
from .values import Simplified

NAMED = 20
"""Things that a check names; it counts all."""


@dataclass(frozen=True)
class Warned:
    """What one check tells of.

    Args:
        summary: with braces where the number stands.
        lines: a line for each thing.
        remedy: what to do.
        count: of the things, where not each of them has its line; None: one for each line.
    """

    summary: str
    lines: Sequence[str]
    remedy: str
    count: int | None = None


def raised(found: Mapping[str, Warned]) -> Simplified:
    """Give the checks, by their codes, that have something to tell of."""
    checks = {}
    for code, each in found.items():
        count = len(each.lines) if each.count is None else each.count
        if each.lines:
            checks[code] = {
                "severity": "warning",
                "summary": each.summary.format(count),
                "count": count,
                "detail": [*map(one_line, each.lines[:NAMED]), each.remedy],
            }
    return checks
