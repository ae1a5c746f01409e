"""A file's RADOS objects: their names, their bytes, and the one kind of write to them that is sound.

Objects of a file are never created or extended here: CephFS would drop or hide such bytes (doc/facts.md R2, R3).
Writing behind the MDS leaves other clients with stale caches (R4), and is wrong where a snapshot can be taken
meanwhile (R5): that is the caller's to know.
"""

import errno
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import rados

from .cluster import Cluster, translated
from .errors import CephError, NotFoundError
from .interface import Layout


def object_name(ino: int, index: int) -> str:
    """R1: what CephFS calls the `index`-th object of an inode."""
    return f"{ino:x}.{index:08x}"


CHANGED = (errno.ERANGE, errno.EOVERFLOW)
"""What an OSD answers where an asserted version is not the object's any more (doc/facts.md R7)."""


class ObjectChangedError(CephError):
    """Somebody wrote the object after its version was read: read it again."""


@dataclass(frozen=True)
class Piece:
    """Bytes of an object, the version that they had, and how long the object is."""

    data: bytes
    version: int
    extent: int


class Objects:
    """The objects of files with one layout. A context manager."""

    def __init__(self, cluster: Cluster, layout: Layout) -> None:
        self._ioctx = cluster.ioctx(layout.pool, layout.namespace)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ioctx.close()

    def read(self, ino: int, index: int, length: int, offset: int = 0) -> Piece:
        """Up to `length` bytes at `offset` of the object.

        Raises:
            NotFoundError: there is no such object: a hole.
        """
        name = object_name(ino, index)
        with translated("read object", name):
            extent, _ = self._ioctx.stat(name)
            data = self._ioctx.read(name, length, offset)
            return Piece(data, self._ioctx.get_last_version(), extent)

    def replace(self, ino: int, index: int, data: bytes, offset: int, seen: Piece) -> None:
        """Write whole bytes inside the object's present extent, if nobody wrote it since `seen`.

        Raises:
            ValueError: the bytes would extend the object.
            ObjectChangedError: it was written meanwhile; nothing of ours was.
        """
        if offset + len(data) > seen.extent:
            raise ValueError("an object is never extended behind CephFS (R2)")
        name = object_name(ino, index)
        try:
            with translated("write object", name), rados.WriteOpCtx() as step:
                step.assert_version(seen.version)
                step.write(data, offset)
                self._ioctx.operate_write_op(step, name)
        except CephError as error:
            if error.errno in CHANGED:
                raise ObjectChangedError(error.errno, "the object was written meanwhile", name) from error
            raise


class Extents:
    """How long the objects of files are, in any pool and namespace. A context manager."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._places: dict[tuple[str, str], rados.Ioctx] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._places:
            _, ioctx = self._places.popitem()
            ioctx.close()

    def extent(self, layout: Layout, ino: int, index: int) -> int | None:
        """Bytes of a file's `index`-th object, from its begin to its last one; None where there is none: a hole.

        Raises:
            NotAllowedError: the entity may not read there.
        """
        place = layout.pool, layout.namespace
        if place not in self._places:
            self._places[place] = self._cluster.ioctx(*place)
        name = object_name(ino, index)
        try:
            with translated("look at object", name):
                size, _ = self._places[place].stat(name)
        except NotFoundError:
            return None
        return int(size)
