"""Whether the engine service can open a key: by key managers only. Else a client has to, and is told how."""

import errno
from collections.abc import Callable

from ..messages import BY_TENANT
from .keys import KeyLine, Keys
from .refusal import RefusalError
from .results import Result
from .subtree_detail import SubtreeDetail
from .tenants import TenantPage, Tenants

_OPENS = {
    "passphrase": "passphrase",
    "recovery-code": "recovery-code",
    "key-file": "key-file:FILE",
    "shares": "shares:FILE",
    "escrow": "escrow:PEM",
}
"""What a client is given for a protector, by its kind."""


class Opening:
    """What is known of keys, as far as the service needs them.

    Args:
        keys, tenants: what is known.
        answer: does work on the database, and answers in time.
    """

    def __init__(
        self, *, keys: Keys, tenants: Tenants, answer: Callable[[Callable[[], Result]], Result]
    ) -> None:
        self._keys = keys
        self._tenants = tenants
        self._answer = answer

    def key(self, fs_name: str, named: str) -> KeyLine:
        """The key of that name or identifier. Raises `RefusalError` where none was reported."""
        found = self._answer(lambda: self._keys.show(fs_name, named))
        if not isinstance(found.answer, KeyLine):
            raise RefusalError(found.code, found.status)
        return found.answer

    def require(self, key: KeyLine, line: Callable[[str], str]) -> None:
        """Hold that the service can open it.

        Args:
            key: the one.
            line: for a client, by what it is given to open the key.

        Raises:
            RefusalError: EPERM: it is disabled or gone; EOPNOTSUPP: no key manager opens it; with the line. Or nobody
                tells now.
        """
        if key.state != "active":
            raise RefusalError(
                errno.EPERM,
                f"the key {key.name} is {key.state}, nothing was changed; take another one, or see `cephfs-fscrypt key "
                "enable`",
            )
        if not self.by_managers(key):
            kinds = [kind for _, kind, *_ in key.protectors if kind != BY_TENANT] or list(self._others(key))
            opened_by = next((_OPENS[kind] for kind in kinds if kind in _OPENS), "KIND")
            raise RefusalError(
                errno.EOPNOTSUPP,
                f"no key manager opens the key {key.name}, so it takes what the manager must not have, nothing was "
                f"changed; run on a client: {line(opened_by)}",
            )

    def require_subtree(self, known: SubtreeDetail, line: str) -> None:
        """The same for the key of a subtree; `line` is without what opens it."""
        if known.key is None:
            raise RefusalError(
                errno.EOPNOTSUPP,
                f"the key {known.subtree.key_identifier} was never reported, nothing was changed; if it is kept in the "
                f"cluster, `cephfs-fscrypt key rescan` reports it; if not, run on a client: {line} --key FILE",
            )
        self.require(known.key, lambda opened_by: f"{line} --open {opened_by}")

    def by_managers(self, key: KeyLine) -> bool:
        """Do key managers open it, as far as is known? A tenant that was never reported is left to the service.

        Raises:
            RefusalError: nobody tells now.
        """
        if not any(kind == BY_TENANT for _, kind, *_ in key.protectors):
            return False
        tenants = self._tenant(key)
        return not tenants or any(managers for managers, _ in tenants)

    def _others(self, key: KeyLine) -> tuple[str, ...]:
        return tuple(name for _, others in self._tenant(key) for name in others)

    def _tenant(self, key: KeyLine) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
        """Who opens the key of its tenant: key managers, others. Raises `RefusalError`: nobody tells now."""
        found = self._answer(lambda: self._tenants.show(key.fs_name, key.tenant))
        if not isinstance(found.answer, TenantPage):
            raise RefusalError(found.code, found.status)
        return [(line.managers, line.others) for line in found.answer.tenants]
