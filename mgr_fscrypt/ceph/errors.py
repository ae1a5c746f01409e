"""What a cluster answers when it does not do what was asked: native `OSError`s with the errno.

`rados.Error` and `cephfs.Error` are not Python's `OSError` (doc/facts.md F15); nothing of them leaves this room.
"""

import errno
import os


class CephError(OSError):
    """The cluster refused or failed; `errno` says how, `filename` on what (as stored, not as plaintext)."""


class NotFoundError(CephError, FileNotFoundError):
    """ENOENT: the path, object or pool is not there."""


class ExistsError(CephError, FileExistsError):
    """EEXIST."""


class NoAttributeError(CephError):
    """ENODATA: the inode has no such extended attribute."""


class UnreachableError(CephError):
    """The cluster did not answer in time. Nothing was asked of it but to connect."""


class UnsupportedReleaseError(CephError):
    """A release of Ceph that this program must not write to (or, below 18, cannot use at all)."""


class LeaseLostError(CephError):
    """Somebody else took a lease that was ours, or may have: its holder must start again from what is stored."""


class LeaseHeldError(CephError):
    """Another client keeps the lease on an inode."""


class NotAllowedError(CephError, PermissionError):
    """EACCES or EPERM: the caps of the entity, or the mode of the inode, do not allow it."""


_CLASSES: dict[int, type[CephError]] = {
    errno.ENOENT: NotFoundError,
    errno.EEXIST: ExistsError,
    errno.ENODATA: NoAttributeError,
    errno.EACCES: NotAllowedError,
    errno.EPERM: NotAllowedError,
}


def error_of(number: int, action: str, subject: bytes | str | None = None) -> CephError:
    """The exception for errno `number`, met when `action` was tried on `subject`."""
    kind = _CLASSES.get(number, CephError)
    message = f"{os.strerror(number)} ({action})"
    return kind(number, message) if subject is None else kind(number, message, subject)
