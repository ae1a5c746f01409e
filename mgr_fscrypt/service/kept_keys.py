"""Unlocks keys that are kept in the cluster, by their tenants' key managers: the service opens with nothing else."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from ..keys.acts import Acts
from ..keys.binding import Binding
from ..keys.errors import KeyStoreError, KmsAnswerError, KmsUnreachableError
from ..keys.managed import Managed, Managers
from ..keys.opener import Parameters
from ..keys.parameters import text
from ..keys.safe import Safe
from ..keys.tenants import ByTenant, Tenants
from .memory import SecretMemoryError
from .tenant_keys import TenantKeys
from .unlocking import Backends, Unlocked, UnlockError

_AGAIN = (KmsUnreachableError, KmsAnswerError)


class Kept(Protocol):
    """The keys of the file system, reached. `custody.Custody` is one."""

    @property
    def safe(self) -> Safe:
        """All of them."""

    @property
    def acts(self) -> Acts:
        """What is done to them."""

    @property
    def tenants(self) -> Tenants:
        """The tenants' keys."""

    @property
    def managers(self) -> Managers:
        """What opens those."""


class KeptKeys:
    """An `Unlocker`. It is connected for as long as one key is unlocked."""

    def __init__(
        self,
        reach: Callable[[], AbstractContextManager[Kept]],
        backends: Backends,
        tenant_keys: TenantKeys,
    ) -> None:
        """Where the keys are, who is told how key managers were met, and what is here of tenants' keys."""
        self._reach = reach
        self._backends = backends
        self._tenant_keys = tenant_keys

    def unlock(self, identifier: bytes) -> Unlocked:
        """See `Unlocker`."""
        asked: _Asked | None = None
        try:
            with self._reach() as found:
                asked = _Asked(found.managers, self._backends)
                key = found.acts.unlock(
                    found.safe.find(identifier.hex()), [self._by_tenant(found, asked, identifier)]
                )
        except KeyStoreError as error:
            raise told(error, "" if asked is None else asked.name_of(error)) from error
        except SecretMemoryError as error:
            raise UnlockError(
                str(error), kind="SecretMemoryError", remedy="raise the service's LimitMEMLOCK"
            ) from error
        except OSError as error:
            # ours say what happened and have no secret
            raise UnlockError(str(error), kind=type(error).__name__, again=True) from error
        return Unlocked(key, asked.answered)

    def _by_tenant(self, found: Kept, asked: "_Asked", identifier: bytes) -> ByTenant:
        return ByTenant(
            found.tenants,
            lambda _: [asked],
            lambda binding, version, fetch: self._tenant_keys.key(binding, version, identifier, fetch),
        )


class _Asked:
    """Key managers, each noted as it was met. An `Opener`.

    Attributes:
        answered: the one that did what it was asked.
    """

    kind = Managed.kind
    opens = True

    def __init__(self, managers: Managers, backends: Backends) -> None:
        self.answered = ""
        self._managers = managers
        self._backends = backends
        self._failed: list[tuple[KeyStoreError, str]] = []

    def begin(self, binding: Binding) -> tuple[Parameters, bytes]:
        """See `Opener`."""
        return self._managers.begin(binding)

    def wrapping_key(self, parameters: Parameters, binding: Binding) -> bytes:
        """See `Opener`."""
        name = text(parameters, "kms")
        begun = self._backends.now()
        try:
            found = self._managers.wrapping_key(parameters, binding)
        except KeyStoreError as error:
            self._failed.append((error, name))
            self._backends.failed(told(error, name))
            raise
        self.answered = name
        self._backends.answered(name, begun)
        return found

    def name_of(self, error: KeyStoreError) -> str:
        """Whose error it is, or ""."""
        return next((name for each, name in self._failed if each is error), "")


def told(error: KeyStoreError, backend: str) -> UnlockError:
    """What a key manager of that name answered, or was said of it, for lists and remedies."""
    return UnlockError(
        str(error),
        kind=type(error).__name__,
        remedy=error.remedy,
        backend=backend,
        again=isinstance(error, _AGAIN),
    )
