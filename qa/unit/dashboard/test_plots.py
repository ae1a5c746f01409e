"""Curves over time: where lines go, what stands beside them, and that the table says the same."""

from typing import Any

import pytest

from dashboard_ui.plots import HEIGHT, WIDTH, days_of, plotted
from dashboard_ui.visit import Answer
from qa.unit.dashboard.test_pages import TOLD, shown

SINCE, STEP = 1_700_000_000 - 1_700_000_000 % 600, 600


def told(unit: str, **curves: list[tuple[int, float]]) -> Answer:
    value: dict[str, Any] = {
        "unit": unit,
        "since": SINCE,
        "until": SINCE + 10 * STEP,
        "step": STEP,
        "curves": [
            {"about": about, "points": [{"at": SINCE + n * STEP, "value": each} for n, each in points]}
            for about, points in curves.items()
        ],
    }
    return Answer(0, "", value)


def test_a_line_goes_where_its_values_are_and_is_broken_where_there_are_none():
    plot = plotted({"": told("days", a=[(0, 0), (1, 50), (2, 100), (5, 25)])})
    assert plot is not None
    (line,) = plot.lines
    assert plot.levels == ("100", "50", "0")
    assert line.path == f"M0.0 {HEIGHT}.0h0L100.0 100.0L200.0 0.0M500.0 150.0h0"
    assert line.alone == "M500.0 150.0h0"
    assert (line.name, line.lowest, line.highest, line.last) == ("a", "0", "100", "25")


def test_the_table_says_the_same_as_the_lines():
    plot = plotted({"x": told("days", a=[(0, 1), (2, 3)]), "y": told("days", a=[(2, 5)])})
    assert plot is not None
    assert [line.name for line in plot.lines] == ["x of a", "y of a"]
    assert [values for _, values in plot.rows] == [("3", "5"), ("1", "")]
    assert plot.rows[0][0] == "2023-11-14 22:30"


@pytest.mark.parametrize(
    ("unit", "most", "top"),
    [
        ("days", 0, "1"),
        ("days", 1, "1"),
        ("days", 0.03, "0.05"),
        ("days", 101, "200"),
        ("entries a second", 6_000, "10,000"),
        ("bytes", 0, "1 B"),
        ("bytes", 1000, "1000 B"),
        ("bytes", 1025, "2 KiB"),
        ("bytes", 3 * 2**30, "5 GiB"),
        ("bytes", 2.0**70, "1024 EiB"),
    ],
)
def test_the_axis_ends_with_a_round_number_that_is_not_below(unit: str, most: float, top: str):
    plot = plotted({"": told(unit, a=[(0, most)])})
    assert plot is not None
    assert plot.levels[0] == top
    assert plot.levels[-1] == "0"


def test_no_line_leaves_its_drawing():
    """A curve may begin before what was asked for, by a part of a step."""
    plot = plotted({"": told("days", a=[(-1, 1), (99, 7)])})
    assert plot is not None
    assert plot.lines[0].path.startswith("M0.0 ")
    assert f"M{WIDTH}.0 " in plot.lines[0].path


@pytest.mark.parametrize(
    "answer", [told("days"), told("days", a=[]), Answer(11, "the database does not answer")]
)
def test_nothing_is_no_plot(answer: Answer):
    assert plotted({"": answer}) is None


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("1", 1),
        ("730", 730),
        ("", 30),
        ("2", 30),
        ("x", 30),
        ("9" * 5000, 30),
        ("0000000019", 30),
        ("-1", 30),
        ("\u0661", 30),
    ],
)
def test_how_far_back_one_looks(text: str, days: int):
    assert days_of(text) == days


@pytest.mark.parametrize("path", ["/", "/keys", "/kms", "/jobs"])
def test_a_page_has_its_curves_and_keeps_what_it_was_asked_for(path: str):
    _, markup = shown(path, days="7", fs="cephfs")
    drawn = [each for each in markup.named("svg") if each.get("role") == "img"]
    assert all("cephfs from " in (each["aria-label"] or "") for each in drawn)
    assert drawn
    (week,) = [each for each in markup.named("a") if each.get("aria-current") == "true"]
    assert week["href"] == f"{path}?days=7&fs=cephfs#history"
    _, empty = shown(path, {**TOLD, "history": {**TOLD["history"], "curves": []}})
    assert "nothing was measured in this time" in empty.text
