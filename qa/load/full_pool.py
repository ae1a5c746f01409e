"""The data pool of a test cluster made full, by a quota that it is beyond already."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import rados

from qa.lab.cluster import Cluster

POOL = "cephfs_data"
_FILLER = 8 << 20
_QUOTA = 4 << 20


class FullPool:
    """Fills the pool and frees it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def free(self) -> None:
        """Lift the quota; the monitors say so when it returns."""
        self._limit(0)
        self._cluster.wait("space in the pool", lambda: not self._is_full())

    def fill(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Set it. That takes up to ten seconds, and clients write back within five: `meanwhile`, done again and again,
        makes things dirty anew."""

        def full() -> bool:
            meanwhile()
            return self._is_full()

        self._limit(_QUOTA)
        self._cluster.wait("the pool to be full", full)

    def _limit(self, most: int) -> None:
        self._cluster.ceph("osd", "pool", "set-quota", POOL, "max_bytes", str(most))

    def _is_full(self) -> bool:
        pools = self._cluster.ceph_json("osd", "dump")["pools"]
        (flags,) = (pool["flags_names"] for pool in pools if pool["pool_name"] == POOL)
        return "full_quota" in json.dumps(flags)


@contextmanager
def full_pool(cluster: Cluster) -> Iterator[FullPool]:
    """For a `with` block that begins with a pool that has space, and says when it is to be full."""
    with (
        rados.Rados(conffile=str(cluster.directory / "ceph.conf")) as client,
        client.open_ioctx(POOL) as objects,
    ):
        objects.set_namespace("filler")
        objects.write_full("filler", bytes(_FILLER))
        pool = FullPool(cluster)
        try:
            yield pool
        finally:
            pool.free()
            objects.remove_object("filler")
