"""Unlocks keys that are kept in the cluster, by their tenants' key managers: the service opens with nothing else."""

from pathlib import Path

from ..ceph.access import Access
from ..custody import Custody, custody
from ..keys.errors import KeyStoreError, KmsAnswerError, KmsUnreachableError
from ..keys.managed import Managed, Managers
from .unlocking import Unlocked, UnlockError

_AGAIN = (KmsUnreachableError, KmsAnswerError)


class KeptKeys:
    """An `Unlocker`. It is connected for as long as one key is unlocked, and keeps nothing."""

    def __init__(self, access: Access, credentials: Path) -> None:
        self._access = access
        self._credentials = credentials

    def unlock(self, identifier: bytes) -> Unlocked:
        """See `Unlocker`."""
        asked: list[str] = []
        try:
            with custody(self._access, self._credentials) as found:
                box = found.safe.find(identifier.hex())
                opener = found.by_tenant([Managers(lambda name: _noted(found, name, asked))])
                key = found.acts.unlock(box, [opener])
        except KeyStoreError as error:
            raise UnlockError(
                str(error),
                kind=type(error).__name__,
                remedy=error.remedy,
                backend=asked[-1] if asked else "",
                again=isinstance(error, _AGAIN),
            ) from error
        except OSError as error:
            # ours say what happened and have no secret
            raise UnlockError(str(error), kind=type(error).__name__, again=True) from error
        return Unlocked(key, asked[-1] if asked else "")


def _noted(found: Custody, name: str, asked: list[str]) -> Managed:
    """A key manager, noted when it is asked."""
    asked.append(name)
    return found.managed(name)
