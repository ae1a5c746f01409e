"""What the manager is told of keys that are kept in the cluster."""

import errno

from ..ceph.errors import CephError
from ..custody import Custody
from ..keys.lockbox import Lockbox, Tombstone
from ..keys.schedule import Standing
from ..reported import key_facts, tenant_facts
from .report import Reporter


def report(custody: Custody, box: Lockbox | Tombstone) -> str | None:
    """Tell the manager's module, through the monitors; why it was not told, or None. Of a bundle nobody is told."""
    return _told(custody, "fscrypt key adopt", key_facts(box).encode())


def report_tenant(custody: Custody, standing: Standing) -> str | None:
    """Tell it of a tenant's key; as `report`."""
    return _told(custody, "fscrypt tenant adopt", tenant_facts(standing).encode())


def tell_of_tenant(custody: Custody, reporter: Reporter, tenant: str) -> None:
    """Tell it how a tenant's key is now; a note says so where it was not told."""
    refusal = report_tenant(custody, custody.schedule.standing(tenant))
    if refusal is not None:
        reporter.note(f"the manager was not told ({refusal}); `cephfs-fscrypt key rescan` does it later")


class Destroyed:
    """What the manager's register knows of keys that were destroyed: it outlives tombstones that were lost with a pool.

    Attributes:
        silent: why it did not tell, where it did not; nothing is known of these keys then.
    """

    def __init__(self, custody: Custody) -> None:
        self._cluster = custody.cluster
        self.silent = "" if custody.cluster is not None else "a bundle has no manager"

    def __call__(self, key: str) -> bool:
        """Is this key, by its identifier, known to be destroyed? It is asked until it does not answer once."""
        if self._cluster is None or self.silent:
            return False
        try:
            found = self._cluster.command("fscrypt key show", fs=self._cluster.file_system().name, key=key)
        except CephError as error:
            if error.errno != errno.ENOENT:
                self.silent = error.strerror or str(error)
            return False
        return bool(found["state"] == "destroyed")


def _told(custody: Custody, command: str, report: str) -> str | None:
    if custody.cluster is None:
        return None
    try:
        custody.cluster.command(command, fs=custody.cluster.file_system().name, report=report)
    except CephError as error:
        return error.strerror or str(error)
    return None
