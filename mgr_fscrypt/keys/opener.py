"""What opens a protector, by its kind."""

from collections.abc import Mapping
from typing import Protocol

from .binding import Binding

Parameters = Mapping[str, str | int]
"""What a kind keeps in a container's header: salts and costs, in the clear and authenticated."""

WRAPPING_KEY = 32
"""Bytes of the key that wraps: AES-256."""

KINDS: Mapping[str, str] = {
    "tenant": "the tenant's key",
    "kms": "the key manager's key",
    "passphrase": "the passphrase",
    "key-file": "the key file",
    "escrow": "the private key",
    "recovery-code": "the recovery code",
    "shares": "the shares",
}
"""Kinds of protectors, and what people are told of what opens them."""


class Opener(Protocol):
    """A secret that was given, or a way to one, for protectors of one kind. Not kept longer than it is needed."""

    @property
    def kind(self) -> str:
        """A name of `KINDS`."""

    @property
    def opens(self) -> bool:
        """Can it open what it wraps? A public key cannot."""

    def begin(self, binding: Binding) -> tuple[Parameters, bytes]:
        """Fresh parameters, and the wrapping key of 32 bytes that goes with them: never the same twice.

        Raises:
            KmsError: where a key manager is asked.
        """

    def wrapping_key(self, parameters: Parameters, binding: Binding) -> bytes:
        """The wrapping key that goes with stored parameters; which they are tells only the container.

        Raises:
            ContainerError: the parameters are none of this kind.
            WrongSecretError: what was given can be told not to be the right one.
            KmsError: as `begin`.
        """
