"""What the encrypted file system refuses: native `OSError`s that say what to do next.

| class | the client's exit code |
|---|---|
| `LockedError` | 4 locked |
| `DamagedError` | 1 damage found |
| `RefusedError`, `BusyError`, `NotFencedError` | 3 refused as unsafe |
| `ceph.errors.NotFoundError` | 5 not found |
| `ceph.errors.UnreachableError` | 6 unreachable |
"""

import errno
from collections.abc import Mapping, Sequence

from ..ceph.interface import Session

ENOKEY = 126
"""`errno.ENOKEY` of Linux, which Python does not have everywhere."""


class EngineError(OSError):
    """The engine did not do it; nothing was changed unless the message says so.

    Attributes:
        remedy: the next step, as a sentence for people.
    """

    def __init__(self, number: int, message: str, path: bytes | None = None, *, remedy: str) -> None:
        if path is None:
            super().__init__(number, message)
        else:
            super().__init__(number, message, path)
        self.remedy = remedy

    def __reduce__(self) -> tuple[object, ...]:
        """From one process to another, whatever else a class keeps."""
        return _again, (type(self), self.errno, self.strerror, self.filename, dict(vars(self)))


class LockedError(EngineError):
    """ENOKEY: the key of the policy is not in the keyring, as the kernel answers."""

    def __init__(self, path: bytes, key: bytes) -> None:
        super().__init__(
            ENOKEY,
            f"locked: needs the key {key.hex()}",
            path,
            remedy="Give the key with that identifier, then try again.",
        )
        self.key = key


class RefusedError(EngineError):
    """What was asked is not allowed here; errno is the one that the kernel gives (EXDEV, EPERM, ENOTEMPTY, ...).

    Where Python has a class of its own for that errno, it is one of these as well, as it would be of `open`.
    """

    def __init__(self, number: int, message: str, path: bytes | None = None, *, remedy: str) -> None:
        super().__init__(number, message, path, remedy=remedy)
        # OSError picks a class by the errno when it is made, but never for a subclass; who has one of its own keeps it
        if type(self) is RefusedError:
            self.__class__ = _NATIVE.get(number, RefusedError)


class RefusedPermissionError(RefusedError, PermissionError):
    """EACCES, EPERM."""


class RefusedExistsError(RefusedError, FileExistsError):
    """EEXIST."""


class RefusedDirectoryError(RefusedError, IsADirectoryError):
    """EISDIR."""


class RefusedPlaceError(RefusedError, NotADirectoryError):
    """ENOTDIR."""


_NATIVE: Mapping[int, type[RefusedError]] = {
    errno.EACCES: RefusedPermissionError,
    errno.EPERM: RefusedPermissionError,
    errno.EEXIST: RefusedExistsError,
    errno.EISDIR: RefusedDirectoryError,
    errno.ENOTDIR: RefusedPlaceError,
}


class BusyError(EngineError):
    """EBUSY: it cannot be done now, while others use the file or in the mode that it is in."""


class DamagedError(EngineError):
    """What is stored is not something that the engine or the kernel leaves behind when all goes well."""


class NotFencedError(EngineError):
    """EBUSY: other clients can reach the subtree, and would undo or be killed by what was asked (F4, F5b)."""

    def __init__(self, path: bytes, sessions: Sequence[Session]) -> None:
        super().__init__(
            errno.EBUSY,
            f"{len(sessions)} other client(s) can reach it: " + "; ".join(str(one) for one in sessions),
            path,
            remedy="Unmount them, or ask for their eviction. Nothing was changed.",
        )
        self.sessions = tuple(sessions)


def _again(
    kind: type[EngineError], number: int, message: str, path: bytes | None, more: dict[str, object]
) -> EngineError:
    error = kind.__new__(kind)
    if path is None:
        OSError.__init__(error, number, message)
    else:
        OSError.__init__(error, number, message, path)
    vars(error).update(more)
    return error
