"""What a command works with: the mounted file system, the keys, and the register of the manager."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..ceph.access import Access
from ..ceph.connect import connect
from ..ceph.mount import CephMount
from ..engine import FileSystem, Keyring
from ..format import MasterKey
from .outcome import Exit, Failure


@dataclass(frozen=True)
class Connection:
    """One connection, for the time of one command.

    Args:
        mount: for what lies outside of encryption: sessions, absolute paths, the cluster's commands.
        files: the encrypted file system.
        key: the key that was given, if one was.
    """

    mount: CephMount
    files: FileSystem
    key: MasterKey | None

    def required_key(self) -> MasterKey:
        """Give the key.

        Raises:
            Failure: none was given.
        """
        if self.key is None:
            raise Failure(
                Exit.USAGE, "this needs a master key", remedy="give it with `--key FILE` or `--key -`"
            )
        return self.key

    def file_system_name(self) -> str:
        """Give the name of the file system that is mounted.

        Raises:
            CephError: the entity may not ask the monitors.
        """
        cluster = self.mount.cluster
        if cluster.access.file_system is not None:
            return cluster.access.file_system
        known = cluster.command("fs dump")
        names = {each["id"]: str(each["mdsmap"]["fs_name"]) for each in known["filesystems"]}
        return names[known["default_fscid"]]


@contextmanager
def opened(access: Access, key: MasterKey | None) -> Iterator[Connection]:
    """Connect for a ``with`` block. Raises as `ceph.connect.connect`."""
    with connect(access) as mount:
        keyring = Keyring()
        if key is not None:
            keyring.add(key)
        with FileSystem(mount, keyring) as files:
            yield Connection(mount, files, key)
