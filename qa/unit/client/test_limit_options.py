"""How fast, as people write it."""

import argparse
from collections.abc import Callable

import pytest

from mgr_fscrypt.client.limit_options import add_limit_options, chosen_limits, latency, rate, size, window
from mgr_fscrypt.migrate.pace import UNLIMITED, Limits, Window


@pytest.mark.parametrize(
    ("read", "text"),
    [
        *((rate, text) for text in ("0", "-1", "nan", "inf", "many", "")),
        *((size, text) for text in ("0", "0M", "-1K", "nan")),
        *((latency, text) for text in ("0ms", "5", "-5ms", "nanms", "1h")),
        *((window, text) for text in ("", "22:00", "22:00-22:00")),
    ],
)
def test_what_is_no_limit_is_refused(read: Callable[[str], object], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        read(text)


@pytest.mark.parametrize(
    ("words", "limits"),
    [
        ("", UNLIMITED),
        ("--files-per-second 0.5 --bytes-per-second 2K", Limits(0.5, 2048)),
        ("--latency 20ms --window 22:00-06:00", Limits(latency=0.02, window=Window(22 * 3600, 6 * 3600))),
        ("--latency 1.5s", Limits(latency=1.5)),
    ],
)
def test_limits_are_written_as_people_do(words: str, limits: Limits) -> None:
    parser = argparse.ArgumentParser()
    add_limit_options(parser)
    assert chosen_limits(parser.parse_args(words.split())) == limits
