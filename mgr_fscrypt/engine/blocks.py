"""Byte ranges of a file on whole blocks: the one place that rounds to blocks, and the one that owns edge blocks.

Contents are blocks of 4096 bytes. Which bytes stand in them is the matter of a `Pair`; nothing here, or above, knows
whether it encrypts. A block that is stored as zeros is a hole and reads as zeros; none is made by writing zeros
(doc/format.md, traps 1 and 2). What lies past the end of the file in its last block is zeros before it is encrypted,
and is never trusted when it is read (D4).
"""

from collections.abc import Iterator
from typing import Protocol

from ..ceph.interface import Mount
from ..format import BLOCK_SIZE, raw_size
from ..format.buffers import Buffer
from .filling import filled

PIECE = 1 << 20
"""Bytes of file that are enciphered and handed on at once: few enough to be in the processor's cache still, many enough
that calls cost nothing beside them (a write of 4 MiB at once was a third slower)."""


class Pair(Protocol):
    """How plain blocks become stored ones and back: `format.Contents`, or nothing at all for plain files."""

    def encrypt_into(self, plain: Buffer, target: Buffer, first_unit: int) -> None:
        """Whole blocks from `plain` into `target`, which may be `plain` itself."""

    def decrypt_into(self, stored: Buffer, target: Buffer, first_unit: int, *, holes: bool = False) -> None:
        """The way back; with `holes` blocks of zeros stay zeros."""

    def close(self) -> None:
        """The end of it."""


class Source(Protocol):
    """Where stored blocks are read from: a `Mount`, or something in front of it."""

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        """As `Mount.pread`."""


class Blocks:
    """The blocks of one open file. Whoever writes has made sure to be the only one; calls come one at a time.

    A `size` is the real size of the file before the call. Blocks are read from `source`, or else from the mount.
    """

    def __init__(self, mount: Mount, fd: int, pair: Pair, source: Source | None = None) -> None:
        self._mount = mount
        self._source = source or mount
        self._fd = fd
        self._pair = pair

    def read_into(self, target: memoryview, start: int) -> None:
        """Fill `target` with the plain bytes from `start` on. The caller knows that the file reaches that far."""
        stop = start + len(target)
        for begin, end in pieces(start, stop):
            part = target[begin - start : end - start]
            whole = len(part) - len(part) % BLOCK_SIZE if begin % BLOCK_SIZE == 0 else 0
            if whole:
                self._load_into(part[:whole], begin)
            if whole < len(part):
                first = _down(begin + whole)
                blocks = self._load(first, raw_size(end) - first)
                part[whole:] = memoryview(blocks)[begin + whole - first : end - first]

    def write(self, data: memoryview, start: int, size: int) -> None:
        """Up to a piece of bytes, at `start`. Raw and real size are the caller's to think of."""
        end = start + len(data)
        first, last = _down(start), raw_size(end)
        if first > size:
            self.zero_tail(size)
        plain: Buffer = data
        if first != start or last != end:
            blocks = bytearray(last - first)
            if start > first:
                blocks[:BLOCK_SIZE] = self._edge(first, size)
            if end < last and (last - BLOCK_SIZE > first or start == first):
                blocks[-BLOCK_SIZE:] = self._edge(last - BLOCK_SIZE, size)
            blocks[start - first : end - first] = data
            plain = blocks
        unit = first // BLOCK_SIZE
        stored = filled(last - first, lambda target: self._pair.encrypt_into(plain, target, unit))
        self._mount.pwrite(self._fd, stored, first)

    def zero(self, start: int, stop: int, size: int) -> None:
        """Make what is within the file read as zeros: whole blocks become holes, edges are written again.

        The block that holds the end of the file counts as whole if all of the file in it is meant.
        """
        stop = min(stop, size)
        if start >= stop:
            return
        first = raw_size(start)
        last = raw_size(stop) if stop == size else _down(stop)
        if first > last:
            self._blank(start, stop, size)
            return
        self._blank(start, first, size)
        if first < last:
            self._mount.punch(self._fd, first, last - first)
        self._blank(last, stop, size)

    def zero_tail(self, size: int) -> None:
        """Make the last block of a file of `size` bytes end in zeros. A hole stays one."""
        if size % BLOCK_SIZE:
            self._blank(size, raw_size(size), raw_size(size))

    def next(self, offset: int, size: int, *, hole: bool) -> int | None:
        """Where the first block with data, or the first hole, begins at or after `offset`; None before `size`."""
        zeros = bytes(BLOCK_SIZE)
        for begin, end in pieces(offset, size):
            first = _down(begin)
            stored = memoryview(self._source.pread(self._fd, raw_size(end) - first, first))
            for at in range(0, raw_size(end) - first, BLOCK_SIZE):
                block = stored[at : at + BLOCK_SIZE]
                if (not len(block) or block == zeros[: len(block)]) is hole:
                    return max(first + at, offset)
        return None

    def _blank(self, start: int, stop: int, size: int) -> None:
        """Zeros within one block, which stays as it is where it has them already, and so if it is a hole."""
        if start >= stop:
            return
        first = _down(start)
        if not any(self._source.pread(self._fd, BLOCK_SIZE, first)):
            return
        block = self._edge(first, size)
        if any(block[start - first : stop - first]):
            block[start - first : stop - first] = bytes(stop - start)
            self._pair.encrypt_into(block, block, first // BLOCK_SIZE)
            self._mount.pwrite(self._fd, bytes(block), first)

    def _edge(self, first: int, size: int) -> bytearray:
        """One block as it is, with zeros past the end of the file."""
        if first >= size:
            return bytearray(BLOCK_SIZE)
        block = self._load(first, BLOCK_SIZE)
        kept = min(size - first, BLOCK_SIZE)
        block[kept:] = bytes(BLOCK_SIZE - kept)
        return block

    def _load(self, first: int, length: int) -> bytearray:
        """Whole plain blocks; what is not stored is zeros."""
        blocks = bytearray(length)
        self._load_into(memoryview(blocks), first)
        return blocks

    def _load_into(self, target: memoryview, first: int) -> None:
        """Whole plain blocks; what is not stored is zeros."""
        stored = memoryview(self._source.pread(self._fd, len(target), first))
        there = len(stored) - len(stored) % BLOCK_SIZE
        if there:
            self._pair.decrypt_into(stored[:there], target[:there], first // BLOCK_SIZE, holes=True)
        if there < len(target):
            rest = bytearray(stored[there:])
            rest.extend(bytes(len(target) - there - len(rest)))
            self._pair.decrypt_into(rest, rest, (first + there) // BLOCK_SIZE, holes=True)
            target[there:] = rest


def pieces(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Cut a range at multiples of `PIECE`."""
    while start < stop:
        end = min(stop, start - start % PIECE + PIECE)
        yield start, end
        start = end


def _down(offset: int) -> int:
    return offset - offset % BLOCK_SIZE
