"""Files with secrets, which nobody but their owner may read: keys, and what opens key managers."""

import os
import secrets
import stat
from pathlib import Path

from .errors import KeyStoreError

_HANDED_OVER = "CREDENTIALS_DIRECTORY"
"""The variable in which systemd names the directory of a service's credentials."""


class UnsafeFileError(KeyStoreError):
    """Others may use it, it belongs to another user, or it cannot be read."""


class AbsentFileError(KeyStoreError):
    """There is no such file."""


class PresentFileError(KeyStoreError):
    """There is a file of that name, and what is in it is not written over."""


def require_absent(file: Path) -> None:
    """Raises `PresentFileError`: `write_private` could not make it."""
    if os.path.lexists(file):
        raise _present(file)


def write_private(file: Path, data: bytes) -> None:
    """Make a new file that only its owner may read; durable when it returns.

    Raises:
        PresentFileError: there is one of that name.
        OSError: it cannot be made; nothing of it is left.
    """
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise _present(file) from error
    with os.fdopen(descriptor, "wb") as opened:
        try:
            opened.write(data)
            opened.flush()
            os.fsync(descriptor)
        except BaseException:
            # half a secret would stand in the way of a whole one
            file.unlink()
            raise
    _sync(file.parent)


def replace_private(file: Path, data: bytes) -> None:
    """Put other bytes into a file that only its owner may read: whoever reads it finds the old or the new ones,
    whole. Durable when it returns.

    Raises:
        OSError: it cannot be written; it is as it was.
    """
    # a link stays one
    file = file.resolve()
    beside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    write_private(beside, data)
    try:
        beside.replace(file)
    except OSError:
        beside.unlink()
        raise
    _sync(file.parent)


def read_private(
    file: Path, what: str, *, limit: int, irregular: str = "put what is in it into a file"
) -> bytes:
    """Read a file of the caller's own that nobody else may use.

    Args:
        file: where it is.
        what: it is, for messages: "key file".
        limit: how many bytes to read at most.
        irregular: what to do where it is a pipe, a directory or a device.

    Raises:
        AbsentFileError: it is not there.
        UnsafeFileError: it is not the caller's alone, or cannot be read. Nothing of it was read then.
    """
    try:
        # not blocking: a FIFO would wait for its writer before it can be refused
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise AbsentFileError(f"there is no {what} {file}") from error
    except OSError as error:
        raise UnsafeFileError(
            f"cannot read {what} {file}: {error.strerror}", remedy=f"look at `ls -l {file}`"
        ) from error
    try:
        _require_private(file, what, os.fstat(descriptor), irregular)
        return os.read(descriptor, limit)
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _present(file: Path) -> PresentFileError:
    return PresentFileError(f"{file} exists", remedy="choose another name")


def _require_private(file: Path, what: str, found: os.stat_result, irregular: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise UnsafeFileError(f"{what} {file} is not a regular file", remedy=irregular)
    if _is_handed_over(file, found):
        return
    if found.st_uid != os.geteuid():
        raise UnsafeFileError(
            f"{what} {file} belongs to user {found.st_uid}, not to you ({os.geteuid()})",
            remedy="take a copy of your own that nobody else may read, or run this as its owner",
        )
    if found.st_mode & 0o077:
        raise UnsafeFileError(
            f"others may use {what} {file} (mode {stat.S_IMODE(found.st_mode):04o})",
            remedy=f"run `chmod 600 {file}`, and ask yourself who has read it",
        )


def _is_handed_over(file: Path, found: os.stat_result) -> bool:
    """Whether systemd put it into the directory of this service's credentials (`LoadCredential=`). There a file belongs
    to root and has an ACL for the service's user, of which the bits for the group are the mask."""
    directory = os.environ.get(_HANDED_OVER)
    if not directory or file.absolute().parent != Path(directory):
        return False
    folder = os.stat(directory)  # noqa: PTH116 - of the two it is the twin of os.fstat
    return all(of.st_uid == 0 and not of.st_mode & 0o027 for of in (folder, found))
