"""Small values by name that only the service with the turn may write (`epochs`).

They lie on the object that counts the turns, in its omap. A write compares the number of the turn there in the same
step: from the moment when another turn has begun, the OSD refuses it, however late it comes.
"""

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import rados

from .access import Access
from .cluster import Cluster, translated
from .epochs import NAMESPACE, OBJECT, counted
from .errors import CephError, NotFoundError, TurnTakenError
from .locks import EVEN_WHEN_FULL

_PAGE = 256
_MAX_ERRNO = 4095
"""An OSD answers a comparison that fails by this, plus where (doc/facts.md R1)."""


class TurnRecords:
    """The values of one file system; `ioctx` belongs to the caller and lies in `NAMESPACE`."""

    def __init__(self, ioctx: "rados.Ioctx", fscid: int) -> None:
        self._ioctx = ioctx
        self.fscid = fscid

    def all(self) -> Iterator[tuple[str, bytes]]:
        """Every value with its name, in the order of names.

        Raises:
            CephError: the cluster refused.
        """
        after = ""
        while page := self._page(after):
            yield from page
            after = page[-1][0]

    def write(self, epoch: int, changes: Mapping[str, bytes | None]) -> None:
        """Put these in place of what has these names, all or none, durably; None removes.

        Raises:
            TurnTakenError: another turn than this one has begun.
            CephError: the cluster refused.
        """
        kept = {name: data for name, data in changes.items() if data is not None}
        gone = tuple(name for name, data in changes.items() if data is None)
        try:
            with translated("write records", OBJECT), rados.WriteOpCtx() as step:
                step.cmpext(counted(epoch), 0)
                if kept:
                    self._ioctx.set_omap(step, tuple(kept), tuple(kept.values()))
                if gone:
                    self._ioctx.remove_omap_keys(step, gone)
                self._ioctx.operate_write_op(step, OBJECT, flags=EVEN_WHEN_FULL)
        except CephError as error:
            if (error.errno or 0) >= _MAX_ERRNO:
                raise TurnTakenError(
                    errno.EBUSY, f"turn {epoch} is over: another one has begun", OBJECT
                ) from error
            raise

    def _page(self, after: str) -> list[tuple[str, bytes]]:
        try:
            with translated("read records", OBJECT), rados.ReadOpCtx() as step:
                found, _ = self._ioctx.get_omap_vals(step, after, "", _PAGE)
                self._ioctx.operate_read_op(step, OBJECT)
                return [(str(name), bytes(data)) for name, data in found]
        except NotFoundError:
            return []


@contextmanager
def records_reached(access: Access) -> Iterator[TurnRecords]:
    """Connect for a ``with`` block.

    Raises:
        CephError: the cluster, the file system or the pool cannot be reached.
    """
    with Cluster(access) as cluster:
        place = cluster.file_system()
        ioctx = cluster.ioctx(place.metadata_pool, NAMESPACE)
        try:
            yield TurnRecords(ioctx, place.fscid)
        finally:
            ioctx.close()
