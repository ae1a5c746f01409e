"""Names whose ciphertext has more than 148 bytes. Kernels store them hashed, with the ciphertext beside (doc/format.md,
N4).

libcephfs can neither read nor set what is beside (doc/facts.md F8). An MDS tells it to those who may `tell` it
something, so such names are listed where that is possible, and as they are stored otherwise. Entries are found by
either. None is ever made here, nor given another name: that would drop what is beside, and an entry without it hides
others from kernel clients.
"""

import errno
from collections.abc import Mapping

from ..ceph.errors import CephError, SessionLostError
from ..ceph.interface import Mount
from ..format import Dentry, HashedNameError, NameFormatError, Names, decode_dentry
from ..format.names import HASHED_SIZE

MOST_ENTRIES = 4096
"""Directories with more are not asked for: the MDS would be held up, and answers with some 700 bytes for each entry,
long name or not."""
_HASHED_LENGTH = HASHED_SIZE * 4 // 3
_ENTRIES_XATTR = "ceph.dir.entries"
_FORBIDDEN = (errno.EPERM, errno.EACCES)


def looks_hashed(stored: bytes) -> bool:
    """Has a name the form of a hashed one?"""
    if len(stored) != _HASHED_LENGTH:
        return False
    try:
        decode_dentry(Dentry(stored))
    except HashedNameError:
        return True
    except NameFormatError:
        return False
    return False


class LongNames:
    """What the MDSs know about hashed names. An entity that may not ask is told so once, and not asked for again.

    Attributes:
        complete: was all told that was asked for?
    """

    def __init__(self, mount: Mount) -> None:
        self._mount = mount
        self._allowed = True
        self.complete = True

    def in_directory(self, stored: bytes, names: Names) -> Mapping[bytes, bytes]:
        """The plain names of the hashed entries of the directory at a stored path, by their stored names, as far as
        they can be told. Each was checked against the hash in its stored name."""
        found = {}
        for dname, ciphertext in self.beside(stored).items():
            try:
                found[dname] = names.decode(dname, ciphertext)
            except NameFormatError:
                continue  # another directory's, or damaged: it stays as it is stored
        return found

    def beside(self, stored: bytes) -> Mapping[bytes, bytes]:
        """What is stored beside the names of entries of a directory, by these names, as far as it can be told. Nothing
        of it was checked."""
        if self._allowed:
            try:
                if int(self._mount.getxattr(stored, _ENTRIES_XATTR)) <= MOST_ENTRIES:
                    return self._mount.alternate_names(stored)
            except SessionLostError:
                raise
            except CephError as error:
                self._allowed = error.errno not in _FORBIDDEN
        self.complete = False
        return {}
