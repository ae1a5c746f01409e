"""What to tell a person about an exception, and the exit code that goes with it.

The rooms below say what happened in their own terms; here it becomes advice with a command to run.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..ceph.errors import (
    CephError,
    LeaseHeldError,
    NotFoundError,
    QuotaError,
    UnreachableError,
    UnsupportedReleaseError,
)
from ..engine import BusyError, DamagedError, EngineError, LockedError, NotFencedError, RefusedError
from ..format import ContextError, FormatError, MasterKeyError
from ..keys.errors import (
    ContainerError,
    DestroyedError,
    KeyStoreError,
    KmsAnswerError,
    KmsUnreachableError,
    NoSuchKeyError,
    WrongSecretError,
)
from ..keys.private_files import AbsentFileError
from .outcome import Exit, Failure
from .progress import Progress

_ENGINE_CODES: dict[type[EngineError], Exit] = {
    LockedError: Exit.LOCKED,
    DamagedError: Exit.DIFFERS,
    RefusedError: Exit.REFUSED,
    BusyError: Exit.REFUSED,
    NotFencedError: Exit.REFUSED,
}
_KEY_CODES: dict[type[KeyStoreError], Exit] = {
    NoSuchKeyError: Exit.NOT_FOUND,
    AbsentFileError: Exit.NOT_FOUND,
    WrongSecretError: Exit.LOCKED,
    DestroyedError: Exit.LOCKED,
    ContainerError: Exit.DIFFERS,
    KmsUnreachableError: Exit.UNREACHABLE,
    KmsAnswerError: Exit.UNREACHABLE,
}
_REFUSALS = frozenset(
    {errno.EACCES, errno.EPERM, errno.EXDEV, errno.ENAMETOOLONG, errno.ENOTEMPTY, errno.EROFS, errno.ESTALE}
)
_PLACES = frozenset({errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL, errno.ELOOP})


def shown(path: object) -> str:
    """Write a path or name so that no character of it can move a terminal's cursor."""
    text = os.fsdecode(path) if isinstance(path, bytes | str) else str(path)
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode()
        for char in text.encode("utf-8", "backslashreplace").decode()
    )


def failure_of(error: Exception) -> Failure | None:
    """Give what to tell about an exception; None for one that only a mistake of ours explains."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, EngineError):
        return _engine_failure(error)
    if isinstance(error, KeyStoreError):
        return _key_failure(error)
    if isinstance(error, CephError):
        return _ceph_failure(error)
    if isinstance(error, MasterKeyError):
        return Failure(Exit.LOCKED, str(error), remedy="give the key whose identifier `subtree status` shows")
    if isinstance(error, ContextError):
        return Failure(
            Exit.DIFFERS,
            f"damaged: {error}",
            remedy="restore it from a snapshot, or report it with these words",
        )
    if isinstance(error, FormatError):
        return Failure(Exit.REFUSED, str(error))
    if isinstance(error, OSError) and error.errno is not None:
        return _local_failure(error)
    return None


@contextmanager
def copying(progress: Progress) -> Iterator[None]:
    """A copy, whose progress ends with it; what cuts it short tells how many entries are complete."""
    try:
        yield
    except Exception as error:
        failure = _cut_short(error, progress.entries)
        if failure is None:
            raise
        raise failure from error
    finally:
        progress.close()


def _cut_short(error: Exception, entries: int) -> Failure | None:
    failure = failure_of(error)
    if failure is None:
        return None
    remedy = failure.remedy
    if isinstance(error, FileExistsError):
        remedy = "choose another target, or add --replace"
    left = f"what exists, and what was not reached; {entries} entries were copied and are complete"
    return Failure(failure.code, failure.happened, left=left, remedy=remedy)


def _about(error: OSError) -> str:
    # the rooms below put names into their words as they are
    words = shown(error.strerror or str(error))
    # of a call with two names, the second one is what was to be made
    path = error.filename2 if error.filename2 is not None else error.filename
    return f"{shown(path)}: {words}" if path is not None else words


def _engine_failure(error: EngineError) -> Failure:
    code = next((code for kind, code in _ENGINE_CODES.items() if isinstance(error, kind)), Exit.INTERNAL)
    # the line above the remedy says that already
    return Failure(code, _about(error), remedy=shown(error.remedy.removesuffix(" Nothing was changed.")))


def _key_failure(error: KeyStoreError) -> Failure:
    code = next((code for kind, code in _KEY_CODES.items() if isinstance(error, kind)), Exit.REFUSED)
    return Failure(code, shown(error), remedy=error.remedy)


def _ceph_failure(error: CephError) -> Failure:
    if isinstance(error, UnreachableError):
        return Failure(
            Exit.UNREACHABLE, _about(error), remedy="look at `ceph -s`; check --conf, and the host's network"
        )
    if isinstance(error, NotFoundError):
        return Failure(
            Exit.NOT_FOUND, _about(error), remedy="see what is there with `cephfs-fscrypt ls` of its parent"
        )
    if isinstance(error, UnsupportedReleaseError):
        return Failure(Exit.REFUSED, _about(error), remedy="use a release of Ceph from 18 to 20")
    if isinstance(error, LeaseHeldError):
        return Failure(
            Exit.REFUSED, _about(error), remedy="another client writes it; try again when it is done"
        )
    if isinstance(error, QuotaError):
        return Failure(
            Exit.REFUSED,
            _about(error),
            left="what was written before stays",
            remedy="run it again once there is room; `getfattr -n ceph.quota.max_bytes DIRECTORY` shows a quota",
        )
    if error.errno in (errno.ETIMEDOUT, errno.ENOTCONN, errno.ESHUTDOWN):
        return Failure(
            Exit.UNREACHABLE,
            _about(error),
            left="what was done before stays; the last step may be incomplete",
            remedy="look at `ceph -s` and at `ceph osd blocklist ls`, then run it again",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return Failure(
            Exit.REFUSED,
            _about(error),
            remedy="look at this entity's caps with `ceph auth get` and at the modes",
        )
    if error.errno in _REFUSALS | _PLACES:
        return Failure(Exit.REFUSED, _about(error))
    return Failure(Exit.INTERNAL, _about(error), left="what was done before stays")


def _local_failure(error: OSError) -> Failure:
    if error.errno == errno.ENOENT:
        return Failure(Exit.NOT_FOUND, _about(error))
    if error.errno in _REFUSALS | _PLACES:
        return Failure(Exit.REFUSED, _about(error))
    return Failure(Exit.INTERNAL, _about(error), left="what was done before stays")
