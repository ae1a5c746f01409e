"""The plaintext that vector files describe: parts at offsets, made by SHAKE-256 from seeds, or zeros."""

from dataclasses import dataclass
from hashlib import shake_256

from .fields import LARGEST_PART, FieldError, Record


@dataclass(frozen=True)
class Part:
    """A piece of a file's content."""

    offset: int
    data: bytes

    @property
    def end(self) -> int:
        """The offset behind it."""
        return self.offset + len(self.data)


def make_content(where: str, seed: str | None, length: int) -> bytes:
    """``length`` bytes of SHAKE-256 of the seed; zeros without one. Raises ``FieldError`` if absurdly long."""
    if length > LARGEST_PART:
        raise FieldError(f"{where}: {length} bytes are more than a vector holds")
    return bytes(length) if seed is None else shake_256(seed.encode()).digest(length)


def seed_of(record: Record) -> str | None:
    """The seed of a part; None for one of zeros."""
    return record.text("seed") if record.one_of("seed", "zeros") == "seed" else None


class Plaintext:
    """The blocks of a file that hold data, by number; all others are holes."""

    def __init__(self, parts: list[Part], block_size: int) -> None:
        self._block_size = block_size
        self._blocks: dict[int, bytearray] = {}
        self.end = max((part.end for part in parts), default=0)
        for part in parts:
            self._write(part)

    def blocks(self) -> list[int]:
        """Numbers of the blocks with data, rising."""
        return sorted(self._blocks)

    def runs(self) -> list[list[int]]:
        """First and last number of each row of blocks with data."""
        rows: list[list[int]] = []
        for block in self.blocks():
            if rows and rows[-1][1] == block - 1:
                rows[-1][1] = block
            else:
                rows.append([block, block])
        return rows

    def row(self, first: int, last: int) -> bytes:
        """The data of blocks ``first`` to ``last``, which all have some."""
        return b"".join(self._blocks[block] for block in range(first, last + 1))

    def set_tail(self, block: int, start: int, tail: bytes) -> None:
        """Put other bytes at the end of a block with data."""
        self._blocks[block][start:] = tail

    def _write(self, part: Part) -> None:
        size = self._block_size
        for block in range(part.offset // size, -(-part.end // size)):
            data = self._blocks.setdefault(block, bytearray(size))
            start, stop = max(part.offset, block * size), min(part.end, (block + 1) * size)
            data[start - block * size : stop - block * size] = part.data[
                start - part.offset : stop - part.offset
            ]
