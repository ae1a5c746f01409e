"""A path socket for a service that nobody's child is: who may connect, and what an older one left behind."""

import fcntl
import logging
import os
import pwd
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PEER = struct.Struct("iII")
_log = logging.getLogger(__name__)


class ListeningError(Exception):
    """The socket cannot be made here. The message says what to do."""


class Listener:
    """A listening socket that only some users may connect to."""

    def __init__(self, listening: socket.socket, users: frozenset[int]) -> None:
        """`users` are the numbers of those who may."""
        self.socket = listening
        self._users = users

    def accept(self) -> socket.socket | None:
        """The next connection; None where its user may not, or it is gone already."""
        try:
            connection, _ = self.socket.accept()
        except OSError:
            return None
        pid, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if uid in self._users:
            return connection
        _log.warning("user %d (process %d) may not connect", uid, pid)
        connection.close()
        return None


@contextmanager
def listening(path: Path, peer: str | None = None) -> Iterator[Listener]:
    """Listen for a ``with`` block, for root, our own user and the user `peer`.

    The directory is made, for our user only, unless there is a `peer`: others may pass through it then, and the check
    of who connects is what keeps them out.

    Raises:
        ListeningError: the directory is not safe, another service listens, or there is no such user.
    """
    users = {0, os.geteuid()} | ({_number_of(peer)} if peer is not None else set())
    _prepare(path.parent, open_to_pass=peer is not None)
    with _alone(path), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        # we are alone: what lies there was left by one that was killed
        path.unlink(missing_ok=True)
        try:
            made.bind(str(path))
            path.chmod(0o666 if peer is not None else 0o600)
        except OSError as error:
            raise ListeningError(f"cannot make the socket {path}: {error.strerror}") from error
        made.listen()
        made.setblocking(False)
        try:
            yield Listener(made, frozenset(users))
        finally:
            path.unlink(missing_ok=True)


def _number_of(user: str) -> int:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError as error:
        raise ListeningError(f"there is no user {user} on this host; name another one with --peer") from error


def _prepare(directory: Path, *, open_to_pass: bool) -> None:
    try:
        if not directory.exists():
            directory.mkdir(parents=True, mode=0o700)
            directory.chmod(0o711 if open_to_pass else 0o700)
        found = directory.stat()
    except OSError as error:
        raise ListeningError(f"cannot use the directory {directory}: {error.strerror}") from error
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022 or not stat.S_ISDIR(found.st_mode):
        raise ListeningError(
            f"{directory} must be a directory of this user's that others may not write to; "
            f"run `chmod go-w {directory}`, or name another one with --socket"
        )


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep a second service away from the same path."""
    try:
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ListeningError(f"cannot make {path}.lock: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ListeningError(
            f"another service listens on {path}; end it, or name another --socket"
        ) from error
    finally:
        os.close(lock)
