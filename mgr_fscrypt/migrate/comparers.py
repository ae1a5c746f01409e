"""Processes of this host that compare for another one, each with a mount of its own (`pool`)."""

import atexit
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import ClassVar

from ..ceph.access import Access
from ..ceph.connect import connect
from ..engine import FileSystem, Keyring
from .hand import StoppedError
from .judging import Findings, Judge, Questions
from .migration import Migration
from .pool import Pool
from .record import Record

_AHEAD = 2
"""Shards for each: one that it has, and one that waits for it."""


@contextmanager
def comparers(
    access: Access, secrets: Sequence[bytes], sessions: Sequence[str], path: bytes, record: Record
) -> Iterator["Comparers | None"]:
    """One for each of the uuids `sessions`, with the secrets of the keys of both sides, for what is migrated at `path`
    as the `record` says; none where there are none. They begin with the first shards. Afterwards they have ended, and
    unmounted."""
    if not sessions:
        yield None
        return
    pool = Pool(access, secrets, sessions, partial(_begin, access, path, record))
    try:
        yield Comparers(pool, len(sessions))
    except BaseException:
        pool.stop()
        raise
    finally:
        pool.end()


class Comparers:
    """As `judging.Judges`."""

    def __init__(self, pool: Pool, count: int) -> None:
        self._pool = pool
        self.width = _AHEAD * count
        """Some wait for whoever is through first."""

    def submit(self, questions: Questions, /) -> Future[Findings]:
        """To whoever is through first."""
        return self._pool.submit(_judged, questions)


class _Comparer:
    """This process. `here` is what tasks find it by."""

    here: ClassVar["_Comparer"]

    def __init__(
        self,
        access: Access,
        path: bytes,
        record: Record,
        keyring: Keyring,
        stopped: Callable[[], bool],
        session: str,
    ) -> None:
        self._access = access
        self._path = path
        self._record = record
        self._keyring = keyring
        self._stopped = stopped
        self._session = session
        self._opened = ExitStack()
        self._judge: Judge | None = None

    def judged(self, questions: Questions) -> Findings:
        """Mounted with the first ones: what goes wrong is told as their result."""
        if self._judge is None:
            mount = self._opened.enter_context(connect(self._access, self._session))
            files = self._opened.enter_context(FileSystem(mount, self._keyring))
            self._judge = Migration(mount, files, self._path).judge(self._record, self._go_on)
        return self._judge.judged(questions)

    def let_go(self) -> None:
        """Unmount."""
        self._judge = None
        self._opened.close()

    def _go_on(self) -> None:
        if self._stopped():
            raise StoppedError


def _begin(
    access: Access, path: bytes, record: Record, keyring: Keyring, stopped: Callable[[], bool], session: str
) -> None:
    _Comparer.here = _Comparer(access, path, record, keyring, stopped, session)
    atexit.register(_Comparer.here.let_go)


def _judged(questions: Questions) -> Findings:
    return _Comparer.here.judged(questions)
