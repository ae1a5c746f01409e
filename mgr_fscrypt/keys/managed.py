"""Protectors that a key manager opens: it wraps a random wrapping key, bound to the tenant and the file system."""

import os

from .binding import Binding
from .errors import ContainerError, KmsAnswerError, RefusedError
from .kms.interface import Kms, Sealed
from .opener import WRAPPING_KEY, Parameters
from .parameters import encoded, octets, text


class Managed:
    """One key of a key manager, under the name that its settings have here."""

    kind = "kms"
    opens = True

    def __init__(self, name: str, kms: Kms) -> None:
        self.name = name
        self._kms = kms

    def check(self) -> None:
        """Wrap and unwrap something. Raises `KmsError`."""
        self._kms.check()

    def rotate(self) -> None:
        """Have the key manager make a new version of its key.

        Raises:
            RefusedError: its kind cannot.
            KmsError: it does not.
        """
        if not self._kms.flags.rotate:
            raise RefusedError(
                f"{self.name} cannot make a new version of its key", remedy="Do it there, by its own means."
            )
        self._kms.rotate()

    def begin(self, binding: Binding) -> tuple[Parameters, bytes]:
        """See `Opener`."""
        wrapping_key = os.urandom(WRAPPING_KEY)
        sealed = self._kms.wrap(wrapping_key, binding.context())
        return {"kms": self.name, "sealed": encoded(sealed.blob), "version": sealed.version}, wrapping_key

    def wrapping_key(self, parameters: Parameters, binding: Binding) -> bytes:
        """See `Opener`."""
        if text(parameters, "kms") != self.name:
            raise ContainerError(f"this is wrapped by {text(parameters, 'kms')}, not by {self.name}")
        sealed = Sealed(octets(parameters, "sealed"), text(parameters, "version"))
        wrapping_key = self._kms.unwrap(sealed, binding.context())
        if len(wrapping_key) != WRAPPING_KEY:
            raise KmsAnswerError(f"{self.name} answered {len(wrapping_key)} bytes, not {WRAPPING_KEY}")
        return wrapping_key
