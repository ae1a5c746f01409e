"""Nonces that two inodes have: their keys are then the same."""

REMEMBERED = 1 << 18
"""Nonces that are kept, in some 40 MB; in a larger tree only these are compared."""


class Nonces:
    """The first inode that was seen with each nonce."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit = limit
        self._inodes: dict[bytes, int] = {}
        self.complete = True

    def other(self, nonce: bytes, ino: int) -> int | None:
        """Another inode that has it, if one was seen; else this one is remembered."""
        first = self._inodes.get(nonce)
        if first is not None:
            return None if first == ino else first
        if len(self._inodes) < self._limit:
            self._inodes[nonce] = ino
        else:
            self.complete = False
        return None
