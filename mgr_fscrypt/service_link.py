"""The manager's end of the engine service: starts it as a child, or connects to one that runs by itself.

ceph-mgr runs itself anew for reasons of its own, in the same process: what it started before is nobody's then. So a
child lives by its socket, which closes with ours, and by the thread that started it (doc/facts.md M11).
"""

import logging
import os
import select
import shutil
import site
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .control.service import BusyError, ChannelError
from .messages.exchange import Answer, Request
from .messages.lines import Lines, line_of
from .messages.service import Ask, Said
from .messages.strict import MessageError

PACKAGE = Path(__file__).resolve().parent
_PARTING = 4.0
"""Seconds that a child has for ending in good order: it wipes its keys, and gives its turn back."""
_CONNECTING = 5.0
_PIECE = 65_536
_LAST_LINES = 5


@dataclass(frozen=True)
class Way:
    """How the service should run.

    Attributes:
        socket: the path of the socket of one that runs by itself; empty: it is a child.
        python: the interpreter of a child; empty: the one of this process.
        conf: Ceph's configuration file.
        entity: whom a child connects as.
        keyring: where the entity's key is; empty: where the configuration says.
        file_system: the name of its file system.
        longest: seconds for which a child may keep keys beyond the jobs that need them.
    """

    socket: str
    python: str
    conf: str
    entity: str
    keyring: str
    file_system: str
    longest: float

    def command(self, inherited: int) -> list[str]:
        """The child's command line. Nothing secret is in it."""
        said = {
            "--inherited": str(inherited),
            "--conf": self.conf,
            "--name": self.entity,
            "--keyring": self.keyring,
            "--fs": self.file_system,
            "--resident-limit": f"{self.longest:g}",
        }
        words = [word for name, value in said.items() if value for word in (name, value)]
        # -P: the working directory is no place to import from
        return [self.python or interpreter(), "-P", "-m", f"{PACKAGE.name}.service", *words]


class ServiceLink:
    """A `control.service.Launcher`."""

    def __init__(self, settings: Callable[[], Way | None], log: logging.Logger) -> None:
        """`settings` tells how it should run as things are now; a child's words go to `log`."""
        self.settings = settings
        self._log = log

    def start(self, settings: Way) -> "SocketChannel":
        """Start a child, or connect to a path.

        Raises:
            ChannelError: it cannot be started, or nobody listens there.
        """
        if settings.socket:
            return SocketChannel(_connected(settings.socket))
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                child = Child(settings.command(theirs.fileno()), theirs.fileno(), self._log)
            except OSError as error:
                ours.close()
                raise ChannelError(
                    f"the engine service cannot be started: {error}",
                    remedy="name an interpreter that has `cryptography` and Ceph's `rados`: "
                    "`ceph config set mgr mgr/fscrypt/service_python PATH`",
                ) from error
        return SocketChannel(ours, child)


class Child:
    """The process of a service that we started. The thread that makes it must outlive it."""

    def __init__(self, command: list[str], inherited: int, log: logging.Logger) -> None:
        """Start it. Raises OSError."""
        self._log = log
        self._said: deque[str] = deque(maxlen=_LAST_LINES)
        self._process = subprocess.Popen(
            command,
            pass_fds=[inherited],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd="/",
            env=os.environ | _way_to_us(),
            # the manager's signals are not for it
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen, name="fscrypt-service-log", daemon=True)
        self._listener.start()

    def end(self) -> None:
        """See it end: by itself, since its socket is closed, or killed."""
        try:
            self._process.wait(_PARTING)
        except subprocess.TimeoutExpired:
            self._log.warning("engine service: process %d is killed", self._process.pid)
            self._process.kill()
            self._process.wait()
        self._listener.join(1)

    def last_words(self) -> str:
        """How it ended, and what it said before; for after it was found gone."""
        try:
            code = self._process.wait(_PARTING)
        except subprocess.TimeoutExpired:
            return "it closed its socket, and goes on"
        self._listener.join(1)
        how = f"by signal {-code}" if code < 0 else f"with code {code}"
        return f"it ended {how}: {self._said[-1]}" if self._said else f"it ended {how}"

    def _listen(self) -> None:
        if self._process.stderr is not None:
            with self._process.stderr as lines:
                for line in lines:
                    text = line.decode(errors="replace").rstrip()
                    self._said.append(text)
                    self._log.info("engine service: %s", text)


