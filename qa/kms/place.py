"""A key manager's real server as the tests need it: with keys, credentials that count and some that do not."""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import ClassVar

from mgr_fscrypt.keys.kms import Kms, Settings, open_kms, trust
from qa.fakes.ports import free_port
from qa.kms.certificates import Authority, Pair

_PATIENCE = 90.0
"""Seconds in which a server has started."""


def told(settings: Settings) -> list[str]:
    """What `cephfs-fscrypt kms add` is told of them, behind the name."""
    words = ["--kind", settings.kind, "--address", settings.address, "--key", settings.key]
    options = (("--option", f"{name}={value}") for name, value in settings.options.items())
    return [*words, "--file", settings.credentials, *chain.from_iterable(options)]


class LocalPlace(ABC):
    """A key manager without a network between, and a directory with credentials for it."""

    kind: ClassVar[str]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.credentials = folder / "credentials"
        self.credentials.mkdir(0o700)
        self.start()

    @abstractmethod
    def start(self) -> None:
        """Make it ready."""

    @abstractmethod
    def settings(self) -> Settings:
        """For a fresh key."""

    @abstractmethod
    def refused(self, settings: Settings) -> Settings:
        """With credentials that it does not accept."""

    @abstractmethod
    def revocations(self) -> Mapping[str, Callable[[Settings], None]]:
        """The ways in which its administrator can take a key away, by name."""

    def open(self, settings: Settings, timeout: float) -> Kms:
        """Reach it, with a credentials file that is for these settings."""
        trust(self.credentials, settings)
        return open_kms(settings, self.credentials, timeout=timeout)

    def write_credentials(self, name: str, fields: Mapping[str, str]) -> str:
        """A credentials file; answers its name."""
        file = self.credentials / name
        file.touch(0o600)
        file.write_text(json.dumps(dict(fields)))
        return name

    def secrets(self) -> list[bytes]:
        """What its credentials files hold, and must be in no message and no log."""
        fields = [json.loads(file.read_text()) for file in self.credentials.iterdir() if not file.suffix]
        return [value.encode() for each in fields for name, value in each.items() if name not in _PUBLIC]


class Place(LocalPlace):
    """A key manager's real server, over TLS."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        """Where its server listens."""
        super().__init__(folder)

    def start(self) -> None:
        """See `LocalPlace`."""
        self.authority = Authority(self.credentials)
        self.server = self.authority.issue("server")
        self.process = self.serve()

    @abstractmethod
    def serve(self) -> "Process":
        """Start the server, and wait until it serves."""

    def stop(self) -> None:
        """End the server."""
        self.process.end()

    def pause(self) -> None:
        """Let the server hang for a while."""
        self.process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.process.signal(signal.SIGCONT)

    def context_of_a_client(self, settings: Settings) -> ssl.SSLContext:
        """As its clients connect."""
        return ssl.create_default_context(cafile=self.authority.file)

    def certificate_of_a_client(self, settings: Settings, pair: Pair) -> Settings:
        """With another client's certificate. Where clients show one."""
        raise NotImplementedError

    def address(self, port: int) -> str:
        """An address at another port of the loopback."""
        return f"https://localhost:{port}"

    def at(self, settings: Settings, port: int) -> Settings:
        """The same key manager at another port."""
        return replace(settings, address=self.address(port))


_PUBLIC = (
    "for",
    "role_id",
    "access_key_id",
    "certificate",
    "private_key",
    "username",
    "tenant_id",
    "client_id",
    "key_id",
)


class Process:
    """A server's process, which ends with the tests."""

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    def wait_for(self, ready: Callable[[], bool]) -> None:
        """Until it serves.

        Raises:
            RuntimeError: it ended, or does not serve; with the end of its log.
        """
        until = time.monotonic() + _PATIENCE
        try:
            self._wait_for(ready, until)
        except BaseException:
            self.end()
            raise

    def _wait_for(self, ready: Callable[[], bool], until: float) -> None:
        while not ready():
            if self._process.poll() is not None or time.monotonic() > until:
                msg = f"{self._process.args!r}: {self._log.read_text()[-2000:]}"
                raise RuntimeError(msg)
            time.sleep(0.05)

    def signal(self, number: signal.Signals) -> None:
        """To it and its children."""
        os.killpg(self._process.pid, number)

    def end(self) -> None:
        """End it and its children."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def program(name: str) -> str:
    """Where a program is: beside this Python first, as tox does not say so to those it starts."""
    beside = Path(sys.executable).parent / name
    found = (
        str(beside) if beside.exists() else shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    )
    if found is None:
        msg = f"there is no program {name}: `qa/run test kms` brings it along"
        raise RuntimeError(msg)
    return found


def listens(port: int) -> bool:
    """Whether something does."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
