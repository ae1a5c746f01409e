"""Processes of this host that copy for one migration, each with a mount of its own (`pool`).

They work only while the process that has the lease of the migration lives, and has it; and they end before it fences
the tree, for a session of theirs would count as a stranger's.
"""

import atexit
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial

from ..ceph.access import Access
from ..engine import Keyring
from ..format import MasterKey
from .files import Copied
from .hand import Hand
from .pace import UNLIMITED, Limits
from .pool import Pool, new_sessions
from .shards import Shard
from .spawning import apart_from_here
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
        secrets = [key.expose() for key in keys]
        pool = Pool(access, secrets, new_sessions(count), partial(_begin, access))
        try:
            yield Workers(pool, count, turn, limits)
        except BaseException:
            pool.stop()
            raise
        finally:
            pool.end()


class Workers:
    """As `shards.Hands`."""

    def __init__(self, pool: Pool, count: int, turn: Turn, limits: Limits) -> None:
        self._pool = pool
        self._limits = limits.at_any_time if turn.fenced else limits
        self._turn = turn
        self.width = _AHEAD * count
        """Some wait for whoever is through first."""
        self.replace = pool.replace

    def submit(self, shard: Shard, /) -> Future[Copied]:
        """To whoever is through first."""
        return self._pool.submit(_carry_out, self._turn, shard, self._limits)


def _begin(access: Access, keyring: Keyring, stopped: Callable[[], bool], session: str) -> None:
    Hand.here = Hand(access, keyring, stopped, lambda: session)
    atexit.register(Hand.here.let_go)


def _carry_out(turn: Turn, shard: Shard, limits: Limits) -> Copied:
    # with the first shard: what goes wrong is told as its result
    Hand.here.mounted(turn)
    return Hand.here.carry_out(shard, limits)
