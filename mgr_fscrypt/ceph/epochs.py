"""The right to be the one engine service of a file system, and the number of its turn.

One object, `service` in the namespace `fscrypt.jobs` of the file system's metadata pool, has a lock of the OSD's and
holds the number of the latest turn, and whose it is. The number grows with each holder, in one step with the proof that
the lock is held, so no two turns ever have the same one. The object stays when nobody serves.
An entity needs `allow rwx pool=METADATA_POOL namespace=fscrypt.jobs` for it.
"""

import errno
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import rados

from .access import Access
from .cluster import Cluster, translated
from .errors import CephError, NotFoundError
from .locks import EVEN_WHEN_FULL, NEW_OR_OURS, ONLY_OURS, Lock

NAMESPACE = "fscrypt.jobs"
OBJECT = "service"
DURATION = 5.0
"""Seconds that a turn lasts without being renewed: so long nobody serves after a service was killed."""
_LARGEST = 4096
_NOT_OURS = (errno.EBUSY, errno.ENOENT)


class EpochLease:
    """One service's claim; `ioctx` belongs to the caller and lies in `NAMESPACE`. For one thread."""

    def __init__(self, ioctx: "rados.Ioctx", holder: str, duration: float = DURATION) -> None:
        """`holder` is what others are told of us."""
        self._ioctx = ioctx
        self._holder = holder
        self._duration = duration
        self._lock = Lock("service", uuid.uuid4().hex)

    def take(self) -> int | None:
        """Begin a turn: its number, or None where another service has one.

        Raises:
            CephError: the cluster refused.
        """
        if not self._locked(NEW_OR_OURS):
            return None
        number = self._latest()[0] + 1
        content = counted(number) + json.dumps({"holder": self._holder}).encode()[1:]
        # it may have run out meanwhile
        return number if self._done("count the turn", lambda step: step.write_full(content)) else None

    def renew(self) -> bool:
        """Go on for `duration` from now; False where it ran out.

        Raises:
            CephError: the cluster refused.
        """
        return self._locked(ONLY_OURS)

    def release(self) -> None:
        """End our turn; nothing happens when it is over.

        Raises:
            CephError: the cluster refused.
        """
        self._done("end the turn", self._lock.give_back)

    def holder(self) -> str:
        """Who had the latest turn, in its own words; empty where nobody ever had one.

        Raises:
            CephError: the cluster refused.
        """
        return self._latest()[1]

    def _latest(self) -> tuple[int, str]:
        try:
            with translated("read object", OBJECT):
                content = self._ioctx.read(OBJECT, _LARGEST)
        except NotFoundError:
            return 0, ""
        if not content:
            return 0, ""  # the lock made the object
        value = json.loads(content)
        return int(value["epoch"]), str(value["holder"])

    def _locked(self, flag: int) -> bool:
        return self._attempted(
            "take the turn", lambda step: self._lock.take(step, self._holder, self._duration, flag)
        )

    def _done(self, action: str, act: Callable[["rados.WriteOp"], object]) -> bool:
        def only_if_ours(step: "rados.WriteOp") -> None:
            self._lock.require(step)
            act(step)

        return self._attempted(action, only_if_ours)

    def _attempted(self, action: str, act: Callable[["rados.WriteOp"], object]) -> bool:
        try:
            with translated(action, OBJECT), rados.WriteOpCtx() as step:
                act(step)
                self._ioctx.operate_write_op(step, OBJECT, flags=EVEN_WHEN_FULL)
        except CephError as error:
            if error.errno in _NOT_OURS:
                return False
            raise
        return True


def counted(number: int) -> bytes:
    """What the object begins with while this is the latest turn: for steps that are to be made in no other one."""
    return f'{{"epoch": {number}, '.encode()


@contextmanager
def reached(access: Access, holder: str) -> Iterator[EpochLease]:
    """Connect for a ``with`` block.

    Raises:
        CephError: the cluster, the file system or the pool cannot be reached.
    """
    with Cluster(access) as cluster:
        ioctx = cluster.ioctx(cluster.file_system().metadata_pool, NAMESPACE)
        try:
            yield EpochLease(ioctx, holder)
        finally:
            ioctx.close()
