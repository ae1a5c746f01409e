"""How processes are spawned that get keys: what they run is this program, wherever it was called."""

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager

SPAWNED = multiprocessing.get_context("spawn")
_SAFE_PATH = "PYTHONSAFEPATH"


@contextmanager
def apart_from_here() -> Iterator[None]:
    """What is spawned meanwhile imports nothing from the caller's directory, where others may have put a module of the
    library's name: Python begins spawned processes by `-c`, which looks there first of all. The option `-P` cannot be
    handed to them, but what stands for it in the environment."""
    before = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SAFE_PATH]
        else:
            os.environ[_SAFE_PATH] = before
