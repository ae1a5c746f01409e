"""How processes are spawned that get keys: what they run is this program, wherever it was called."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ctypes import c_bool

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


def wake() -> None:
    """Let spawned processes go on that somebody has stopped (SIGSTOP): they can neither end nor be ended by SIGTERM,
    and whoever waits for their end would wait for ever."""
    for each in multiprocessing.active_children():
        if each.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(each.pid, signal.SIGCONT)


class Stop:
    """One word to processes that were spawned. Without a lock, unlike an `Event`: one that is killed while it asks
    would take that along, and whoever asks next, or says it, would wait for ever."""

    def __init__(self) -> None:
        self._said = SPAWNED.RawValue(c_bool, False)

    def say(self) -> None:
        """They are to stop."""
        self._said.value = True

    @property
    def said(self) -> bool:
        """Are they?"""
        return bool(self._said.value)
