"""The options of how fast something is done, and when."""

import argparse
import math
import re

from ..migrate.pace import Limits, Window
from .cache_options import bytes_of

_LATENCY = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)(ms|s)")


def add_limit_options(options: argparse.ArgumentParser) -> None:
    """`--files-per-second`, `--bytes-per-second`, `--latency` and `--window`."""
    add_removal_limits(options)
    options.add_argument(
        "--bytes-per-second", type=size, default=0, metavar="SIZE", help="such as 500K or 20M"
    )
    options.add_argument(
        "--latency",
        type=latency,
        default=0.0,
        metavar="TIME",
        help="such as 50ms: slow down while opening a file, or reading 1 MiB, takes longer",
    )
    options.add_argument(
        "--window",
        type=window,
        metavar="FROM-TO",
        help="such as 22:00-06:00, by this host's clock: copy, and begin the cut-over, in that time only",
    )


def add_removal_limits(options: argparse.ArgumentParser) -> None:
    """`--files-per-second` alone."""
    options.add_argument(
        "--files-per-second", type=rate, default=0.0, metavar="N", help="no faster than this"
    )


def chosen_limits(options: argparse.Namespace) -> Limits:
    """What the options of `add_limit_options` ask for."""
    return Limits(options.files_per_second, options.bytes_per_second, options.latency, options.window)


def chosen_removal_limits(options: argparse.Namespace) -> Limits:
    """What those of `add_removal_limits` ask for."""
    return Limits(options.files_per_second)


def rate(text: str) -> float:
    """A number of files a second."""
    try:
        found = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not a number: {text!r}") from error
    if not (math.isfinite(found) and found > 0):
        raise argparse.ArgumentTypeError("it has to be more than 0")
    return found


def size(text: str) -> int:
    """A number of bytes a second."""
    found = bytes_of(text)
    if not found:
        raise argparse.ArgumentTypeError("it has to be more than 0")
    return found


def latency(text: str) -> float:
    """Seconds of `50ms` or `1.5s`."""
    found = _LATENCY.fullmatch(text)
    seconds = float(found[1]) * (0.001 if found[2] == "ms" else 1) if found else 0.0
    if not seconds:
        raise argparse.ArgumentTypeError("a latency is a number, more than 0, with ms or s, such as 50ms")
    return seconds


def window(text: str) -> Window:
    """`22:00-06:00`."""
    try:
        return Window.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
