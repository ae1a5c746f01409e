"""What a command works with: the mounted file system, the keys, and the register of the manager."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..ceph.access import Access
from ..ceph.connect import connect, connect_guarded
from ..ceph.guard.mount import GuardedMount
from ..ceph.mount import CephMount
from ..engine import DiskCache, FileSystem, KernelNames
from ..format import MasterKey
from .given_keys import GivenKeys
from .outcome import Exit, Failure


@dataclass(frozen=True)
class Connection:
    """One connection, for the time of one command.

    Args:
        mount: for what lies outside of encryption: sessions, absolute paths, the cluster's commands.
        files: the encrypted file system.
        keys: what was given of keys.
    """

    mount: CephMount | GuardedMount
    files: FileSystem
    keys: GivenKeys

    def require_keys(self) -> None:
        """Raises `Failure`: no key was given, nor anything that opens one."""
        if self.keys.key is None and not self.keys.any:
            raise Failure(
                Exit.USAGE,
                "this needs a master key",
                remedy="give it with `--key FILE` or `--key -`, or what opens one that is kept with `--open KIND`",
            )

    def required_key(self) -> MasterKey:
        """Give the key that was named.

        Raises:
            Failure: none was.
        """
        self.require_keys()
        if self.keys.key is None:
            raise Failure(Exit.USAGE, "this needs to know which key", remedy="name it with `--key-name NAME`")
        return self.keys.key

    def file_system_name(self) -> str:
        """Give the name of the file system that is mounted.

        Raises:
            CephError: the entity may not ask the monitors.
        """
        return self.mount.cluster.file_system().name


@contextmanager
def opened(
    access: Access,
    keys: GivenKeys,
    *,
    cache: DiskCache | None = None,
    guarded: bool = False,
    kernel_names: KernelNames | None = None,
) -> Iterator[Connection]:
    """Connect for a ``with`` block. Raises as `ceph.connect.connect`, or with `guarded` as `connect_guarded`."""
    with (
        (connect_guarded if guarded else connect)(access) as mount,
        FileSystem(mount, keys.keyring, cache=cache, kernel_names=kernel_names) as files,
    ):
        yield Connection(mount, files, keys)
