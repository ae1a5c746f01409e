"""Processes of this host that copy for one migration, each with a mount of its own.

They are spawned, never forked, since libcephfs does not survive that (doc/facts.md F15). Keys go to them by the pipe
that a spawned process inherits, with what else it begins with: nothing of them is in its arguments, its environment or
a task. They work only while the process that has the lease of the migration lives, and has it; and they end before it
fences the tree, for a session of theirs would count as a stranger's.
"""

import atexit
import multiprocessing
import os
import signal
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.queues import SimpleQueue

from ..ceph.access import Access
from ..ceph.prctl import end_with_parent, keep_out_of_core_dumps
from ..ceph.reclaim import reset
from ..engine import Keyring
from ..format import MasterKey
from .files import Copied
from .hand import Hand
from .pace import UNLIMITED, Limits
from .shards import Shard
from .spawning import SPAWNED, Stop, apart_from_here, wake
from .turns import Turn

_AHEAD = 2
"""Shards a worker: one that it has, and one that waits for it."""


@contextmanager
def workers(
    access: Access, keys: Iterable[MasterKey], count: int, turn: Turn, limits: Limits = UNLIMITED
) -> Iterator["Workers"]:
    """So many processes, each no faster than `limits`; they begin with the first shards. Afterwards they have ended,
    and unmounted."""
    with apart_from_here():
        found = Workers(access, [key.expose() for key in keys], count, turn, limits)
        try:
            yield found
        except BaseException:
            found.stop()
            raise
        finally:
            found.end()


class Workers:
    """As `shards.Hands`."""

    def __init__(self, access: Access, secrets: list[bytes], count: int, turn: Turn, limits: Limits) -> None:
        self._limits = limits.at_any_time if turn.fenced else limits
        self._access = access
        self._secrets = secrets
        self._count = count
        self._turn = turn
        self._open()

    @property
    def width(self) -> int:
        """Some wait for whoever is through first."""
        return _AHEAD * self._count

    def submit(self, shard: Shard, /) -> Future[Copied]:
        """To whoever is through first."""
        return self._executor.submit(_carry_out, self._turn, shard, self._limits)

    def replace(self) -> None:
        """When one dies, its executor ends the others as well. Their sessions are ended here: the MDS would keep what
        they had for a minute, and count them among those that can reach the tree."""
        self.end()
        for session in self._sessions:
            reset(self._access, session)
        self._open()

    def stop(self) -> None:
        """What is under way ends with the next piece of a file."""
        self._stopped.say()

    def end(self) -> None:
        """When all that was handed out is done. Those that somebody stopped find out whose turn it is, and end."""
        wake()
        self._executor.shutdown(cancel_futures=True)

    def _open(self) -> None:
        self._stopped = Stop()
        self._sessions = [str(uuid.uuid4()) for _ in range(self._count)]
        sessions = SPAWNED.SimpleQueue()
        for session in self._sessions:
            sessions.put(session)
        self._executor = ProcessPoolExecutor(
            self._count,
            mp_context=SPAWNED,
            initializer=_begin,
            initargs=(self._access, self._secrets, sessions, self._stopped),
        )


def _begin(access: Access, secrets: list[bytes], sessions: "SimpleQueue[str]", stopped: Stop) -> None:
    keep_out_of_core_dumps()
    end_with_parent()
    parent = multiprocessing.parent_process()
    if parent is None or parent.pid != os.getppid():
        # it died before the kernel knew that this one is to go with it: there is nobody to be told
        os._exit(1)
    # a terminal's signals are for the parent, which ends its workers in good order
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keyring = Keyring()
    for secret in secrets:
        keyring.add(MasterKey(secret))
    secrets.clear()
    session = sessions.get()
    Hand.here = Hand(access, keyring, lambda: stopped.said, lambda: session)
    atexit.register(Hand.here.let_go)


def _carry_out(turn: Turn, shard: Shard, limits: Limits) -> Copied:
    # with the first shard: what goes wrong is told as its result
    Hand.here.mounted(turn)
    return Hand.here.carry_out(shard, limits)
