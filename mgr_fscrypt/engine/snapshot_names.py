"""What the snapshots of a directory are called, in the `.snap` that CephFS shows in it and no listing tells.

A kernel client encrypts the name of a snapshot with the key of the directory that it was made in; everybody else
(libcephfs, `ceph fs subvolume snapshot`, the scheduler) stores it as it is. In the directories below, a snapshot shows
as `_NAME_INODE`, the number being that of the directory that it was made in (doc/format.md S1, S2). So names that
decrypt are shown decrypted, others as they are stored, and a name that is given may be either.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from ..format import Dentry, InheritedSnapshot, NameFormatError, Names

SNAPSHOTS = b".snap"
"""The name that no entry of a directory can have."""
_NUMBER = (1 << 63) - 1


@dataclass(frozen=True)
class SnapshotNames:
    """The names in one `.snap`, to be used as `Names` are: those of its directory, and of the directories above it by
    their inode numbers."""

    own: Names
    owners: Mapping[int, Names]

    def encode(self, plain: bytes) -> Dentry:
        """A name as a kernel client would have stored it. Raises as `Names.encode`."""
        inherited = _inherited(plain)
        owner = self.owners.get(inherited.owner) if inherited else None
        if inherited is None or owner is None:
            return self.own.encode(plain)
        return Dentry(InheritedSnapshot(owner.encode(inherited.dname).dname, inherited.owner).encode())

    def decode(self, stored: bytes) -> bytes:
        """The name that a stored one stands for. Raises as `Names.decode`: it was stored as it is."""
        inherited = InheritedSnapshot.decode(stored)
        if inherited is None:
            return self.own.decode(stored)
        owner = self.owners.get(inherited.owner)
        if owner is None:
            raise NameFormatError(f"{stored!r} was made in a directory that is not on the way here")
        return InheritedSnapshot(owner.decode(inherited.dname), inherited.owner).encode()

    def decode_all(self, stored: Sequence[bytes]) -> list[bytes | NameFormatError]:
        """As `decode` of each: its plain name, or what `decode` raises."""
        found: list[bytes | NameFormatError] = []
        for name in stored:
            try:
                found.append(self.decode(name))
            except NameFormatError as error:
                found.append(error)
        return found


def _inherited(name: bytes) -> InheritedSnapshot | None:
    try:
        return InheritedSnapshot.decode(name)
    except NameFormatError:
        return None


def apart(ino: int, snapshot: bytes | None) -> int:
    """The inode number that programs are shown: in a snapshot, by its stored path, not that of the living inode.

    They are one number in CephFS (doc/facts.md F17). A program that compares numbers would take a file and its
    snapshots for one file (as `diff` and copies of hard links do), and `.snap` for a loop (as `find` does): ceph-fuse
    sets them apart, too.
    """
    if snapshot is None:
        return ino
    return (ino ^ int.from_bytes(blake2b(snapshot, digest_size=8).digest())) & _NUMBER