class SocketChannel:
    """A `control.service.Channel` on a stream socket. One question is under way at a time."""

    def __init__(self, connection: socket.socket, child: Child | None = None) -> None:
        self._socket = connection
        self._child = child
        self._turn = threading.Lock()
        self._lines = Lines()
        self._number = 0

    def ask(self, ask: Ask, patience: float) -> Said:
        """What it answers. Raises as `control.service.Channel.ask` does."""
        end = time.monotonic() + patience
        if not self._turn.acquire(timeout=patience):
            raise BusyError
        try:
            return self._asked(ask, end)
        except TimeoutError:
            raise ChannelError(
                f"the service did not answer in {patience:g} s",
                remedy="look at the load of its host, and at its log",
            ) from None
        except (OSError, MessageError) as error:
            self.hang_up()
            raise ChannelError(
                f"the connection to the service is of no use: {error}",
                remedy="run the manager module and the service of one release",
            ) from error
        finally:
            self._turn.release()

    def idle(self, seconds: float) -> None:
        """Wait so long, or until the other end is gone or `hang_up` is called."""
        with suppress(OSError, ValueError):  # it is closed
            poll = select.poll()
            poll.register(self._socket, select.POLLRDHUP)
            poll.poll(1000 * seconds)

    def hang_up(self) -> None:
        """End the connection; returns at once."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """See to it that nothing is left of the connection, nor of the child."""
        self.hang_up()
        if self._child is not None:
            self._child.end()
        with self._turn:
            self._socket.close()

    def _asked(self, ask: Ask, end: float) -> Said:
        self._number += 1
        self._set_timeout(end)
        try:
            self._socket.sendall(line_of(Request(self._number, ask).encode()))
        except BrokenPipeError:
            raise self._gone() from None
        except TimeoutError:
            msg = "it does not take a whole question"
            raise MessageError(msg) from None
        while True:
            for line in self._received(end):
                answer = Answer.decode(line)
                # number 0: it could not read the question
                if answer.number in (0, self._number):
                    return answer.said

    def _received(self, end: float) -> list[str]:
        self._set_timeout(end)
        try:
            data = self._socket.recv(_PIECE)
        except ConnectionError:
            data = b""
        if not data:
            raise self._gone()
        return list(self._lines.feed(data))

    def _set_timeout(self, end: float) -> None:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)

    def _gone(self) -> ChannelError:
        if self._child is None:
            return ChannelError(
                "the service closed the connection",
                remedy="look at its log; run it with --peer and the user that ceph-mgr runs as",
            )
        return ChannelError(
            f"the engine service is gone: {self._child.last_words()}",
            remedy="see the manager's log; its interpreter needs `cryptography` and Ceph's `rados` (name another one "
            "with `ceph config set mgr mgr/fscrypt/service_python PATH`)",
        )


def _way_to_us() -> dict[str, str]:
    """What a child needs to find this package. Where the system has it, its Python knows the way, and environments with
    the system's packages do: told once more, all of those packages would come before the environment's own."""
    # ceph-mgr's Python calls /usr/lib /lib
    if PACKAGE.parent in (Path(folder).resolve() for folder in site.getsitepackages()):
        return {}
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(PACKAGE.parent), os.environ.get("PYTHONPATH"))))}


def interpreter() -> str:
    """The Python that runs this process, as a program: ceph-mgr embeds it, and says nothing of its name (M11)."""
    if sys.executable:
        return sys.executable
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    beside = Path(sys.exec_prefix) / "bin" / name
    return str(beside) if beside.exists() else shutil.which(name) or "python3"


def _connected(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_CONNECTING)
        connection.connect(path)
    except OSError as error:
        connection.close()
        raise ChannelError(
            f"no engine service can be reached at {path}: {error.strerror or error}",
            remedy="start it there (`python3 -m mgr_fscrypt.service --socket PATH`), or name another path: "
            "`ceph config set mgr mgr/fscrypt/service_socket PATH`",
        ) from error
    return connection
