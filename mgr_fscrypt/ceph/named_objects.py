"""Small objects by name in a pool's namespace, each replaced as a whole or not at all.

A writer names the version that it read; the OSD refuses it where somebody else was first (`assert_version`,
doc/facts.md R7), so an object never holds half of a change, and no change is lost.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import rados

from .cluster import Cluster, translated
from .errors import CephError, ExistsError, NotFoundError
from .objects import CHANGED

_LARGEST = 4 << 20


@dataclass(frozen=True)
class NamedObject:
    """An object as it was read."""

    data: bytes
    version: int


class NamedObjects:
    """The objects of one namespace of a pool. A context manager. Raises `CephError`s."""

    def __init__(self, cluster: Cluster, pool: str, namespace: str) -> None:
        self._ioctx = cluster.ioctx(pool, namespace)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ioctx.close()

    def read(self, name: str) -> NamedObject | None:
        """One, or None where there is none."""
        try:
            with translated("read object", name):
                data = self._ioctx.read(name, _LARGEST)
                return NamedObject(bytes(data), self._ioctx.get_last_version())
        except NotFoundError:
            return None

    def create(self, name: str, data: bytes) -> bool:
        """Make one, durably; False where there is one already."""
        try:
            with translated("make object", name), rados.WriteOpCtx() as step:
                step.new(rados.LIBRADOS_CREATE_EXCLUSIVE)
                step.write_full(data)
                self._ioctx.operate_write_op(step, name)
        except ExistsError:
            return False
        return True

    def replace(self, name: str, data: bytes, version: int) -> bool:
        """Put other bytes in place of those of that version, durably; False where it is another one by now."""
        with rados.WriteOpCtx() as step:
            step.assert_version(version)
            step.write_full(data)
            return self._done(step, name, "replace object")

    def remove(self, name: str, version: int) -> bool:
        """Remove one of that version, durably; False where it is another one, or gone."""
        with rados.WriteOpCtx() as step:
            step.assert_version(version)
            step.remove()
            return self._done(step, name, "remove object")

    def names(self) -> Iterator[str]:
        """All names, in no order."""
        with translated("list objects"):
            for found in self._ioctx.list_objects():
                yield str(found.key)

    def _done(self, step: "rados.WriteOp", name: str, action: str) -> bool:
        try:
            with translated(action, name):
                self._ioctx.operate_write_op(step, name)
        except NotFoundError:
            return False
        except CephError as error:
            if error.errno in CHANGED:
                return False
            raise
        return True
