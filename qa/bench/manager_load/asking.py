"""Commands to ceph-mgr without the time that the program `ceph` takes to start."""

import errno
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import rados


class NotNowError(RuntimeError):
    """It is to be asked again: others were before, or the database is slow."""


class Asking:
    """A client of the manager."""

    def __init__(self, connection: rados.Rados) -> None:
        self._connection = connection

    def ask(self, prefix: str, given: bytes = b"", **arguments: object) -> bytes:
        """Give the answer.

        Raises:
            NotNowError: it is to be asked again.
            RuntimeError: it is refused.
        """
        code, answer, words = self._connection.mgr_command(json.dumps({"prefix": prefix, **arguments}), given)
        if code == -errno.EAGAIN:
            raise NotNowError(f"{prefix}: {words}")
        if code != 0:
            raise RuntimeError(f"{prefix}: {words}")
        return bytes(answer)

    def timed(self, prefix: str, given: bytes = b"", **arguments: object) -> float:
        """Give the milliseconds until the answer."""
        begun = time.perf_counter()
        self.ask(prefix, given, **arguments)
        return (time.perf_counter() - begun) * 1000


@contextmanager
def asking() -> Iterator[Asking]:
    """Connected as the cluster's configuration says."""
    with rados.Rados(conffile="") as connection:
        yield Asking(connection)
