"""Protectors that a key manager opens: it wraps a random wrapping key, bound to the tenant and the file system."""

import os
from collections.abc import Callable, Iterable

from .binding import Binding
from .container import Container
from .errors import ContainerError, KeyStoreError, KmsAnswerError, RefusedError
from .kms.interface import SIGNING_KEY, Kms, Sealed
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

    @property
    def can_sign(self) -> bool:
        """Does it have a key that signs?"""
        return self._kms.flags.sign

    def sign(self, data: bytes) -> bytes:
        """A signature of it.

        Raises:
            RefusedError: it has no key that signs.
            KmsError: it does not.
        """
        self._require_signing()
        return self._kms.sign(data)

    def has_signed(self, data: bytes, signature: bytes) -> bool:
        """Did it? Raises as `sign`."""
        self._require_signing()
        return self._kms.verify(data, signature)

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

    def forget(self, parameters: Parameters) -> None:
        """Remove what the key manager keeps for a container that nothing needs any more, where its kind keeps
        something. Raises `KmsError`, `ContainerError`."""
        if self._kms.flags.stores:
            self._kms.forget(_sealed(parameters))

    def begin(self, binding: Binding) -> tuple[Parameters, bytes]:
        """See `Opener`."""
        wrapping_key = os.urandom(WRAPPING_KEY)
        sealed = self._kms.wrap(wrapping_key, binding.context())
        return {"kms": self.name, "sealed": encoded(sealed.blob), "version": sealed.version}, wrapping_key

    def wrapping_key(self, parameters: Parameters, binding: Binding) -> bytes:
        """See `Opener`."""
        if text(parameters, "kms") != self.name:
            raise ContainerError(f"this is wrapped by {text(parameters, 'kms')}, not by {self.name}")
        wrapping_key = self._kms.unwrap(_sealed(parameters), binding.context())
        if len(wrapping_key) != WRAPPING_KEY:
            raise KmsAnswerError(f"{self.name} answered {len(wrapping_key)} bytes, not {WRAPPING_KEY}")
        return wrapping_key

    def _require_signing(self) -> None:
        if not self.can_sign:
            raise RefusedError(
                f"{self.name} has no key that signs",
                remedy=f"Where its kind can, add it with `--option {SIGNING_KEY}=KEY` (doc/kms.md).",
            )


class Managers:
    """Whatever key managers wrapped, each by the one that the container names. An `Opener`, which makes none."""

    kind = Managed.kind
    opens = True

    def __init__(self, managed: Callable[[str], Managed]) -> None:
        """`managed` gives a key manager by its name, and may raise a `KeyStoreError`."""
        self._managed = managed

    def begin(self, binding: Binding) -> tuple[Parameters, bytes]:
        """Refused: a new protector is of one key manager."""
        raise RefusedError(
            f"it is not said which key manager wraps for {binding.tenant}", remedy="Name one, as `kms:NAME`."
        )

    def wrapping_key(self, parameters: Parameters, binding: Binding) -> bytes:
        """See `Opener`."""
        return self._managed(text(parameters, "kms")).wrapping_key(parameters, binding)


def forget(containers: Iterable[Container], managed: Callable[[str], Managed]) -> list[str]:
    """Have key managers remove what they keep for containers that nothing needs any more; what went wrong.

    Only once those that came in their place were read back.
    """
    trouble = []
    for each in containers:
        protector, parameters = each.header.protector, each.header.parameters
        if protector.kind != Managed.kind:
            continue
        try:
            managed(text(parameters, "kms")).forget(parameters)
        except KeyStoreError as error:
            trouble.append(
                f"what {protector.name} wrapped is not needed any more, and it may keep something for it: {error}"
            )
    return trouble


def _sealed(parameters: Parameters) -> Sealed:
    return Sealed(octets(parameters, "sealed"), text(parameters, "version"))
