"""What the manager is told of keys that are kept in the cluster."""

import errno
from collections.abc import Callable

from ..ceph.errors import CephError
from ..custody import Custody
from ..keys.lockbox import Lockbox, Tombstone
from ..keys.schedule import Standing
from ..messages import KeyFacts, MessageError, TenantFacts
from ..reported import key_facts, tenant_facts
from .report import Reporter


class Telling:
    """Tells the manager's module, through the monitors, of what was done; of a bundle, and of a dry run, nobody.

    What it did not take is told in a note, and nothing more is sent then: each attempt may take its time.
    """

    def __init__(self, custody: Custody, reporter: Reporter, *, dry_run: bool = False) -> None:
        self._cluster = None if dry_run else custody.cluster
        self._schedule = custody.schedule
        self._reporter = reporter
        self._fs_name = ""
        self._refused = False

    def of_key(self, box: Lockbox | Tombstone) -> bool:
        """Of a master key as it is now; did it take all that it was told so far?"""
        return self._told("fscrypt key adopt", lambda: key_facts(box))

    def of_tenant(self, tenant: str) -> bool:
        """Of a tenant's key as it is now; as `of_key`."""
        return self._cluster is None or self.of_standing(self._schedule.standing(tenant))

    def of_standing(self, standing: Standing) -> bool:
        """The same, where that was read already."""
        return self._told("fscrypt tenant adopt", lambda: tenant_facts(standing))

    def _told(self, command: str, facts: Callable[[], KeyFacts | TenantFacts]) -> bool:
        if self._cluster is None or self._refused:
            return not self._refused
        try:
            self._fs_name = self._fs_name or self._cluster.file_system().name
            self._cluster.command(command, fs=self._fs_name, report=facts().encode())
        except (CephError, MessageError) as error:
            self._refused = True
            why = error.strerror if isinstance(error, CephError) else None
            self._reporter.note(
                f"the manager was not told ({why or error}); `cephfs-fscrypt key rescan` does it later"
            )
        return not self._refused


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
