"""What the manager is told of what is kept beside the data: by a client, and by the engine service.

Nothing of it wraps or opens anything.
"""

from .keys.kms import Settings
from .keys.lockbox import Lockbox, Tombstone
from .keys.schedule import Standing
from .messages import KeyFacts, ProtectorFacts, TenantFacts
from .messages.kms import KmsFacts


def key_facts(box: Lockbox | Tombstone) -> KeyFacts:
    """A master key."""
    if isinstance(box, Tombstone):
        return KeyFacts(box.key, box.name, "", "destroyed", 0, box.destroyed, 0, 0, 0, ())
    protectors = tuple(
        ProtectorFacts(entry.name, entry.kind, entry.container.header.protector.created, entry.proven)
        for entry in box.in_use()
    )
    return KeyFacts(
        box.key,
        box.name,
        box.binding.tenant,
        box.state.value,
        box.generation,
        box.created,
        box.expires,
        box.due,
        box.drill_due,
        protectors,
    )


def tenant_facts(standing: Standing) -> TenantFacts:
    """The key of a tenant."""
    return TenantFacts(
        standing.tenant,
        standing.version,
        standing.rotated,
        standing.every,
        standing.managers,
        standing.others,
    )


def kms_facts(settings: Settings) -> KmsFacts:
    """A key manager."""
    options = tuple(f"{name}={value}" for name, value in sorted(settings.options.items()))
    return KmsFacts(
        settings.name, settings.kind, settings.address, settings.key, settings.credentials, options
    )
