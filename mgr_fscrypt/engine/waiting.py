"""Waiting briefly for what another engine client is just finishing."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_STEPS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.3)


def until_made(look: Callable[[], T | None]) -> T | None:
    """What `look` finds, looking again for about a second while it finds nothing."""
    found = look()
    for pause in _STEPS:
        if found is not None:
            break
        time.sleep(pause)
        found = look()
    return found
