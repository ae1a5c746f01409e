"""How often the key of a tenant is to be rotated: kept beside it, as the object `rotation.TENANT`."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from .container import LATEST
from .errors import ChangedError, ContainerError, NoSuchKeyError
from .keeper import Keeper
from .managed import Managed
from .objects import Objects

VERSION = 1
_KIND = "rotation"
_PREFIX = "rotation."
_TRIES = 20


@dataclass(frozen=True)
class Standing:
    """How it stands with the rotation of a tenant's key.

    Attributes:
        tenant: whose key it is.
        version: its newest version.
        rotated: when that was made, in seconds since the epoch.
        every: seconds after which another one is to be made; 0: never by itself.
        managers: the key managers that open it, by name.
        others: its other protectors, by name; what opens them has to be given by people.
        versions: how many are kept; with more than one a rotation ended early, or is under way.
    """

    tenant: str
    version: int
    rotated: int
    every: int
    managers: tuple[str, ...]
    others: tuple[str, ...]
    versions: int

    @property
    def due(self) -> int:
        """From when on another version is to be made, in seconds since the epoch; 0: never."""
        return self.rotated + self.every if self.every else 0


class Schedule:
    """The periods of one file system's tenants."""

    def __init__(self, keeper: Keeper, objects: Objects) -> None:
        """`objects` are those that the keeper's safe has."""
        self._keeper = keeper
        self._objects = objects

    def rotate_every(self, tenant: str, seconds: int) -> Standing:
        """Have a tenant's key rotated so often; 0: never by itself.

        Raises:
            NoSuchKeyError: the tenant has no key.
            ChangedError: somebody else sets it all the time.
        """
        with self._keeper.told("rotate-every", f"{tenant}, {seconds} s"):
            self.standing(tenant)
            self._put(tenant, seconds)
            return self.standing(tenant)

    def standing(self, tenant: str) -> Standing:
        """How it stands with one.

        Raises:
            NoSuchKeyError: the tenant has no key.
            ContainerError: its key or its period cannot be read.
        """
        boxes = self._keeper.safe.tenant_keys(tenant)
        if not boxes:
            raise NoSuchKeyError(
                f"tenant {tenant} has no key",
                remedy=f"Make one with `cephfs-fscrypt tenant create {tenant} --kms NAME`.",
            )
        newest = boxes[0]
        return Standing(
            tenant,
            int(newest.key.rpartition(" ")[2]),
            newest.created,
            self._every(tenant),
            tuple(entry.name for entry in newest.in_use() if entry.kind == Managed.kind),
            tuple(entry.name for entry in newest.in_use() if entry.kind != Managed.kind),
            len(boxes),
        )

    def tenants(self) -> list[str]:
        """All whose keys are to be rotated by themselves."""
        return sorted(
            name.removeprefix(_PREFIX) for name in self._objects.names() if name.startswith(_PREFIX)
        )

    def standings(self) -> Iterator[Standing | ContainerError]:
        """All tenants that have a key; what cannot be read as its error."""
        for tenant in self._keeper.safe.tenants():
            try:
                yield self.standing(tenant)
            except ContainerError as error:
                yield error

    def _every(self, tenant: str) -> int:
        stored = self._objects.read(_PREFIX + tenant)
        return 0 if stored is None else _decoded(tenant, stored.data)

    def _put(self, tenant: str, seconds: int) -> None:
        name = _PREFIX + tenant
        data = json.dumps({"kind": _KIND, "version": VERSION, "every": seconds}).encode()
        for _ in range(_TRIES):
            stored = self._objects.read(name)
            if stored is None:
                done = not seconds or self._objects.create(name, data)
            elif seconds:
                done = self._objects.replace(name, data, stored.version)
            else:
                done = self._objects.remove(name, stored.version)
            if done:
                return
        raise ChangedError(f"somebody else changed {name} at the same time", remedy="Run it again.")


def _decoded(tenant: str, data: bytes) -> int:
    try:
        value = json.loads(data)
        known = (value["kind"], value["version"]) == (_KIND, VERSION)
        every = value["every"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ContainerError(
            f"how often the key of tenant {tenant} is rotated cannot be read ({type(error).__name__})",
            remedy=f"Set it again with `cephfs-fscrypt tenant rotate-every {tenant} TIME`.",
        ) from error
    if not known or type(every) is not int or not 0 < every < LATEST:
        raise ContainerError(
            f"how often the key of tenant {tenant} is rotated is not as it is written",
            remedy=f"Set it again with `cephfs-fscrypt tenant rotate-every {tenant} TIME`.",
        )
    return every
