"""The master keys that are unlocked, in this process's memory only."""

from collections.abc import Callable
from threading import RLock

from ..format import MasterKey


class Keyring:
    """Keys by identifier. What it does not hold is locked, at once, for everything that is opened from then on.

    Args:
        kept: asked once for each key that is not there: gives it from where keys are kept, or None. May raise what
            keeps it from it, which whoever asked for the key hears.
    """

    def __init__(self, kept: Callable[[bytes], MasterKey | None] | None = None) -> None:
        self._kept = kept
        self._asked: set[bytes] = set()
        self._keys: dict[bytes, MasterKey] = {}
        self._turn = RLock()
        self._generation = 0

    @property
    def generation(self) -> int:
        """Grows whenever a key goes: who keeps derived keys looks at it before using one."""
        return self._generation

    def add(self, key: MasterKey) -> bytes:
        """Unlock; the answer is the key's identifier."""
        identifier = key.identifier
        with self._turn:
            self._keys[identifier] = key
        return identifier

    def remove(self, identifier: bytes) -> bool:
        """Lock; was it there? Open files go on until they are closed, as with the kernel."""
        with self._turn:
            self._generation += 1
            return self._keys.pop(identifier, None) is not None

    def find(self, identifier: bytes) -> MasterKey | None:
        """The key, or None where it is locked."""
        with self._turn:
            found = self._keys.get(identifier)
            if found is not None or self._kept is None or identifier in self._asked:
                return found
            found = self._kept(identifier)
            self._asked.add(identifier)
            if found is not None:
                self.add(found)
            return found

    def identifiers(self) -> frozenset[bytes]:
        """What is unlocked."""
        with self._turn:
            return frozenset(self._keys)
