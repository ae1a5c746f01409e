"""Waiting for an advisory lock that another handle has, here or anywhere.

libcephfs would wait in a call that nothing ends, so it is only ever asked whether the lock is free.
"""

import random
import time
from collections.abc import Callable

from ..ceph.errors import WouldBlockError

_FIRST, _LONGEST, _GROWTH = 0.005, 0.25, 1.5
"""Seconds between two tries: the first pause, the longest one, and how they grow."""


def until_free(attempt: Callable[[], None], timeout: float | None) -> None:
    """Call `attempt` until it raises no `WouldBlockError`, for up to `timeout` seconds; None: as long as it takes."""
    give_up = None if timeout is None else time.monotonic() + timeout
    pause = _FIRST
    while True:
        try:
            attempt()
        except WouldBlockError:
            if give_up is not None and time.monotonic() >= give_up:
                raise
        else:
            return
        time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        pause = min(pause * _GROWTH, _LONGEST)
