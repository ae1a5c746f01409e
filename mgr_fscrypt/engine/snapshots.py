"""What lies in a snapshot, and making and removing snapshots.

A snapshot never changes: no lease is taken there, nothing is waited for and nothing repaired. What its writers had not
told when it was taken is not in it, as after a crash; what was half made then stays so.
"""

import errno
import os

from ..ceph.interface import Mount
from ..format import Contents, Context
from .directories import Place, inconsistent, read_auth
from .errors import RefusedError
from .inodes import ByPath, FileFacts, look, smaller
from .making import doubtful, half_made, unfinished
from .open_inodes import OpenInode
from .sharing import Sharing
from .snapshot_names import SNAPSHOTS, apart


class FrozenInode(OpenInode):
    """A regular file of a snapshot, open for reading. It is nobody's but its one handle's: the living inode, and that
    of any other snapshot, has the same number."""

    def __init__(
        self, mount: Mount, place: Place, facts: FileFacts, contents: Contents, sharing: Sharing
    ) -> None:
        stored = place.existing
        fd = mount.open(stored, os.O_RDONLY)
        super().__init__(
            mount, fd, stored, place.plain, contents, facts.context, facts.mode, sharing, writable=False
        )
        self.key = object()
        self.ino = apart(self.ino, place.snapshot)
        self._frozen_size = facts.real_size

    def _told_size(self) -> int:
        return self._frozen_size


def frozen_facts(mount: Mount, stored: bytes, plain: bytes) -> FileFacts:
    """The facts of a regular file in a snapshot.

    Raises:
        DamagedError: half made, or attributes that nobody writes.
        RefusedError: EPERM: an unencrypted file in an encrypted directory.
    """
    subject = ByPath(mount, stored)
    raw = subject.stat()
    if unfinished(raw):
        raise half_made(plain)
    found = frozen_sizes(look(subject, plain), plain)
    if found is None:
        raise half_made(plain) if doubtful(raw) else inconsistent(plain)
    return found


def frozen_sizes(found: FileFacts | None, plain: bytes) -> FileFacts | None:
    """What was found, with the smaller one of two sizes that do not fit: no writer will come and settle them."""
    return found if found is None or found.believed else smaller(found, plain)


def frozen_link_context(mount: Mount, stored: bytes, plain: bytes) -> Context:
    """The context of a symbolic link in a snapshot. Raises `DamagedError` for one that is half made."""
    context = read_auth(mount, stored, plain)
    if context is None:
        raise half_made(plain)
    return context


def require_only_read(flags: int, plain: bytes) -> None:
    """Raises `RefusedError` EROFS where the flags of open(2) ask for more."""
    if flags & os.O_ACCMODE != os.O_RDONLY or flags & (os.O_TRUNC | os.O_CREAT):
        raise read_only(plain)


def require_living(place: Place) -> None:
    """Raises `RefusedError` EROFS for what lies in a snapshot, and for `.snap` itself."""
    if place.snapshot is not None:
        raise read_only(place.plain)


def make_snapshot(mount: Mount, place: Place) -> None:
    """A snapshot of the directory in whose `.snap` the place is, under an encrypted name, as a kernel makes it.

    What other programs have not flushed yet may not be in it.

    Raises:
        LockedError: the key is not here.
        RefusedError: ENAMETOOLONG; EINVAL: the name begins as inherited ones do.
        CephError: EPERM where the entity may not make snapshots.
    """
    if place.name.startswith(b"_"):
        raise RefusedError(
            errno.EINVAL,
            "names with _ in front are those of snapshots that were made further up",
            place.plain,
            remedy="Use another name.",
        )
    if place.as_stored:
        # it is there, under a name that was not encrypted: two would be shown alike
        raise RefusedError(
            errno.EEXIST, "there is a snapshot of that name", place.plain, remedy="Use another name."
        )
    mount.mkdir(place.new, 0o755)


def remove_snapshot(mount: Mount, place: Place) -> None:
    """Remove a snapshot; no key is needed.

    Raises:
        NotFoundError: it is not there.
        RefusedError: EINVAL: it was made further up.
    """
    stored = place.existing
    if stored.rpartition(b"/")[2].startswith(b"_"):
        raise RefusedError(
            errno.EINVAL,
            "it was made in a directory further up",
            place.plain,
            remedy=f"Remove it in the {SNAPSHOTS.decode()} of the directory with the inode number at its end.",
        )
    # libcephfs 18.2.7 never unmounts again after it was told that a snapshot to be removed is not there
    mount.stat(stored)
    mount.rmdir(stored)


def read_only(plain: bytes) -> RefusedError:
    """A snapshot is as it is."""
    return RefusedError(
        errno.EROFS,
        "snapshots cannot be changed",
        plain,
        remedy="Copy what you need out of the snapshot, and change the copy.",
    )
