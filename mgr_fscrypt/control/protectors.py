"""Keys of registered subtrees that one loss would make useless: looked for bit by bit, in rounds, for health."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..messages import BY_TENANT
from ..store import Found, Key, Place, Spot, Tenant, Wanted
from .cluster import FileSystemMap, names_of
from .results import Result
from .text import one_line, shell_word
from .values import Simplified

MISSING = "FSCRYPT_PROTECTOR_MISSING"
NEEDED = 2
"""Ways to open a key that are enough: one, and another one for the day on which that is lost."""
WATCHED = 500
"""Keys that one look reads."""
_NAMED = 20


class WatchedKeys(Protocol):
    """Reported keys; `store.KeyTable` tells what each call means."""

    def page(self, fscid: int | None, after: Spot | None, limit: int) -> Sequence[Key]:
        """List in order."""
        ...


class WatchedTenants(Protocol):
    """Reported tenants; `store.TenantTable` tells what each call means."""

    def at(self, fscid: int, tenant: str) -> Tenant | None:
        """Find by name."""
        ...


class KeptSubtrees(Protocol):
    """Registered subtrees; `store.SubtreeTable` tells what each call means."""

    def page(self, fscid: int | None, after: Place, limit: int, wanted: Wanted = ...) -> Found:
        """List in order."""
        ...


@dataclass(frozen=True)
class _Round:
    """What a round found by now: how many keys, and the lines of the first ones."""

    count: int = 0
    lines: tuple[str, ...] = ()

    def with_line(self, line: str) -> "_Round":
        return _Round(self.count + 1, (*self.lines, line)[:_NAMED])


class ProtectorWatch:
    """Finds keys that fewer than `NEEDED` ways open, of those under which a subtree is registered.

    What was reported is all that is known: whether a way was ever seen to open, not whether it still does. The key of a
    tenant, where that opens it, counts with all of its own protectors.

    Args:
        keys, tenants, subtrees: what is registered.
        cluster: the file systems that there are.
        watched: keys that one look reads.
    """

    def __init__(
        self,
        *,
        keys: WatchedKeys,
        tenants: WatchedTenants,
        subtrees: KeptSubtrees,
        cluster: FileSystemMap,
        watched: int = WATCHED,
    ) -> None:
        self._keys = keys
        self._tenants = tenants
        self._subtrees = subtrees
        self._cluster = cluster
        self._watched = watched
        self._place: Spot | None = None
        self._begun = self._ended = _Round()

    def look(self) -> Result:
        """Look at some more keys; on the database's thread."""
        found = self._keys.page(None, self._place, self._watched)
        names = names_of(self._cluster)
        for key in found:
            if key.fscid in names and key.state in ("active", "disabled"):
                self._judge(key, names[key.fscid])
        if len(found) < self._watched:
            self._ended, self._begun, self._place = self._begun, _Round(), None
        else:
            self._place = Spot(found[-1].fscid, found[-1].identifier)
        return Result()

    def checks(self) -> Simplified:
        """Give the health check, as ceph-mgr takes it, by the last whole round."""
        if not self._ended.count:
            return {}
        return {
            MISSING: {
                "severity": "warning",
                "summary": f"{self._ended.count} master keys of subtrees are one loss away from being useless",
                "count": self._ended.count,
                "detail": [
                    *self._ended.lines,
                    "keep a second way outside: `cephfs-fscrypt key add KEY --with ...`",
                ],
            }
        }

    def _judge(self, key: Key, fs_name: str) -> None:
        ways = self._ways(key)
        if len(ways) >= NEEDED:
            return
        used = self._subtrees.page(key.fscid, Place(), 1, Wanted(key_identifier=key.identifier)).subtrees
        if used:
            what = f"only {ways[0]} opens it" if ways else "nothing was ever seen to open it"
            add = f"cephfs-fscrypt key add {shell_word(key.name)} --fs {shell_word(fs_name)} --with recovery-code"
            self._begun = self._begun.with_line(
                one_line(
                    f"key {key.name} of {key.tenant or 'nobody'} on {fs_name}: {what}; run `{add} --open ...`"
                )
            )

    def _ways(self, key: Key) -> list[str]:
        """The names of what was seen to open it."""
        ways = [name for name, kind, _, proven in key.protectors if proven and kind != BY_TENANT]
        under_tenant = [name for name, kind, _, proven in key.protectors if proven and kind == BY_TENANT]
        tenant = self._tenants.at(key.fscid, key.tenant) if under_tenant else None
        if tenant is not None:
            return ways + [
                f"{each} (of tenant {tenant.tenant})" for each in (*tenant.managers, *tenant.others)
            ]
        return ways + under_tenant
