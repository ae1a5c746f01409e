"""How to reach a cluster, and how long to wait for it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .interface import ENGINE

SERVICE = "fscrypt_service"
"""What an engine service announces of itself: a word of its own."""


@dataclass(frozen=True)
class Access:
    """Everything that stands between this program and a file system.

    Attributes:
        conf: the cluster's configuration file; by default what Ceph itself would take.
        entity: who connects, such as `client.admin`.
        keyring: where its key is; by default what the configuration says.
        file_system: the name of the file system; by default the cluster's default one.
        root: the directory of the file system that is mounted as `/`.
        cache: bytes that libcephfs keeps of files' contents, as stored; half of it may wait to be written.
        timeout: seconds after which a cluster that does not answer counts as unreachable.
        announce: what clients that list sessions see of us (doc/facts.md M9), beside the library's own.
        settings: options of Ceph's that win over all else.
    """

    conf: Path | None = None
    entity: str = "client.admin"
    keyring: Path | None = None
    file_system: str | None = None
    root: bytes = b"/"
    cache: int = 64 << 20
    timeout: int = 10
    announce: Mapping[str, str] = field(default_factory=lambda: {ENGINE: "1"})
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def conf_file(self) -> str:
        """The configuration file's name; empty means Ceph's own search."""
        return str(self.conf) if self.conf is not None else os.environ.get("CEPH_CONF", "")

    def absolute(self, path: bytes) -> bytes:
        """`path` of a mount like this as a path of the whole file system."""
        return (self.root.rstrip(b"/") + path).rstrip(b"/") or b"/"

    def announced(self, **more: str) -> str:
        """`announce` and more, as Ceph's option `client_metadata` takes it."""
        return ",".join(f"{key}={value}" for key, value in {**self.announce, **more}.items())

    def kin(self, metadata: Mapping[str, str]) -> bool:
        """Does a session with this announce the same engine service as we do? Of what it does in one place of the tree
        one thing is done at a time: its sessions need not be kept from each other."""
        ours = self.announce.get(SERVICE)
        return ours is not None and metadata.get(SERVICE) == ours

    @property
    def options(self) -> dict[str, str]:
        """Configuration on top of the file's."""
        settings = {
            "client_mount_timeout": str(self.timeout),
            "rados_mon_op_timeout": str(self.timeout),
            "client_oc_size": str(self.cache),
            "client_oc_max_dirty": str(self.cache // 2),
            "client_oc_target_dirty": str(self.cache // 4),
            "client_metadata": self.announced(),
            # as kernel clients have it; without it a chmod leaves the ACLs of others behind (doc/facts.md P2)
            "client_acl_type": "posix_acl",
            # an eviction must be seen, not healed behind our back with stale caches
            "client_reconnect_stale": "false",
        }
        if self.keyring is not None:
            settings["keyring"] = str(self.keyring)
        return settings | dict(self.settings)
