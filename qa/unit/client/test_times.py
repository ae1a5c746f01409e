"""Durations and days as people write them."""

import argparse

import pytest

from mgr_fscrypt.client.times import day, duration, moment, span


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("12h", 43200), ("7d", 604800), ("4w", 2419200), ("never", 0)],
)
def test_durations(text: str, seconds: int):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "-7d", "7 d", "1.5d", "99999999d"])
def test_what_is_no_duration(text: str):
    with pytest.raises(argparse.ArgumentTypeError):
        duration(text)


def test_days():
    assert day("1970-01-02") == 86400
    assert moment(day("2027-12-31")) == "2027-12-31 00:00 UTC"
    assert (day("never"), moment(0)) == (0, "never")
    with pytest.raises(argparse.ArgumentTypeError):
        day("31.12.2027")


@pytest.mark.parametrize(
    ("seconds", "text"), [(1, "1s"), (61, "61s"), (3600, "1h"), (90000, "25h"), (604800, "1w"), (0, "never")]
)
def test_spans(seconds: int, text: str):
    assert span(seconds) == text
