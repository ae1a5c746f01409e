"""The options of a mount's cache on disk."""

import argparse
import re
from pathlib import Path

from ..engine import DiskCache
from .outcome import Exit, Failure

DEFAULT_SIZE = "1G"
_FACTORS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def add_cache_options(options: argparse.ArgumentParser) -> None:
    """`--cache` and `--cache-size`."""
    options.add_argument(
        "--cache", metavar="CACHE", type=Path, help="keep what was read here on disk, as ciphertext"
    )
    options.add_argument(
        "--cache-size", metavar="SIZE", type=bytes_of, help=f"such as 500M or 20G (default {DEFAULT_SIZE})"
    )


def chosen_cache(options: argparse.Namespace) -> DiskCache | None:
    """What the options of a command ask for; None for commands without them.

    Raises:
        Failure: a size without a directory.
        RefusedError: the directory cannot be used.
    """
    directory, size = getattr(options, "cache", None), getattr(options, "cache_size", None)
    if directory is None:
        if size is not None:
            raise Failure(Exit.USAGE, "a size of no cache", remedy="name its directory with `--cache`")
        return None
    return DiskCache(directory, bytes_of(DEFAULT_SIZE) if size is None else size)


def bytes_of(text: str) -> int:
    """A size as people write it: a whole number, and K, M, G or T for powers of 1024."""
    found = re.fullmatch(r"([0-9]+)([KMGT]?)(?:i?B)?", text, re.IGNORECASE)
    if found is None:
        raise argparse.ArgumentTypeError(f"not a size: {text!r} (500M, 20G)")
    return int(found[1]) * _FACTORS[found[2].upper()]
