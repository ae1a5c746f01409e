"""Samples of the plaintext: what must not be found in any object or dentry."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SAMPLE_SIZE = 24
_PER_FILE = 3
# shorter names could stand in base64 or in Ceph's own words by chance
_NAME_SIZE = 8


@dataclass(frozen=True)
class Samples:
    """Pieces of contents (24 bytes, up to three of each file) and the names of a tree."""

    contents: frozenset[bytes]
    names: frozenset[bytes]

    def longer_names(self) -> frozenset[bytes]:
        """The names that cannot stand somewhere by chance."""
        return frozenset(name for name in self.names if len(name) >= _NAME_SIZE)


def take(tree: Path, seed: int) -> Samples:
    """Draw samples of a local tree.

    A sample has no newline (it becomes a line of a pattern file), no NUL, and is not one byte over and over:
    such pieces tell nothing.
    """
    chance = random.Random(seed)
    contents: set[bytes] = set()
    names: set[bytes] = set()
    for path in tree.rglob("*"):
        names.add(path.name.encode())
        if path.is_file() and not path.is_symlink():
            contents.update(_pieces(path.read_bytes(), chance))
    return Samples(frozenset(contents), frozenset(names))


def _pieces(data: bytes, chance: random.Random) -> Iterator[bytes]:
    lines = [line for line in data.split(b"\n") if len(line) >= SAMPLE_SIZE and b"\0" not in line]
    for line in chance.sample(lines, min(_PER_FILE, len(lines))):
        start = chance.randrange(len(line) - SAMPLE_SIZE + 1)
        piece = line[start : start + SAMPLE_SIZE]
        if len(set(piece)) > SAMPLE_SIZE // 3:
            yield piece
