"""Half made children: the one rule by which makers, readers and checks tell them from complete ones.

A child is made with the mode `UNFINISHED`, gets its contents and its context, and its real mode last of all. So a
file or directory in an encrypted directory that has this mode is half made, *with or without* a context: after a crash
it may have one, and yet not its data (doc/spikes.md, 2). Nobody uses it, anybody may remove it. One with mode 0 is half
made as long as it has no context; symbolic links, which have no mode, are so too.
"""

import errno
import os
import stat

from ..ceph.interface import Identity, Kind, Mount, Stat
from .errors import BusyError, DamagedError, RefusedError

UNFINISHED = 0o200
"""The mode that children are made with. Not 0: libcephfs lets an owner who is not root set attributes only where he
may write (run on both releases). Nobody but root can read or enter such a child."""


def unfinished(found: Stat | Identity) -> bool:
    """Is this child of an encrypted directory half made, by its mode?"""
    return found.kind in (Kind.FILE, Kind.DIRECTORY) and _marks(found.mode)


def doubtful(found: Stat) -> bool:
    """May it be half made, by its mode? With mode 0, its context decides."""
    return unfinished(found) or (found.kind in (Kind.FILE, Kind.DIRECTORY) and not stat.S_IMODE(found.mode))


def make_file(mount: Mount, stored: bytes, most: int) -> int:
    """A new file with the mark, open; `most` is what its directory's default ACL leaves children.

    Where that takes the owner's right to write, and with it the mark, the mark is set, durably, before anything else.
    """
    fd = mount.open(stored, os.O_CREAT | os.O_EXCL | os.O_RDWR, UNFINISHED)
    if not most & UNFINISHED:
        try:
            mount.fchmod(fd, UNFINISHED)
            mount.fsync(fd)
        except BaseException:
            mount.close(fd)
            raise
    return fd


def make_directory(mount: Mount, stored: bytes, most: int) -> None:
    """A new directory with the mark, as `make_file`."""
    mount.mkdir(stored, UNFINISHED)
    if not most & UNFINISHED:
        mount.chmod(stored, UNFINISHED)
        mount.sync()


def require_usable_mode(mode: int, plain: bytes) -> None:
    """Raises `RefusedError` EINVAL for the mode that marks what is half made."""
    if _marks(mode):
        raise RefusedError(
            errno.EINVAL,
            f"mode {stat.S_IMODE(mode):04o} marks what is half made",
            plain,
            remedy="Use another mode, such as 0400. Nothing was changed.",
        )


def require_linked(found: Stat, plain: bytes) -> None:
    """Raises `BusyError` ESTALE where the open child that is about to be acknowledged has no name any more."""
    if found.nlink == 0:
        raise BusyError(
            errno.ESTALE,
            "somebody removed it while it was made: nothing of it is kept",
            plain,
            remedy="Make it again.",
        )


def half_made(plain: bytes) -> DamagedError:
    """A child that was never completed (doc/engine-xattr.md)."""
    return DamagedError(
        errno.EBUSY,
        "half made: its maker is still at it, or died",
        plain,
        remedy="Try again; if it stays so, remove it: nothing was ever acknowledged in it. "
        "(If somebody gave it mode 0200 by hand, give it another through a plain mount.)",
    )


def _marks(mode: int) -> bool:
    return stat.S_IMODE(mode) & ~stat.S_ISGID == UNFINISHED
