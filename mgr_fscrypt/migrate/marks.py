"""The mark of a finished copy: on the new file, of which inode it is the copy, as that was at which change.

These bytes are on disk: `trusted.fscrypt-copied`, 20 bytes, little-endian: version (u32, 1), the number of the source's
inode (u64), and its change attribute (u64) when it was copied. The mark is set last of all, when contents and
attributes are durable, so it is the manifest of a migration as well: a file that has the mark of its source as that is
now is not copied again, whoever died meanwhile. `purge` removes it.
"""

import struct
from dataclasses import dataclass

from .trees import Tree, attribute

MARK = "trusted.fscrypt-copied"
_FORM = struct.Struct("<IQQ")
_VERSION = 1


@dataclass(frozen=True)
class Mark:
    """What was copied."""

    ino: int
    change: int

    def encode(self) -> bytes:
        """As it is stored."""
        return _FORM.pack(_VERSION, self.ino, self.change)

    @classmethod
    def decode(cls, stored: bytes) -> "Mark | None":
        """None for what a later version, or somebody else, has put there: then it is copied again."""
        if len(stored) != _FORM.size:
            return None
        version, ino, change = _FORM.unpack(stored)
        return cls(ino, change) if version == _VERSION else None


def mark_of(tree: Tree, path: bytes) -> Mark | None:
    """The mark of the file at `path`, or None."""
    stored = attribute(tree, path, MARK)
    return None if stored is None else Mark.decode(stored)
