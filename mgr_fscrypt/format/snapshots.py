"""Snapshot names in an encrypted directory's ``.snap`` (doc/format.md S1, S2; ``parse_longname``).

A snapshot's own name is encrypted like a file name, by the directory that it was made in. Below that
directory it shows as inherited: ``_NAME_INODE``, the number being that directory's.
"""

import re
from dataclasses import dataclass

from .errors import NameFormatError, NameTooLongError
from .names import Names

SNAPSHOT_NAME_MAX = 240
"""Characters of a snapshot's stored name (``snapshot_name_max`` in the MDS)."""

_INHERITED = re.compile(rb"_(.+)_([1-9][0-9]{0,19})", re.DOTALL)


@dataclass(frozen=True)
class InheritedSnapshot:
    """An inherited snapshot: its stored name and the inode number of the directory that it was made in."""

    dname: bytes
    owner: int

    def encode(self) -> bytes:
        """The entry as ``.snap`` of a directory below shows it."""
        return b"_%b_%d" % (self.dname, self.owner)

    @classmethod
    def decode(cls, entry: bytes) -> "InheritedSnapshot | None":
        """Take an entry of ``.snap`` apart. None: a snapshot of the directory itself.

        Raises:
            NameFormatError: it begins as an inherited name does and is none.
        """
        if not entry.startswith(b"_"):
            return None
        match = _INHERITED.fullmatch(entry)
        if match is None or len(match[1]) > SNAPSHOT_NAME_MAX or int(match[2]) >= 1 << 64:
            raise NameFormatError(f"{entry!r} begins like an inherited snapshot and is none")
        return cls(match[1], int(match[2]))


def encode_snapshot(names: Names, plain: bytes) -> bytes:
    """The stored name of a snapshot made in the directory of ``names``.

    Raises:
        NameTooLongError: its ciphertext is above 148 bytes: it could never be read back, as snapshots are
            not known to have alternate names (doc/format.md S3).
        NameFormatError: as ``Names.encrypt``.
    """
    dentry = names.encode(plain)
    if dentry.is_hashed:
        raise NameTooLongError(f"a snapshot name of {len(plain)} bytes would be stored hashed and be lost")
    return dentry.dname


def decode_snapshot(names: Names, entry: bytes) -> bytes:
    """The plain name of an entry of ``.snap``; ``names`` are those of the directory that it was made in.

    Raises:
        HashedNameError: a hashed name: not recoverable.
        NameFormatError: not a name of that directory.
    """
    inherited = InheritedSnapshot.decode(entry)
    return names.decode(inherited.dname if inherited else entry)
