"""Letting go of the leases of files that others have open too.

A client that has a file for itself keeps its lease, used or not, and buffers. When another client opens the file, the
MDS takes the right to buffer away (`Fb` in `ceph.caps`: doc/spikes.md, 6); from then on each of them holds the lease
for a moment and pauses, so that all get their turn. One thread looks after all leases of a file system, while there
are any.
"""

import threading
from typing import Protocol

INTERVAL = 0.02
"""Seconds between two looks."""


class Holder(Protocol):
    """Something that may hold a lease."""

    def let_go_if_shared(self) -> bool:
        """Give the lease back if others want it and had to wait long enough; is one still held?"""


class Sharing:
    """Looks after the holders that it was told of."""

    def __init__(self, interval: float = INTERVAL) -> None:
        self._interval = interval
        self._holders: set[Holder] = set()
        self._turn = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, holder: Holder) -> None:
        """It holds a lease from now on."""
        with self._turn:
            self._holders.add(holder)
            if self._thread is None and not self._over.is_set():
                self._thread = threading.Thread(target=self._run, name="fscrypt-sharing", daemon=True)
                self._thread.start()

    def end(self) -> None:
        """Stop for good. When it returns, nothing is looked at any more."""
        self._over.set()
        with self._turn:
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._interval):
            with self._turn:
                if not self._holders:
                    self._thread = None
                    return
                holders, self._holders = self._holders, set()
            still = {holder for holder in holders if holder.let_go_if_shared()}
            with self._turn:
                self._holders |= still


def alone(capabilities: str) -> bool:
    """Do these capabilities, such as `pAsxLsXsxFsxcrwb`, let their client buffer what it writes?"""
    return "b" in _of_file(capabilities)


def undisturbed(capabilities: str) -> bool:
    """Do these capabilities, such as `pAsLsXsFscr`, let their client cache what it reads? Then no other one writes."""
    return "c" in _of_file(capabilities)


def _of_file(capabilities: str) -> str:
    _, found, of_file = capabilities.rpartition("F")
    return of_file if found else ""
