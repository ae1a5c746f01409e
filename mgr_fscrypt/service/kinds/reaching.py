"""How jobs reach the file system of a service."""

from collections.abc import Iterator
from contextlib import contextmanager

from ...ceph.access import Access
from ...ceph.connect import connect_guarded
from ...ceph.objects import Extents
from .place import Place


@contextmanager
def place_reached(access: Access) -> Iterator[Place]:
    """A `Reach`, of that cluster and file system."""
    with connect_guarded(access) as mount, Extents(mount.cluster) as objects:
        yield Place(mount, objects)
