"""`fsck` on a real cluster: every finding, with objects and leases as they are there."""

import stat
import threading
import time
from collections.abc import Iterator

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.interface import Layout
from mgr_fscrypt.ceph.leases import NAMESPACE, Keeper, ObjectLease
from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.ceph.objects import Extents, object_name
from qa.fakes.fsck_cases import FsckCases


class ClusterTools:
    """librados, and the calls of libcephfs that nobody else needs."""

    def __init__(self, mount: CephMount, extents: Extents) -> None:
        self._mount = mount
        self._extents = extents

    def extents(self) -> Extents:
        return self._extents

    def stretch(self, layout: Layout, ino: int, index: int, length: int) -> None:
        with self._mount.cluster.ioctx(layout.pool, layout.namespace) as ioctx:
            ioctx.trunc(object_name(ino, index), length)

    def make_special(self, stored: bytes) -> None:
        self._mount._library.mknod(stored, stat.S_IFIFO | 0o644)

    def leave_lease(self, ino: int) -> None:
        pool = self._mount.layout(b"/").pool
        with self._mount.cluster.ioctx(pool, NAMESPACE) as ioctx:
            never = Keeper(interval=threading.TIMEOUT_MAX)
            ObjectLease(ioctx, ino, "one who dies", never, duration=1).acquire(0)
            time.sleep(1.5)


@pytest.fixture(scope="module")
def mount() -> Iterator[CephMount]:
    with connect(Access()) as found:
        yield found


@pytest.fixture(scope="module")
def plain() -> Iterator[CephMount]:
    with connect(Access()) as found:
        yield found


@pytest.fixture(scope="module")
def tools(plain: CephMount) -> Iterator[ClusterTools]:
    with Extents(plain.cluster) as extents:
        yield ClusterTools(plain, extents)


class TestOnTheCluster(FsckCases):
    """Everything that can be found."""
