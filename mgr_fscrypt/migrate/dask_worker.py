"""A process that copies for migrations of other hosts: Dask (the extra `cluster`) hands it shards.

Its keys it has from whoever started it, before it is known to the scheduler: nobody sends it any.
"""

import asyncio
import signal
import tempfile
import threading
from collections.abc import Callable
from typing import ClassVar

import distributed

from ..ceph.access import Access
from ..ceph.errors import SessionLostError
from ..ceph.prctl import keep_out_of_core_dumps
from ..engine import Keyring
from .files import Copied
from .hand import Hand
from .offers import Offers
from .pace import Limits
from .scheduler import Scheduler
from .shards import Shard
from .turns import Turn

_PATIENCE = 60.0
"""Seconds for which a scheduler may be away."""
_LOOK = 5.0
"""Seconds between two looks of one that has nothing to do at whether the turn is over."""


class _Hand(Hand):
    """This process. It may be asked to let go while it is at work, by another thread of it."""

    here: ClassVar["_Hand"]

    def __init__(self, access: Access, keyring: Keyring) -> None:
        self._wanted_back = threading.Event()
        super().__init__(access, keyring, self._wanted_back.is_set)
        self._at_work = threading.Lock()

    def work(self, turn: Turn, number: str, shard: Shard, limits: Limits) -> Copied:
        with self._at_work:
            try:
                offers = self._taking(turn, number)
                copied = self.carry_out(shard, limits)
                offers.done(number, self.session)
            except BaseException:
                # maybe the turn is over, or nobody waits for this one any more: nobody would ask for it
                self.let_go()
                raise
            return copied

    def look(self) -> None:
        """Unmount where nothing is under way, and the turn is over: whoever had it may have died, and would not ask
        for it."""
        if self._at_work.acquire(blocking=False):
            try:
                self.require_turn()
            except OSError:
                self.let_go()
            finally:
                self._at_work.release()

    def rest(self) -> None:
        self._wanted_back.set()
        with self._at_work:
            self._wanted_back.clear()
            self.let_go()

    def _taking(self, turn: Turn, number: str) -> Offers:
        """The offers, after one was taken. The session may have been ended since the last one: then by another one."""
        try:
            return self._take(turn, number)
        except SessionLostError:
            self.let_go()
            return self._take(turn, number)

    def _take(self, turn: Turn, number: str) -> Offers:
        offers = Offers(self.mounted(turn), turn.path)
        offers.take(number, self.session)
        return offers


def carry_out(turn: Turn, number: str, shard: Shard, limits: Limits) -> Copied:
    """A task: the shard that was offered under that number.

    Raises:
        NotOfferedError: another one has it.
        OSError: as `shards.carry_out`.
    """
    return _Hand.here.work(turn, number, shard, limits)


def let_go() -> None:
    """Stop what is under way, and unmount."""
    _Hand.here.rest()


def security_of(scheduler: Scheduler) -> distributed.Security:
    """For clients, workers, and those who connect to these."""
    certificate, key = str(scheduler.certificate), str(scheduler.key)
    return distributed.Security(
        require_encryption=True,
        tls_ca_file=str(scheduler.authority),
        tls_client_cert=certificate,
        tls_client_key=key,
        tls_worker_cert=certificate,
        tls_worker_key=key,
    )


def serve(access: Access, keyring: Keyring, scheduler: Scheduler, ready: Callable[[], None]) -> None:
    """Be a worker of that scheduler until SIGTERM or SIGINT; `ready` is called when it knows of this one.

    Raises:
        OSError: the scheduler cannot be reached.
    """
    keep_out_of_core_dumps()
    _Hand.here = _Hand(access, keyring)
    try:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(_serve(scheduler, folder, ready))
    finally:
        _Hand.here.rest()


async def _serve(scheduler: Scheduler, folder: str, ready: Callable[[], None]) -> None:
    # without a limit on memory nothing is ever put on the local disk; pages are there always, by HTTP and for everybody
    async with distributed.Worker(
        scheduler.address,
        nthreads=1,
        memory_limit=0,
        local_directory=folder,
        security=security_of(scheduler),
        death_timeout=_PATIENCE,
        dashboard_address="127.0.0.1:0",
    ) as worker:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, lambda: loop.create_task(worker.close()))
        ready()
        looking = loop.create_task(_look())
        await worker.finished()
        looking.cancel()


async def _look() -> None:
    while True:
        await asyncio.sleep(_LOOK)
        await asyncio.to_thread(_Hand.here.look)
