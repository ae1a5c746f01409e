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


class WouldBlockError(CephError, BlockingIOError):
    """EAGAIN: another owner has a lock that excludes this one."""


class QuotaError(CephError):
    """EDQUOT: a directory on the way up may not have more bytes, or more files and directories."""


class LeaseLostError(CephError):
    """Somebody else took a lease that was ours, or may have: its holder must start again from what is stored."""


class LeaseHeldError(CephError):
    """Another client keeps the lease on an inode."""


class TurnTakenError(CephError):
    """EBUSY: another engine service has begun its turn: nothing was written."""


class SessionLostError(CephError):
    """ESHUTDOWN or ENOTCONN: the cluster ended our session, because this program was away for too long or was evicted.

    What it had not flushed is lost, its leases are gone, and so is every descriptor: only a new mount goes on.
    """


class ClientDiedError(CephError):
    """EIO: the process that holds libcephfs for us died (doc/facts.md F4), and a successor could not make up for it:
    a change may or may not have been made, or what was not flushed is lost. The message says which."""


class NotAllowedError(CephError, PermissionError):
    """EACCES or EPERM: the caps of the entity, or the mode of the inode, do not allow it."""


class DirectoryError(CephError, IsADirectoryError):
    """EISDIR."""


class NoDirectoryError(CephError, NotADirectoryError):
    """ENOTDIR."""


_CLASSES: dict[int, type[CephError]] = {
    errno.ENOENT: NotFoundError,
    errno.EEXIST: ExistsError,
    errno.ENODATA: NoAttributeError,
    errno.EAGAIN: WouldBlockError,
    errno.EDQUOT: QuotaError,
    errno.EACCES: NotAllowedError,
    errno.EPERM: NotAllowedError,
    errno.EISDIR: DirectoryError,
    errno.ENOTDIR: NoDirectoryError,
    errno.ESHUTDOWN: SessionLostError,
    errno.ENOTCONN: SessionLostError,
}
_QUOTA = (
    "a directory on the way up has all the bytes or files that its quota allows. What was written before stays. "
    "Remove something, or have ceph.quota.max_bytes or ceph.quota.max_files raised, and go on"
)
_LOST = (
    "this client was away for too long, or was evicted, and the cluster ended its session. "
    "What it wrote and did not fsync is lost; what it fsynced stands. Mount again"
)

_SENTENCES: dict[type[CephError], str] = {SessionLostError: _LOST, QuotaError: _QUOTA}


def error_of(number: int, action: str, subject: bytes | str | None = None) -> CephError:
    """The exception for errno `number`, met when `action` was tried on `subject`."""
    kind = _CLASSES.get(number, CephError)
    message = f"{_SENTENCES.get(kind) or os.strerror(number)} ({action})"
    return kind(number, message) if subject is None else kind(number, message, subject)
