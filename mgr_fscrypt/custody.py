"""The keys of a file system, where they lie, or of a bundle: what joins the rooms `ceph` and `keys`."""

import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from .ceph.access import Access
from .ceph.cluster import Cluster
from .ceph.named_objects import NamedObjects
from .format import MasterKey
from .keys.acts import Acts
from .keys.audit import Audit
from .keys.bundle import BundleObjects
from .keys.errors import NoSuchKeyError
from .keys.keeper import Keeper
from .keys.kms import open_kms, signs
from .keys.lifecycle import Lifecycle
from .keys.managed import Managed, Managers
from .keys.objects import Objects
from .keys.opener import Opener
from .keys.overlay import Overlay
from .keys.register import Register
from .keys.safe import NAMESPACE, Safe
from .keys.schedule import Schedule
from .keys.signatures import Signatures
from .keys.tenants import ByTenant, Tenants

CREDENTIALS = Path("/etc/ceph/fscrypt/credentials")
"""Where what opens key managers lies on this host, a file each, unless another directory is named."""


@dataclass(frozen=True)
class Custody:
    """What a command does to keys, and what it finds them by.

    Attributes:
        keeper: who acts.
        kms: the key managers that are known.
        managed: a key manager by its name, reached once.
        schedule: how often tenants' keys are rotated.
        cluster: that they lie in; None for a bundle.
    """

    keeper: Keeper
    kms: Register
    managed: Callable[[str], Managed]
    schedule: Schedule
    cluster: Cluster | None

    @property
    def safe(self) -> Safe:
        """The keys."""
        return self.keeper.safe

    @property
    def acts(self) -> Acts:
        """What is done to protectors."""
        return Acts(self.keeper)

    @property
    def lifecycle(self) -> Lifecycle:
        """What is done to whole keys."""
        return Lifecycle(self.keeper)

    @property
    def tenants(self) -> Tenants:
        """What is done to tenants' keys."""
        return Tenants(self.keeper)

    @property
    def signatures(self) -> Signatures:
        """Of the audit."""
        return Signatures(self.keeper.audit, *self.safe.home)

    def signers_of(self, tenant: str) -> list[str]:
        """Names of the key managers of a tenant that have a key that signs."""
        return [name for name in self.managers_of(tenant) if signs(self.kms.find(name))]

    def by_tenant(self, openers: Iterable[Opener] | None = None) -> ByTenant:
        """What opens keys by those of their tenants, which `openers` open; key managers where they are not given."""
        given = (self.managers,) if openers is None else tuple(openers)
        return ByTenant(self.tenants, lambda _: given)

    def for_keys(self, openers: Iterable[Opener]) -> tuple[Opener, ...]:
        """What was given, for master keys: it opens them, or the keys of their tenants."""
        given = tuple(openers)
        return (*given, self.by_tenant(given))

    @property
    def managers(self) -> Managers:
        """Whatever key managers wrapped, each reached when it is asked for."""
        return Managers(self.managed)

    def managers_of(self, tenant: str) -> list[str]:
        """Names of the key managers that open the newest key of a tenant."""
        newest = self.safe.newest_tenant_key(tenant)
        entries = () if newest is None else newest.in_use()
        return [entry.name for entry in entries if entry.kind == Managed.kind]

    def unlocked(self, identifier: bytes, openers: Iterable[Opener]) -> MasterKey | None:
        """The master key of that identifier, or None where none is kept.

        Raises:
            KeyStoreError: it is kept, and nothing that was given opens it.
        """
        try:
            box = self.safe.find(identifier.hex())
        except NoSuchKeyError:
            return None
        return self.acts.unlock(box, openers)


@contextmanager
def custody(
    access: Access, credentials: Path, *, bundle: Path | None = None, dry_run: bool = False
) -> Iterator[Custody]:
    """For a `with` block: on the cluster, or on a `bundle` without it. With `dry_run` nothing is changed.

    Raises:
        CephError: the cluster or the namespace cannot be reached.
        ContainerError: the bundle is none.
    """
    with ExitStack() as stack:
        if bundle is not None:
            found = BundleObjects(bundle)
            yield _custody(found, found.fsid, found.fscid, access, credentials, stack, None)
            return
        cluster = stack.enter_context(Cluster(access))
        place = cluster.file_system()
        kept = stack.enter_context(NamedObjects(cluster, place.metadata_pool, NAMESPACE))
        objects: Objects = Overlay(kept) if dry_run else kept
        yield _custody(objects, cluster.identity, place.fscid, access, credentials, stack, cluster)


def _custody(
    objects: Objects,
    fsid: str,
    fscid: int,
    access: Access,
    credentials: Path,
    stack: ExitStack,
    cluster: Cluster | None,
) -> Custody:
    who = f"user {os.geteuid()} at {socket.gethostname()} as {access.entity}"
    register = Register(objects)
    reached: dict[str, Managed] = {}

    def managed(name: str) -> Managed:
        if name not in reached:
            kms = open_kms(register.find(name), credentials, timeout=access.timeout)
            reached[name] = Managed(name, stack.enter_context(kms))
        return reached[name]

    keeper = Keeper(Safe(objects, fsid, fscid), Audit(objects, who, time.time), who, time.time)
    return Custody(keeper, register, managed, Schedule(keeper, objects), cluster)
