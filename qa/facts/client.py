"""CephFS clients in processes of their own, for facts that need several of them or that kill one.

libcephfs aborts the whole process in some of the facts (F4, F5), so such a client must not live in the test's
process; and it is spawned, never forked (F15). A dead client's session keeps its capabilities and blocks everyone
else on the same files (F14), so whoever ends a client here also evicts it.
"""

import errno
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from qa.lab.cluster import Cluster

CALL_SECONDS = 30.0
"""How long a call may take before `SilenceError`, unless the test says otherwise."""


class DeathError(Exception):
    """The client's process was ended by a signal in the middle of a call; `said` is what it wrote before."""

    def __init__(self, number: int, said: str) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}: {said.strip()}")
        self.signal = number
        self.said = said


class RefusedError(Exception):
    """The call answered with an error; `errno` is Ceph's."""

    def __init__(self, method: str, number: int, message: str) -> None:
        super().__init__(f"{method}: {errno.errorcode.get(number, number)}: {message}")
        self.errno = number


class SilenceError(Exception):
    """No answer within the time given; the call is still under way."""


class Client:
    """One mount in a child process; every method of `cephfs.LibCephFS` can be called on it by its name.

    Calls raise `RefusedError` for an error of Ceph, `DeathError` when the process is ended by a signal,
    `SilenceError` when the answer takes too long. `ask` and `answer` are the two halves of a call, for one that is
    meant to wait.
    """

    def __init__(self, cluster: "Cluster", entity: str, options: dict[str, str], root: str = "/") -> None:
        self._cluster = cluster
        self._buried = False
        self._method = "mount"
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in end()
        self._pipe, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("client_process.py")), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stderr=self._stderr,
            )
        self._pipe.send((entity, options, root))
        try:
            self.session: int = self.answer()
            """The number under which the MDS knows this client."""
        except BaseException:
            self._pipe.close()
            self._stderr.close()
            raise

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return partial(self._call, method)

    def _call(self, method: str, *arguments: Any) -> Any:
        self.ask(method, *arguments)
        return self.answer()

    def ask(self, method: str, *arguments: Any) -> None:
        """Start a call; its outcome comes from `answer`."""
        self._method = method
        self._pipe.send((method, arguments))

    def answer(self, seconds: float = CALL_SECONDS) -> Any:
        """The value of the call under way."""
        if not self._pipe.poll(seconds):
            raise SilenceError(f"{self._method}: no answer in {seconds} s")
        try:
            number, value = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            raise self._end() from None
        if number is not None:
            raise RefusedError(self._method, number, value)
        return value

    def _end(self) -> Exception:
        code = self._process.wait(CALL_SECONDS)
        self._stderr.seek(0)
        said = self._stderr.read().decode(errors="replace")
        return DeathError(-code, said) if code < 0 else RuntimeError(f"client ended with {code}: {said}")

    def last_words(self, seconds: float = CALL_SECONDS) -> DeathError:
        """Wait until what was done kills this client, be it before or after its own call is answered.

        Raises:
            SilenceError: it lives on.
        """
        end = time.monotonic() + seconds
        while self._pipe.poll(max(0.0, end - time.monotonic())):
            try:
                self._pipe.recv()
            except (EOFError, ConnectionResetError):
                death = self._end()
                if isinstance(death, DeathError):
                    return death
                raise death from None
        raise SilenceError(f"still alive after {seconds} s")

    @property
    def process(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """End the process at once and leave its session as it is."""
        self._process.kill()
        self._process.wait(CALL_SECONDS)

    def evict(self) -> None:
        """Have the MDS drop this client's session, dead or alive."""
        self._cluster.ceph("tell", "mds.cephfs:0", "client", "evict", f"id={self.session}")
        self._buried = True

    def bury(self) -> None:
        """Evict the session if its process is dead, so that nobody waits for its capabilities."""
        if not self.alive and not self._buried:
            self.evict()

    def end(self) -> None:
        """Unmount and end; a client that does not end by itself is killed and evicted."""
        self._pipe.close()
        try:
            self._process.wait(CALL_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        if self._process.returncode != 0:
            self.bury()
        self._stderr.close()


class Clients:
    """The clients of one test: opened on demand, all gone when it ends."""

    def __init__(self, cluster: "Cluster") -> None:
        self._cluster = cluster
        self._all: list[Client] = []

    def open(self, entity: str = "admin", *, root: str = "/", **options: str) -> Client:
        """A client that mounted `root` as `entity`, with ceph options of its own."""
        client = Client(self._cluster, entity, options, root)
        self._all.append(client)
        return client

    def end(self, client: Client) -> None:
        """Unmount one client now."""
        self._all.remove(client)
        client.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # the dead first: unmounting waits for what they hold
        for client in self._all:
            client.bury()
        for client in self._all:
            client.end()
