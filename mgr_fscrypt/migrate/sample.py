"""How long a migration may take, from a sample of its source that is read and enciphered; nothing is written.

What cannot be measured so is taken from what was measured once (doc/migration.md, "Who copies"): making a small file
takes some three times as long as reading one, and writing bytes as long as reading them. The comparison reads both
trees once more. So the answer is of the right size, and no promise.
"""

import heapq
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from ..engine.blocks import pieces
from ..format import Contents, Context, MasterKey, Policy, raw_size
from .traits import traits_of
from .trees import Tree, not_of_one_file

_FILES = 512
_SECONDS = 2.0
_FIRST = 64 << 10
"""Bytes that are read along with opening a file: they cost next to nothing beside that."""
_LARGEST = 8 << 20
"""Bytes of one file that are read, at most."""
_READS = 6.3
"""A file that is copied and compared, against one that is read: 1 to read it, 3.3 to make it, 2 to read both."""


@dataclass(frozen=True)
class Estimate:
    """What was measured.

    Attributes:
        files, size: how much of the source was read.
        file_time: seconds to meet a file in the walk, open it, and read its begin.
        read_time, cipher_time: seconds for each further byte.
    """

    files: int
    size: int
    file_time: float
    read_time: float
    cipher_time: float

    def seconds(self, entries: int, size: int) -> float:
        """For so many entries with so many bytes, by one process on a cluster that has not more to do than now."""
        return entries * _READS * self.file_time + size * (4 * self.read_time + 2 * self.cipher_time)


class Sample:
    """Files of the source: each as likely as any other, and the largest one, from which the rate of bytes is known."""

    def __init__(self) -> None:
        self._chosen: list[tuple[int, bytes]] = []
        self._largest: tuple[int, bytes] = (0, b"")

    def offer(self, path: bytes, size: int, digest: int) -> None:
        """One of the source: those with the largest digests are taken."""
        self._largest = max(self._largest, (size, path))
        if len(self._chosen) < _FILES:
            heapq.heappush(self._chosen, (digest, path))
        else:
            heapq.heappushpop(self._chosen, (digest, path))

    def measured(
        self,
        source: Tree,
        go_on: Callable[[], None],
        *,
        met: float,
        enciphers: bool,
        clock: Callable[[], float] = time.perf_counter,
    ) -> Estimate | None:
        """Read them, for some two seconds; None where nothing could be read. `go_on` is called before each piece.

        Args:
            met: seconds that the walk took for each entry: what was looked at then is not asked for again.
        """
        measured = _Measured(source, go_on, clock, met, enciphers=enciphers)
        give_up = clock() + _SECONDS
        largest = self._largest[1]
        paths = [largest] if largest else []
        paths += [path for _, path in self._chosen if path != largest]
        for path in paths:
            if clock() > give_up:
                break
            try:
                measured.read(path)
            except OSError as error:
                if not_of_one_file(error):
                    raise
        return measured.estimate


class _Measured:
    def __init__(
        self,
        source: Tree,
        go_on: Callable[[], None],
        clock: Callable[[], float],
        met: float,
        *,
        enciphers: bool,
    ) -> None:
        self._met = met
        self._source = source
        self._go_on = go_on
        self._clock = clock
        # of nobody's: it is forgotten with this object
        key = MasterKey(os.urandom(64))
        self._contents = Contents(key, Context.fresh(Policy(key.identifier))) if enciphers else None
        self._files = self._size = self._further = 0
        self._file_time = self._read_time = self._cipher_time = 0.0

    def read(self, path: bytes) -> None:
        """One file; what it is not one of any more is passed over."""
        begun = self._clock()
        traits_of(self._source, path, self._source.stat(path))
        with self._source.open(path, os.O_RDONLY) as file:
            size = min(file.size, _LARGEST)
            first = file.pread(min(size, _FIRST), 0)
            self._file_time += self._clock() - begun
            self._encipher(first)
            for start, stop in pieces(min(size, _FIRST), size):
                self._go_on()
                begun = self._clock()
                data = file.pread(stop - start, start)
                self._read_time += self._clock() - begun
                self._further += len(data)
                self._encipher(data)
        self._files += 1
        self._size += size

    def _encipher(self, data: bytes) -> None:
        if self._contents is None or not data:
            return
        whole = data.ljust(raw_size(len(data)), b"\0")
        begun = self._clock()
        self._contents.encrypt(whole, 0)
        self._cipher_time += self._clock() - begun

    @property
    def estimate(self) -> Estimate | None:
        if not self._files:
            return None
        return Estimate(
            self._files,
            self._size,
            self._met + self._file_time / self._files,
            self._read_time / self._further if self._further else 0.0,
            self._cipher_time / self._size if self._size else 0.0,
        )
