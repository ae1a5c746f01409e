"""Named objects in memory, behind the `Objects` protocol. The cases of keys hold them against RADOS."""

from collections.abc import Iterator

from mgr_fscrypt.keys.objects import Held, Stored

from .ceph import DiedError


class FakeObjects:
    """The objects of one namespace.

    Attributes:
        changes: how many were made so far.
        die_after: the process dies before the change after so many; None: it lives.
    """

    def __init__(self) -> None:
        self.stored: dict[str, Stored] = {}
        self.changes = 0
        self.die_after: int | None = None

    def read(self, name: str) -> Stored | None:
        return self.stored.get(name)

    def create(self, name: str, data: bytes) -> bool:
        self._step()
        return name not in self.stored and self._put(name, data)

    def replace(self, name: str, data: bytes, version: int) -> bool:
        self._step()
        return self._is(name, version) and self._put(name, data)

    def remove(self, name: str, version: int) -> bool:
        self._step()
        if not self._is(name, version):
            return False
        del self.stored[name]
        return True

    def names(self) -> Iterator[str]:
        return iter(list(self.stored))

    def _step(self) -> None:
        if self.die_after is not None and self.changes >= self.die_after:
            raise DiedError
        self.changes += 1

    def _is(self, name: str, version: int) -> bool:
        return name in self.stored and self.stored[name].version == version

    def _put(self, name: str, data: bytes) -> bool:
        self.stored[name] = Held(data, self.changes)
        return True
