"""What long work found, by names in order, beside the records of jobs: of any number, read in pages.

Each finding is one pair in the omap of the work's own object. The same finding put twice is one.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import rados

from .access import Access
from .cluster import Cluster, translated
from .epochs import NAMESPACE
from .errors import NotFoundError

_PREFIX = "found."
KEPT = 30 * 86400.0
"""Seconds for which findings are kept after the last one was put: as long as the record of a job that is over."""


class FindingStore:
    """The findings of a file system's work. `ioctx` is the caller's, in `NAMESPACE`. Raises `CephError`s."""

    def __init__(self, ioctx: "rados.Ioctx") -> None:
        self._ioctx = ioctx

    def put(self, work: str, findings: Mapping[bytes, bytes]) -> None:
        """Keep these, durably, each in place of one of the same name."""
        names = tuple(_hex(name) for name in findings)
        with translated("keep findings", _PREFIX + work), rados.WriteOpCtx() as step:
            self._ioctx.set_omap(step, names, tuple(findings.values()))
            self._ioctx.operate_write_op(step, _PREFIX + work)

    def page(self, work: str, after: bytes, limit: int) -> Sequence[tuple[bytes, bytes]]:
        """Up to so many with their names, in the order of the names' bytes, past `after`; none where there is none."""
        try:
            with translated("read findings", _PREFIX + work), rados.ReadOpCtx() as step:
                found, _ = self._ioctx.get_omap_vals(step, _hex(after), "", limit)
                self._ioctx.operate_read_op(step, _PREFIX + work)
                return [(bytes.fromhex(name), bytes(data)) for name, data in found]
        except NotFoundError:
            return []

    def drop(self, work: str) -> None:
        """Forget all of that work; none is no error."""
        try:
            with translated("drop findings", _PREFIX + work):
                self._ioctx.remove_object(_PREFIX + work)
        except NotFoundError:
            return

    def drop_old(self) -> None:
        """Forget those to which nothing was put for `KEPT` seconds."""
        with translated("list findings"):
            names = [each.key for each in self._ioctx.list_objects() if each.key.startswith(_PREFIX)]
        for name in names:
            try:
                with translated("look at findings", name):
                    _, changed = self._ioctx.stat(name)
            except NotFoundError:
                continue
            if time.mktime(changed) < time.time() - KEPT:
                self.drop(name.removeprefix(_PREFIX))


@contextmanager
def findings_reached(access: Access) -> Iterator[FindingStore]:
    """Connect for a ``with`` block.

    Raises:
        CephError: the cluster, the file system or the pool cannot be reached.
    """
    with Cluster(access) as cluster:
        ioctx = cluster.ioctx(cluster.file_system().metadata_pool, NAMESPACE)
        try:
            yield FindingStore(ioctx)
        finally:
            ioctx.close()


def _hex(name: bytes) -> str:
    """As an omap's key, which is text: the order of the digits is that of the bytes."""
    return name.hex()
