"""Those who copy on other hosts, by a scheduler of Dask's (the extra `cluster`): processes that somebody has started
there with keys of their own (`dask_worker`).

A task names a shard and the turn, and no key. All connections are TLS, in which both ends show a certificate: whoever
has one of that authority can have the workers run anything, so it guards what the keys guard.
"""

import errno
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future
from contextlib import closing, contextmanager
from functools import partial

import distributed

from ..ceph.errors import LeaseLostError, UnreachableError
from ..ceph.interface import Mount
from . import dask_worker
from .files import Copied
from .offers import Offers
from .pace import Limits, local_time
from .places import Places
from .scheduler import Scheduler
from .shards import Shard
from .turns import Turn, Turns

_AHEAD = 2
"""Shards a worker: one that it has, and one that waits for it."""
_RUNNING, _CONNECTING = "running", "connecting"
"""What Dask's client says of itself."""
_LOOK = 0.25
_LOST = (
    distributed.scheduler.KilledWorker,
    distributed.client.FutureCancelledError,
    distributed.comm.CommClosedError,
)
"""What becomes of tasks whose workers died, or whose scheduler did."""


@contextmanager
def dask_workers(
    mount: Mount,
    scheduler: Scheduler,
    turn: Turn,
    limits: Limits,
    *,
    reset: Callable[[str], None],
    patience: float,
) -> Iterator["DaskHands"]:
    """The workers that the scheduler knows, all together no faster than `limits`. Afterwards they have unmounted.

    Args:
        mount: of the process that has the turn.
        reset: ends a session by its uuid.
        patience: seconds to wait for the scheduler, and for a first worker.

    Raises:
        UnreachableError: there was none.
    """
    try:
        client = distributed.Client(
            scheduler.address,
            security=dask_worker.security_of(scheduler),
            timeout=patience,
            set_as_default=False,
        )
    except OSError as error:
        raise UnreachableError(
            errno.ETIMEDOUT,
            f"Dask's scheduler {scheduler.address} cannot be reached ({error}). Nothing was changed. Look at its "
            f"address, and at the certificates of both ends",
        ) from error
    with closing(client):
        try:
            client.wait_for_workers(1, timeout=patience)
        except TimeoutError as error:
            raise UnreachableError(
                errno.ETIMEDOUT,
                f"Dask's scheduler {scheduler.address} has no worker. Nothing was changed. Start some with "
                f"`cephfs-fscrypt migrate worker`",
            ) from error
        require_turn = partial(Turns(mount, Places(mount, turn.path)).require_of, turn)
        hands = DaskHands(client, Offers(mount, turn.path), turn, limits, reset, require_turn)
        try:
            yield hands
        finally:
            hands.end()


class DaskHands:
    """As `shards.Hands`.

    Args:
        reset: ends a session by its uuid.
        require_turn: raises `LeaseLostError` where the turn is over.
    """

    def __init__(
        self,
        client: distributed.Client,
        offers: Offers,
        turn: Turn,
        limits: Limits,
        reset: Callable[[str], None],
        require_turn: Callable[[], None],
    ) -> None:
        self._client = client
        self._offers = offers
        self._turn = turn
        self._limits = limits.at_any_time if turn.fenced else limits
        self._reset = reset
        self._require_turn = require_turn
        self._under_way: dict[str, tuple[Future[Copied], distributed.Future]] = {}
        self._changing = threading.Lock()
        offers.begin(reset)

    @property
    def width(self) -> int:
        """Some wait for whoever is through first. Workers may come and go.

        Raises:
            UnreachableError: the scheduler went.
        """
        self._require_scheduler()
        try:
            return _AHEAD * max(1, len(self._client.nthreads()))
        except OSError as error:
            raise _gone() from error

    def submit(self, shard: Shard, /) -> Future[Copied]:
        """To whoever the scheduler chooses. Raises `UnreachableError`: it went."""
        limits = self._limits.shared(self.width // _AHEAD + 1).elsewhere(local_time())
        number = uuid.uuid4().hex
        self._offers.offer(number)
        done: Future[Copied] = Future()
        task = self._client.submit(
            dask_worker.carry_out, self._turn, number, shard, limits, key=f"fscrypt-{number}", pure=False
        )
        with self._changing:
            self._under_way[number] = done, task
        task.add_done_callback(partial(self._told, number))
        return done

    def replace(self) -> None:
        """Whoever has taken a shard and not done it loses its session, so it cannot write any more, dead or not; those
        who live mount anew with the next one. Raises `LeaseLostError` where the turn is over."""
        self._require_turn()
        with self._changing:
            lost, self._under_way = self._under_way, {}
        self._client.cancel([task for _, task in lost.values()], force=True)
        self._offers.take_back(self._reset)
        for done, _ in lost.values():
            done.set_exception(BrokenExecutor("it was taken back"))

    def end(self) -> None:
        """What is under way ends with the next piece of a file; all unmount, and who cannot be asked to loses its
        session."""
        with self._changing:
            lost, self._under_way = self._under_way, {}
        if self._client.status == _RUNNING:
            self._client.cancel([task for _, task in lost.values()], force=True)
        try:
            self._require_turn()
        except LeaseLostError:
            # whoever has taken over may have these workers and offers by now; those of this turn see that it is over
            return
        if self._client.status == _RUNNING:
            self._client.run(dask_worker.let_go, on_error="ignore")
        self._offers.take_back(self._reset)
        self._offers.end()

    def _require_scheduler(self) -> None:
        """It may come back for as long as the client tries to reach it; what one asks a client that has given up is
        never done."""
        while self._client.status == _CONNECTING:
            time.sleep(_LOOK)
        if self._client.status != _RUNNING:
            raise _gone()

    def _told(self, number: str, task: distributed.Future) -> None:
        with self._changing:
            done, _ = self._under_way.pop(number, (None, None))
        if done is None:
            return
        try:
            done.set_result(task.result())
        except _LOST as error:
            done.set_exception(BrokenExecutor(str(error)))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the result
            done.set_exception(error)


def _gone() -> UnreachableError:
    return UnreachableError(
        errno.ETIMEDOUT,
        "Dask's scheduler went away. What was copied stays copied. Start it again, and run the same again",
    )
