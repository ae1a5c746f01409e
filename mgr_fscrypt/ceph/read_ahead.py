"""Reading on, ahead of a program that reads a file in order: by reads like any others, whose answers libcephfs keeps.

libcephfs's own read-ahead is off for our mounts. It begins after a read has given back the right to cache, and fills
the cache also where the MDS has taken that right away meanwhile: what another client, or even this one, writes
afterwards is not seen by later reads, and an edge block of a write would bring old bytes back (doc/facts.md F17).
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from threading import Lock

RUN = 128 << 10
"""Bytes in order after which a reader is taken at its word: small files end before."""
PIECE = 1 << 20
"""Bytes that one read asks for."""
AHEAD = 8 * PIECE
"""Bytes that are asked for, and not yet wanted. (One object at a time had two thirds of the speed of libcephfs's own
read-ahead, pieces of these sizes have all of it, where the machine has nothing else to do. Twice as far is a quarter
faster where it has, and makes the peak of a mount's memory 30 MiB higher, beyond its bar: measured.)"""
_THREADS = 4
_DISORDER = PIECE
"""Bytes by which a read may come too early or too late: the kernel asks a mount for several pieces at once, and its
threads answer as they come."""


@dataclass
class _Run:
    """What was read of a descriptor in order, from `start` to `end`; somebody has asked for all up to `ahead`."""

    start: int
    end: int
    ahead: int
    reads: list[Future[object]] = field(default_factory=list)

    def has(self, offset: int) -> bool:
        """Does a read at `offset` belong to it?"""
        near = self.end - _DISORDER <= offset <= self.end + _DISORDER
        return offset == self.end or (near and self.start <= offset <= self.ahead)


class ReadAhead:
    """That of all descriptors of one mount. Calls may come from several threads.

    Args:
        read: reads so many bytes of a descriptor at an offset; what it raises concerns nobody.
        cached: does libcephfs keep what is read of a descriptor?
    """

    def __init__(self, read: Callable[[int, int, int], object], cached: Callable[[int], bool]) -> None:
        self._read = read
        self._cached = cached
        self._runs: dict[int, _Run] = {}
        self._turn = Lock()
        self._pool = ThreadPoolExecutor(_THREADS, "fscrypt-read-ahead")

    def after(self, fd: int, offset: int, end: int) -> None:
        """The bytes from `offset` to `end` were read, and there may be more of them."""
        with self._turn:
            run = self._runs.get(fd)
            if run is None or not run.has(offset):
                self._runs[fd] = _Run(offset, end, end, run.reads if run else [])
                return
            run.end = end = max(run.end, end)
            run.ahead = max(run.ahead, end)
            if end - run.start < RUN or run.ahead + PIECE > end + AHEAD or not self._cached(fd):
                return
            run.reads = [read for read in run.reads if not read.done()]
            while run.ahead + PIECE <= end + AHEAD:
                run.reads.append(self._pool.submit(self._read, fd, PIECE, run.ahead))
                run.ahead += PIECE

    def forget(self, fd: int) -> None:
        """Before a descriptor is closed: when it returns, nobody reads it here."""
        with self._turn:
            run = self._runs.pop(fd, None)
        if run is not None:
            wait([read for read in run.reads if not read.cancel()])

    def end(self) -> None:
        """Stop for good; nobody reads any more when it returns."""
        self._pool.shutdown(cancel_futures=True)
