"""One exclusive lease an inode: a lock of the OSD's own `lock` class, on an object that lives as long as the lease.

The object is `%x` of the inode number in the namespace `fscrypt.leases` of the file system's default data pool. An
entity needs `allow rwx namespace=fscrypt.leases tag cephfs data=FS` there beside its rights on the data (a class
method needs `x`). The OSD's clock ends a lease that is not renewed any more, so a holder that dies keeps it for
`DURATION` at most. (It may keep its *session* for longer: doc/facts.md F14.)
"""

import errno
import threading
import time
import uuid
from types import TracebackType
from typing import Protocol, Self

import rados

from .cluster import translated
from .errors import CephError, LeaseHeldError, LeaseLostError, NotFoundError
from .interface import LeaseState
from .locks import EVEN_WHEN_FULL, NEW_OR_OURS, ONLY_OURS, Lock, holder, holders

NAMESPACE = "fscrypt.leases"
DURATION = 2.5
"""Seconds that a lease lasts without being renewed: whoever sleeps for two of them may have lost it."""
INTERVAL = 0.5
"""Seconds between two renewals of all that a mount holds."""
LOCK = "inode"
_FIRST_WAIT, _LONGEST_WAIT = 0.005, 0.1


class Kept(Protocol):
    """What a `Keeper` renews."""

    def keep(self) -> None:
        """Renew it now; whoever has it learns by itself that it was lost."""


class Keeper:
    """Renews all leases that a mount holds, used or not, in one thread. The first of them starts it."""

    def __init__(self, interval: float = INTERVAL) -> None:
        self._interval = interval
        self._held: set[Kept] = set()
        self._turn = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, lease: Kept) -> None:
        """From now on."""
        with self._turn:
            self._held.add(lease)
            if self._thread is None:
                self._thread = threading.Thread(target=self._keep, name="fscrypt-leases", daemon=True)
                self._thread.start()

    def remove(self, lease: Kept) -> None:
        """No more; nothing happens when it is not kept."""
        with self._turn:
            self._held.discard(lease)

    def end(self) -> None:
        """Stop for good. When it returns, no renewal is under way."""
        self._over.set()
        with self._turn:
            thread = self._thread
        if thread is not None:
            thread.join()

    def _keep(self) -> None:
        while not self._over.wait(self._interval):
            with self._turn:
                held = tuple(self._held)
            for lease in held:
                lease.keep()


class ObjectLease:
    """The `Lease` of one inode; `ioctx` belongs to the caller and lies in `NAMESPACE`."""

    def __init__(
        self, ioctx: "rados.Ioctx", ino: int, holder: str, keeper: Keeper, duration: float = DURATION
    ) -> None:
        self._ioctx = ioctx
        self._keeper = keeper
        self._turn = threading.Lock()
        self._object = f"{ino:x}"
        self._holder = holder
        self._duration = duration
        self._lock = Lock(LOCK, uuid.uuid4().hex)
        self._asked: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    @property
    def held(self) -> bool:
        """Was it renewed in time, as far as we know?"""
        return self._asked is not None

    @property
    def token(self) -> str:
        """Its lock's cookie."""
        return self._lock.cookie

    def holder(self) -> str:
        """The token of whoever holds it just now."""
        try:
            return holder(self._ioctx, self._object, LOCK)
        except NotFoundError:
            return ""

    def acquire(self, timeout: float) -> None:
        """Take it, waiting up to `timeout` seconds.

        Raises:
            LeaseHeldError: somebody else kept it all that time.
        """
        give_up = time.monotonic() + timeout
        wait = _FIRST_WAIT
        while not self._taken():
            if time.monotonic() + wait > give_up:
                raise LeaseHeldError(
                    errno.EBUSY,
                    f"another client has been writing inode {self._object} for {timeout:.0f} s. "
                    f"Nothing was changed. Try again when it has closed the file",
                )
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    def renew(self) -> None:
        """Make sure that it is ours for at least half its duration.

        Raises:
            LeaseLostError: it ran out.
        """
        with self._turn:
            if self._asked is not None and time.monotonic() < self._asked + self._duration / 2:
                return
            if self._asked is None or not self._renewed():
                self._forget()
                raise LeaseLostError(
                    errno.ESTALE,
                    f"the lease on inode {self._object} ran out: it could not be renewed in time",
                )

    def keep(self) -> None:
        """Renew it now. If that fails it is lost: its holder hears of it at its next `renew`."""
        with self._turn:
            if self._asked is None:
                return
            try:
                renewed = self._renewed()
            except CephError:
                renewed = False
            if not renewed:
                self._forget()

    def release(self) -> None:
        """Give it back and remove its object, in one step of the OSD; nothing happens when it is not ours."""
        with self._turn:
            if self._asked is None:
                return
            self._forget()
            try:
                with translated("release lease", self._object), rados.WriteOpCtx() as step:
                    self._lock.require(step)
                    step.remove()
                    self._ioctx.operate_write_op(step, self._object, flags=EVEN_WHEN_FULL)
            except NotFoundError:
                pass  # it ran out, and another holder came and went
            except CephError as error:
                if error.errno != errno.EBUSY:  # it ran out: nobody's, or another holder's now
                    raise

    def state(self) -> LeaseState:
        """Whose it is just now, without touching it."""
        try:
            return LeaseState.HELD if holders(self._ioctx, self._object, LOCK) else LeaseState.LEFT
        except NotFoundError:
            return LeaseState.FREE

    def _taken(self) -> bool:
        with self._turn:
            taken = self._locked(NEW_OR_OURS, refusals=(errno.EBUSY,))
        if taken:
            self._keeper.add(self)
        return taken

    def _renewed(self) -> bool:
        return self._locked(ONLY_OURS, refusals=(errno.ENOENT, errno.EBUSY))

    def _forget(self) -> None:
        self._asked = None
        self._keeper.remove(self)

    def _locked(self, flag: int, refusals: tuple[int, ...]) -> bool:
        # counted from before the question: the OSD's time starts later, so ours ends first
        asked = time.monotonic()
        try:
            with translated("lease", self._object), rados.WriteOpCtx() as step:
                self._lock.take(step, self._holder, self._duration, flag)
                self._ioctx.operate_write_op(step, self._object, flags=EVEN_WHEN_FULL)
        except CephError as error:
            if error.errno in refusals:
                return False
            raise
        self._asked = asked
        return True
