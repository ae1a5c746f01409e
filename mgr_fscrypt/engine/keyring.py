"""The master keys that are unlocked, in this process's memory only."""

from threading import Lock

from ..format import MasterKey


class Keyring:
    """Keys by identifier. What it does not hold is locked, at once, for everything that is opened from then on."""

    def __init__(self) -> None:
        self._keys: dict[bytes, MasterKey] = {}
        self._turn = Lock()
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
            return self._keys.get(identifier)

    def identifiers(self) -> frozenset[bytes]:
        """What is unlocked."""
        with self._turn:
            return frozenset(self._keys)
