"""The parent's side of one child process: starting it, calling it, and noticing that it died."""

import logging
import socket
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from . import frames, values
from .changes import Changes

CONNECT, END = b"c", b"e"
"""What the parent says on the control socket: here is one more connection for calls; end in good order."""
DONE, REFUSED, MISTAKE = range(3)
"""How a call ended: with a value, with an error of the cluster, with an exception that only a mistake explains."""
_LAST_LINES = 5.0
_log = logging.getLogger(__name__)


class DiedError(Exception):
    """The child is gone. `asked`: it may have done what it was asked for before."""

    def __init__(self, *, asked: bool) -> None:
        super().__init__("the process that held libcephfs ended")
        self.asked = asked


class Child:
    """One child process. Calls may come from several threads: each call has a connection of its own while it lasts.

    The thread that makes a `Child` must outlive it: the child is killed when that thread ends (doc/facts.md M11).

    Attributes:
        session: the uuid of its session.
        unsynced: the attributes of inodes that it was told to change; in its caches until `sync`.
    """

    def __init__(self, command: Sequence[str], session: str, settings: object) -> None:
        """Start `command`, with the number of its end of the control socket as one argument more, and send it
        `settings`."""
        self.session = session
        self.unsynced = Changes()
        self.ended_well = False
        self._idle: list[socket.socket] = []
        self._gone = False
        self._turn = threading.Lock()
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                # a terminal's signals are for the parent, which ends its child in good order
                start_new_session=True,
            )
        self._listener = threading.Thread(target=self._listen, name="fscrypt-child-log", daemon=True)
        self._listener.start()
        with suppress(OSError):  # it died already: `greeting` says so
            frames.send(self._control, settings)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def greeting(self) -> Any:
        """What it says when it is ready.

        Raises:
            DiedError: it died instead.
            CephError: the cluster refused; it has ended in good order.
        """
        try:
            outcome, _ = frames.receive(self._control)
        except EOFError:
            raise DiedError(asked=True) from None
        return _value(outcome)

    def ask(self, name: str, *arguments: object, data: bytes = b"") -> tuple[Any, bytes]:
        """One call: its value, and bytes.

        Raises:
            DiedError: the child died before it answered.
            CephError: the cluster refused.
        """
        connection = self._connection()
        try:
            try:
                frames.send(connection, (name, arguments), data)
            except OSError:
                raise DiedError(asked=False) from None
            try:
                outcome, found = frames.receive(connection)
            except EOFError:
                raise DiedError(asked=True) from None
        except BaseException:
            # also when this thread was interrupted: the next call must not get this one's answer
            connection.close()
            raise
        self._release(connection)
        return _value(outcome), found

    def end(self) -> None:
        """Have it unmount and end; nothing happens when it is dead. `wait` returns when it has."""
        with suppress(OSError):
            self._control.sendall(END)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def wait(self) -> int:
        """Until it is gone; its exit code, negative for a signal. To be called once, after `greeting`."""
        try:
            while True:
                outcome, _ = frames.receive(self._control)
                self.ended_well = outcome is None
        except EOFError:
            pass
        code = self._process.wait()
        self._listener.join(_LAST_LINES)
        with self._turn:
            self._control.close()
            self._gone = True
        while self._idle:
            self._idle.pop().close()
        return code

    def _connection(self) -> socket.socket:
        try:
            return self._idle.pop()
        except IndexError:
            pass
        ours, theirs = socket.socketpair()
        with theirs, self._turn:
            try:
                socket.send_fds(self._control, [CONNECT], [theirs.fileno()])
            except OSError:
                ours.close()
                raise DiedError(asked=False) from None
        return ours

    def _release(self, connection: socket.socket) -> None:
        """For the next call; but one that was answered just before the death may come after `wait`."""
        with self._turn:
            if not self._gone:
                self._idle.append(connection)
                return
        connection.close()

    def _listen(self) -> None:
        """Its standard error is where libcephfs says why it aborts."""
        if self._process.stderr is not None:
            with self._process.stderr as lines:
                for line in lines:
                    _log.warning(
                        "libcephfs, process %d: %s", self.pid, line.decode(errors="replace").rstrip()
                    )


def _value(outcome: tuple[int, Any]) -> Any:
    how, value = outcome
    if how == REFUSED:
        raise values.error_of(value)
    if how == MISTAKE:
        raise RuntimeError(f"a mistake of this program in the process that holds libcephfs:\n{value}")
    return value
