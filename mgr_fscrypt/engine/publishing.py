"""New files that are complete, shown to others behind the back of whoever made them.

To show a file costs round trips: its data must be durable before its size and context are told, and its mode comes last
(doc/engine-xattr.md). Whoever makes many small files does not wait for each: `close` hands them over, and one thread
completes all that have come meanwhile with one `sync`. A client that meets one of them in between waits for it
(`waiting.until_made`), so everybody sees a file whose `close` has returned.
"""

import logging
import math
import threading
import time
from dataclasses import dataclass

from ..ceph.interface import Mount
from .open_inodes import OpenInode, OpenInodes

SMALL = 1 << 20
"""Bytes of a new file, up to which nobody waits at its `close` until it is complete."""
DELAY = 0.1
"""Seconds after which a file that is still open is shown to others."""
_LIMIT = 64
"""Files that were closed and wait; whoever closes another one waits for these."""
_IDLE = 0.05
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Due:
    """`held`: with a handle that is ours to let go."""

    inode: OpenInode
    held: bool


class Publisher:
    """Completes private files of one mount, of fewer than `largest` bytes. Calls may come from several threads.

    What was closed waits up to `patience` seconds for others, so that one sync is enough for many.
    """

    def __init__(
        self, mount: Mount, inodes: OpenInodes, *, largest: int = SMALL, patience: float = 0.0
    ) -> None:
        self._mount = mount
        self._largest = largest
        self._patience = patience
        self._inodes = inodes
        self._closed: list[OpenInode] = []
        self._closed_due = math.inf
        self._open: dict[OpenInode, float] = {}
        self._busy = False
        self._unsynced = False
        self._failures: list[Exception] = []
        self._over = False
        turn = threading.Lock()
        # apart, since those who wait for room would be woken by each file that comes
        self._wanted, self._done = threading.Condition(turn), threading.Condition(turn)
        self._wakes = 0.0
        self._thread: threading.Thread | None = None

    def takes(self, inode: OpenInode) -> bool:
        """Is it private, and small enough?"""
        return inode.permissions is not None and (inode.own_size or 0) < self._largest

    def close(self, inode: OpenInode) -> None:
        """Let go of a handle once the file is complete. Waits where too many that were closed wait already."""
        with self._done:
            self._done.wait_for(lambda: len(self._closed) < _LIMIT)
            self._open.pop(inode, None)
            if not self._closed:
                self._closed_due = time.monotonic() + self._patience
            self._closed.append(inode)
            if len(self._closed) == _LIMIT:
                self._closed_due = 0.0
            self._want(self._closed_due)

    def show(self, inode: OpenInode, delay: float = DELAY) -> None:
        """Complete the file in so many seconds, or sooner if that was asked for, if it is still open by then."""
        with self._wanted:
            due = min(time.monotonic() + delay, self._open.get(inode, math.inf))
            self._open[inode] = due
            self._want(due)

    @property
    def unsynced(self) -> bool:
        """May something that was completed not be durable yet?"""
        return self._unsynced

    def drain(self) -> None:
        """Wait until all that was handed over is complete. It is durable with the mount's next `sync`.

        Raises what kept a file from it since the last call, once.
        """
        with self._done:
            self._open = dict.fromkeys(self._open, 0.0)
            self._closed_due = 0.0
            self._wanted.notify()
            self._done.wait_for(lambda: not self._closed and not self._open and not self._busy)
            failures, self._failures = self._failures, []
        if failures:
            raise failures[0]

    def end(self) -> None:
        """Complete all, durably, and stop for good. Raises as `drain`."""
        try:
            self.drain()
            if self._unsynced:
                self._mount.sync()
        finally:
            with self._wanted:
                self._over = True
                thread = self._thread
                self._wanted.notify()
            if thread is not None:
                thread.join()

    def _want(self, due: float) -> None:
        """Have the thread at work when something is due."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="fscrypt-publisher", daemon=True)
            self._thread.start()
        elif due < self._wakes:
            self._wanted.notify()

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            try:
                # of this batch the data, of the one before the modes
                self._mount.sync()
            except Exception as error:  # noqa: BLE001 - `drain` raises it
                self._fail(error)
            self._unsynced = bool(batch)
            for one in batch:
                self._complete(one)
            with self._done:
                self._busy = False
                self._done.notify_all()

    def _next(self) -> list[_Due] | None:
        """What is due, waiting for it; nothing after a pause in which the last modes are to be made durable; None at
        the end, and where there is nothing to wait for."""
        with self._wanted:
            while not self._over and (self._closed or self._open or self._unsynced):
                batch = self._taken()
                if batch:
                    return self._at_work(batch)
                pause = min([*self._open.values(), self._closed_due]) - time.monotonic()
                if self._unsynced:
                    pause = min(pause, _IDLE)
                self._wakes = time.monotonic() + pause
                woken = self._wanted.wait(pause)
                self._wakes = 0.0
                if not woken and self._unsynced:
                    return self._at_work(self._taken())
            self._thread = None
            return None

    def _taken(self) -> list[_Due]:
        """What is due now, and is not kept here any more."""
        now = time.monotonic()
        shown = [inode for inode, due in self._open.items() if due <= now]
        closed: list[OpenInode] = []
        if self._closed_due <= now:
            closed, self._closed, self._closed_due = self._closed, [], math.inf
        for inode in shown:
            del self._open[inode]
        return [_Due(inode, held=True) for inode in closed] + [_Due(inode, held=False) for inode in shown]

    def _at_work(self, batch: list[_Due]) -> list[_Due]:
        self._busy = True
        self._done.notify_all()
        return batch

    def _complete(self, one: _Due) -> None:
        try:
            if not one.held and not self._inodes.hold(one.inode):
                return
            try:
                one.inode.publish()
            except BaseException:
                # what it was to hold did not reach the cluster
                one.inode.give_up()
                raise
            finally:
                self._inodes.let_go(one.inode)
        except Exception as error:  # noqa: BLE001 - `drain` raises it
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        _log.error("a new file could not be completed: %s", error)
        with self._done:
            self._failures.append(error)
