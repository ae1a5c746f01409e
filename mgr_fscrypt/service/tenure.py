"""Whether it is our turn to work: one service of a file system at a time, by a lease in RADOS.

The lease ends by our own clock before it ends by the OSD's: whoever does not hear from the cluster for that long stops,
and has stopped before another one begins.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Protocol

from ..backoff import Backoff
from ..ceph.errors import CephError
from .clock import Clock

INTERVAL = 1.0
"""Seconds between two renewals, or two attempts."""
_log = logging.getLogger(__name__)


class Lease(Protocol):
    """As `ceph.epochs.EpochLease`. Every call may raise `CephError`."""

    def take(self) -> int | None:
        """Begin a turn: its number, or None where another service has one."""

    def renew(self) -> bool:
        """Go on; False where it ran out."""

    def release(self) -> None:
        """End our turn."""

    def holder(self) -> str:
        """Who had the latest turn."""


@dataclass(frozen=True)
class Standing:
    """How it stands with our turn.

    Attributes:
        state: a name of `messages.service.STATES`.
        since: when that began, in seconds since the epoch.
        epoch: the number of our turn.
        holder: in standby, whose turn it is.
        trouble: what the cluster said, where it cannot be reached.
    """

    state: str
    since: float
    epoch: int | None = None
    holder: str = ""
    trouble: str = ""


class Tenure:
    """Takes a turn when it can, and keeps it. `run` in a thread of its own; the rest may be asked by any."""

    def __init__(
        self,
        reach: Callable[[], AbstractContextManager[Lease]],
        clock: Clock,
        duration: float,
        backoff: Backoff | None = None,
    ) -> None:
        """Begin without one.

        Args:
            reach: connects to the cluster, for a ``with`` block.
            clock: the time.
            duration: seconds that the lease lasts without being renewed.
            backoff: pauses while the cluster cannot be reached.
        """
        self._reach = reach
        self._clock = clock
        self._duration = duration
        self._backoff = backoff or Backoff()
        self._turn = threading.Lock()
        self._over = threading.Event()
        self._until = 0.0
        self._standing = Standing("unreachable", clock.date(), trouble="not yet connected")

    @property
    def standing(self) -> Standing:
        """How it stands now."""
        with self._turn:
            if self._standing.epoch is not None and self._until <= self._clock.now():
                # the thread waits for an answer of the cluster
                return Standing("unreachable", self._clock.date(), trouble="the turn was not renewed in time")
            return self._standing

    @property
    def epoch(self) -> int | None:
        """The number of our turn; None from the moment when it is over."""
        return self.standing.epoch

    def run(self) -> None:
        """Until `end`."""
        while not self._over.is_set():
            try:
                with self._reach() as lease:
                    self._hold(lease)
            except CephError as error:
                self._stand("unreachable", trouble=error.strerror or str(error))
                self._clock.wait(self._over, self._backoff.delay())

    def end(self) -> None:
        """Give the turn back, and take none any more; `run` returns as soon as the cluster lets it."""
        self._over.set()

    def _hold(self, lease: Lease) -> None:
        try:
            while not self._over.is_set():
                self._step(lease)
                self._backoff.reset()
                self._clock.wait(self._over, INTERVAL)
        finally:
            self._stand("standby")
            with suppress(CephError):  # it ends by itself
                lease.release()

    def _step(self, lease: Lease) -> None:
        # counted from before the question: the OSD's time starts later, so ours ends first
        asked = self._clock.now()
        ours = self._standing.epoch
        if ours is not None and lease.renew():
            self._stand("serving", epoch=ours, until=asked + self._duration)
            return
        number = lease.take()
        if number is None:
            self._stand("standby", holder=lease.holder())
        else:
            self._stand("serving", epoch=number, until=asked + self._duration)

    def _stand(
        self, state: str, *, epoch: int | None = None, until: float = 0.0, holder: str = "", trouble: str = ""
    ) -> None:
        with self._turn:
            before = self._standing
            same = (before.state, before.epoch) == (state, epoch)
            since = before.since if same else self._clock.date()
            self._standing = Standing(state, since, epoch, holder, trouble)
            self._until = until
        if not same:
            told = f"turn {epoch}" if epoch is not None else holder or trouble
            _log.info("%s%s", state, f": {told}" if told else "")
