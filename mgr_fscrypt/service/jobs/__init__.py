"""Long work: kept, begun, paused, gone on with after a restart, and ended.

`interface` is what a kind of jobs has to know; the kinds are in `service.kinds`.
"""

from .interface import (
    CancelledError,
    Controls,
    JobFailedError,
    Kind,
    Outcome,
    PausedError,
    RefusedWishError,
    StopError,
    TurnOverError,
    WaitingError,
)
from .runner import JobRefusedError, NoSuchJobError, NotServingError, Runner

__all__ = [
    "CancelledError",
    "Controls",
    "JobFailedError",
    "JobRefusedError",
    "Kind",
    "NoSuchJobError",
    "NotServingError",
    "Outcome",
    "PausedError",
    "RefusedWishError",
    "Runner",
    "StopError",
    "TurnOverError",
    "WaitingError",
]
