"""Reach a file system."""

from collections.abc import Iterator
from contextlib import contextmanager

from .access import Access
from .cluster import Cluster
from .guard.mount import GuardedMount
from .mount import CephMount


@contextmanager
def connect(access: Access, session: str | None = None) -> Iterator[CephMount]:
    """A mount for a `with` block, with its connection to RADOS as `.cluster`. Both are shut down at the end. The uuid
    that its session announces is `session`, by default a new one.

    Raises:
        UnreachableError: within `access.timeout` seconds there was no answer.
        UnsupportedReleaseError: libcephfs or an MDS is below Ceph 18. (Above 20 only writing is refused.)
        CephError: the entity, its key, the file system or the root is not there or not allowed.
    """
    with Cluster(access) as cluster, CephMount(cluster, session) as mount:
        yield mount


@contextmanager
def connect_guarded(access: Access) -> Iterator[GuardedMount]:
    """The same with libcephfs in a child process, for those who live long and meet files in kernel mode: an abort of
    libcephfs (doc/facts.md F4) ends the child only. Raises as `connect`."""
    with Cluster(access) as cluster, GuardedMount(cluster) as mount:
        yield mount
