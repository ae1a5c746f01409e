"""Protectors that a file of random bytes opens, such as one on a stick in a safe."""

from ..format import Secretive
from .binding import Binding
from .derivation import derived, fresh_salt
from .errors import RefusedError
from .opener import Parameters

SMALLEST, LARGEST = 32, 1 << 16


class KeyFile(Secretive):
    """The bytes of such a file.

    Raises:
        RefusedError: there are too few or too many.
    """

    kind = "key-file"
    opens = True
    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        if not SMALLEST <= len(secret) <= LARGEST:
            raise RefusedError(
                f"a key file has {SMALLEST} to {LARGEST} bytes, not {len(secret)}",
                remedy="Make one with `head -c 64 /dev/urandom > FILE`, for your eyes only (mode 0600).",
            )
        self._secret = bytes(secret)

    def begin(self, binding: Binding) -> tuple[Parameters, bytes]:
        """See `Opener`."""
        parameters = fresh_salt()
        return parameters, self.wrapping_key(parameters, binding)

    def wrapping_key(self, parameters: Parameters, binding: Binding) -> bytes:
        """See `Opener`."""
        return derived(self._secret, parameters, self.kind)
