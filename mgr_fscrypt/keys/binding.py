"""What a wrapped key is bound to, so that it cannot be slipped in for another one."""

import re
from dataclasses import dataclass

from .errors import ContainerError

TENANT = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
"""Names of tenants, keys and key managers: they are parts of objects' names, and people type them."""
_FSID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Binding:
    """The owner of keys on one file system.

    Attributes:
        fsid: the cluster's.
        fscid: the file system's number in it, which survives a rename.
        tenant: who owns the key.

    Raises:
        ContainerError: a part cannot be one.
    """

    fsid: str
    fscid: int
    tenant: str

    def __post_init__(self) -> None:
        if not _FSID.fullmatch(self.fsid):
            raise ContainerError("a cluster's fsid is a UUID in small letters")
        if type(self.fscid) is not int or not 0 < self.fscid < 1 << 32:
            raise ContainerError("a file system's number is from 1 to 2^32 - 1")
        if not TENANT.fullmatch(self.tenant):
            raise ContainerError(
                "a tenant's name has 1 to 63 small letters, digits, '-', '_' and '.', and begins with one of the "
                "first two"
            )

    def context(self) -> dict[str, str]:
        """As key managers bind it."""
        return {"fsid": self.fsid, "fscid": str(self.fscid), "tenant": self.tenant}

    def __str__(self) -> str:
        return f"tenant {self.tenant} of file system {self.fscid} of cluster {self.fsid}"
