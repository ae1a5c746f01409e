"""Reads that wait for the MDS to write its journal, and how they are helped on.

After another client has written a file and closed it, the MDS takes back how far that one may grow it, and gives
nobody the right to read before this is in its journal, which it writes every 5 s. It does so at once when somebody asks
for the file's size; a read only waits (doc/facts.md F18). So whoever has read for a moment without an answer asks.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Lock, Thread

PATIENCE = 0.02
"""Seconds that a read takes anyway: with an idle OSD it has been answered by then."""
_IDLE = 1.0
"""Seconds without any read after which the thread sleeps."""


@dataclass(eq=False)
class _Read:
    """A read that is under way. `over` changes in its turn: a descriptor is not closed while somebody asks with it."""

    fd: int
    begun: float
    asked: bool = False
    over: bool = False
    turn: Lock = field(default_factory=Lock)


class WaitingReads:
    """Looks after the reads of one mount, in a thread that the first of them starts.

    Args:
        ask: asks the MDS for the size of an open file; what it raises concerns nobody.
    """

    def __init__(self, ask: Callable[[int], object]) -> None:
        self._ask = ask
        self._reads: dict[int, _Read] = {}
        self._last = 0.0
        self._wanted = Event()
        self._turn = Lock()
        self._over = False
        self._thread: Thread | None = None

    @contextmanager
    def reading(self, fd: int) -> Iterator[None]:
        """For a `with` block around a read."""
        read = _Read(fd, time.monotonic())
        self._reads[id(read)] = read
        self._last = read.begun
        if not self._wanted.is_set():
            self._wake()
        try:
            yield
        finally:
            del self._reads[id(read)]
            with read.turn:
                read.over = True

    def end(self) -> None:
        """Stop for good."""
        with self._turn:
            self._over = True
            self._wanted.set()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _wake(self) -> None:
        with self._turn:
            self._wanted.set()
            if self._thread is None and not self._over:
                self._thread = Thread(target=self._look, name="fscrypt-waiting-reads", daemon=True)
                self._thread.start()

    def _look(self) -> None:
        while not self._over:
            now = time.monotonic()
            # tuple() of a dict's values is one step of the interpreter: the other threads change it meanwhile
            reads = tuple(self._reads.values())
            for read in reads:
                if not read.asked and now - read.begun > PATIENCE:
                    self._help(read)
            if not reads and now - self._last > _IDLE:
                self._wanted.clear()
                # one that began before that has not woken us
                if not self._reads and not self._over:
                    self._wanted.wait()
            time.sleep(PATIENCE / 2)

    def _help(self, read: _Read) -> None:
        with read.turn:
            if not read.over:
                read.asked = True
                self._ask(read.fd)
