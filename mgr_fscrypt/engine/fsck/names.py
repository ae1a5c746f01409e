"""Is the name of an entry one that its directory's policy gives, and does what is stored beside it belong to it?"""

from collections.abc import Iterator, Mapping

from ...ceph.interface import Mount
from ...format import Dentry, HashedNameError, NameFormatError, decode_dentry
from ..cache import Cache
from ..directories import Directory, NameKind
from ..long_names import LongNames
from .entries import Inspected
from .findings import Code, Finding

_DIRECTORIES = 64
"""Directories whose names are remembered: a walk comes back to those above it."""


class NameChecks:
    """Looks at names. Without the key only their form tells.

    A kernel shows what is stored beside a name, where there is anything, and finds the entry by what is in the name
    itself: where the two are of different names, nobody finds what a listing shows.
    """

    def __init__(self, mount: Mount) -> None:
        self._long_names = LongNames(mount)
        self._beside: Cache[int, Mapping[bytes, bytes]] = Cache(_DIRECTORIES)

    @property
    def complete(self) -> bool:
        """Was all told that is stored beside names?"""
        return self._long_names.complete

    def check(self, at: Inspected) -> Iterator[Finding]:
        """What is wrong with the name of one entry."""
        entry = at.visited.entry
        if entry.name_kind is NameKind.PLAIN:
            return
        beside = self._beside_of(entry.stored, at.visited.parent)
        if not _fits(entry.stored, beside):
            yield at.finding(Code.POISONED_NAME, "what is stored beside its name belongs to another name")
            return
        if entry.name_kind is NameKind.DECRYPTED:
            return
        try:
            decode_dentry(Dentry(entry.stored, beside))
        except HashedNameError:
            yield at.finding(
                Code.HASHED_NAME, "its name is hashed, and the rest of it cannot be seen from here"
            )
        except NameFormatError:
            yield at.finding(Code.FOREIGN_NAME, "its name is not encrypted")
        else:
            if entry.name_kind in (NameKind.FOREIGN, NameKind.HASHED):
                yield at.finding(Code.BAD_NAME, "its name does not decrypt under its directory's key")

    def _beside_of(self, stored: bytes, parent: Directory) -> bytes:
        known = self._beside.get(parent.ino)
        if known is None:
            known = self._ask(parent)
        if not _fits(stored, known.get(stored, b"")):
            # it may have been removed, and made anew, since this was told
            known = self._ask(parent)
        return known.get(stored, b"")

    def _ask(self, parent: Directory) -> Mapping[bytes, bytes]:
        told = self._long_names.beside(parent.stored)
        self._beside.put(parent.ino, told)
        return told


def _fits(stored: bytes, beside: bytes) -> bool:
    if not beside:
        return True
    try:
        decode_dentry(Dentry(stored, beside))
    except NameFormatError:
        return False
    return True
