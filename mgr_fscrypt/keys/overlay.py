"""What acts would change: they run whole, and what they write stays in memory."""

from collections.abc import Iterator

from .objects import Held, Objects, Stored


class Overlay:
    """Objects over others that are only read. For dry runs."""

    def __init__(self, below: Objects) -> None:
        self._below = below
        self._ours: dict[str, Stored | None] = {}
        self._changes = 0

    def read(self, name: str) -> Stored | None:
        """See `Objects`."""
        if name in self._ours:
            return self._ours[name]
        found = self._below.read(name)
        return None if found is None else Held(found.data, found.version)

    def create(self, name: str, data: bytes) -> bool:
        """See `Objects`."""
        return self.read(name) is None and self._put(name, data)

    def replace(self, name: str, data: bytes, version: int) -> bool:
        """See `Objects`."""
        return self._is(name, version) and self._put(name, data)

    def remove(self, name: str, version: int) -> bool:
        """See `Objects`."""
        if not self._is(name, version):
            return False
        self._ours[name] = None
        return True

    def names(self) -> Iterator[str]:
        """See `Objects`."""
        yield from (name for name in self._below.names() if name not in self._ours)
        yield from (name for name, stored in self._ours.items() if stored is not None)

    def _is(self, name: str, version: int) -> bool:
        found = self.read(name)
        return found is not None and found.version == version

    def _put(self, name: str, data: bytes) -> bool:
        self._changes -= 1
        # no version of those below is negative
        self._ours[name] = Held(data, self._changes)
        return True
