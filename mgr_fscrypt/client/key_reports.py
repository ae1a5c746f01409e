"""What the manager is told of keys that are kept in the cluster."""

from ..ceph.errors import CephError
from ..custody import Custody
from ..keys.lockbox import Lockbox, Tombstone
from ..messages import KeyFacts, ProtectorFacts


def facts_of(box: Lockbox | Tombstone) -> KeyFacts:
    """A key, without anything that wraps it."""
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


def report(custody: Custody, box: Lockbox | Tombstone) -> str | None:
    """Tell the manager's module, through the monitors; why it was not told, or None. Of a bundle nobody is told."""
    if custody.cluster is None:
        return None
    try:
        fs_name = custody.cluster.file_system().name
        custody.cluster.command("fscrypt key adopt", fs=fs_name, report=facts_of(box).encode())
    except CephError as error:
        return error.strerror or str(error)
    return None
