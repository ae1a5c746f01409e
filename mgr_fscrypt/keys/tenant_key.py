"""The one key of a tenant, which wraps all of its master keys: unwrapped once, it opens a thousand of them."""

import os
from typing import Self

from ..format import Secretive
from .binding import Binding
from .derivation import derived, fresh_salt
from .errors import ContainerError, WrongSecretError
from .opener import WRAPPING_KEY, Parameters
from .parameters import number

LARGEST_VERSION = 10**9 - 1


class TenantKey(Secretive):
    """A version of a tenant's key, in memory. It opens master keys that were wrapped under this version."""

    kind = "tenant"
    opens = True
    __slots__ = ("_secret", "version")

    def __init__(self, secret: bytes, version: int) -> None:
        if len(secret) != WRAPPING_KEY:
            raise ContainerError(f"a tenant's key has {WRAPPING_KEY} bytes, not {len(secret)}")
        self._secret = bytes(secret)
        self.version = version

    @classmethod
    def fresh(cls, version: int = 1) -> Self:
        """A random one."""
        return cls(os.urandom(WRAPPING_KEY), version)

    def expose(self) -> bytes:
        """Its bytes, for wrapping them."""
        return self._secret

    def begin(self, binding: Binding) -> tuple[Parameters, bytes]:
        """See `Opener`."""
        parameters = {**fresh_salt(), "tenant_key": self.version}
        return parameters, self.wrapping_key(parameters, binding)

    def wrapping_key(self, parameters: Parameters, binding: Binding) -> bytes:
        """See `Opener`."""
        version = version_of(parameters)
        if version != self.version:
            raise WrongSecretError(
                f"this needs version {version} of the key of {binding.tenant}, not {self.version}",
                remedy="Unlock that version.",
            )
        return derived(self._secret, parameters, self.kind)


def version_of(parameters: Parameters) -> int:
    """Which version of its tenant's key a container needs. Raises `ContainerError`."""
    return number(parameters, "tenant_key", 1, LARGEST_VERSION)


def called(version: int) -> str:
    """What its containers call a version of a tenant's key."""
    return f"tenant key {version}"
