"""A connection to RADOS: pools, the cluster's own commands, and objects."""

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import rados

from .access import Access
from .errors import CephError, NotAllowedError, UnreachableError, error_of
from .releases import Release


@contextmanager
def translated(action: str, subject: bytes | str | None = None) -> Iterator[None]:
    """Turn librados's exceptions into ours."""
    try:
        yield
    except rados.Error as error:
        raise error_of(error.errno or errno.EIO, action, subject) from error


@dataclass(frozen=True)
class FileSystem:
    """A CephFS file system: its number, which never changes, its name, its pool for metadata, and the first one for
    data, which files lie in by default."""

    fscid: int
    name: str
    metadata_pool: str
    data_pool: str


class Cluster:
    """librados, connected. A context manager: it always shuts down (doc/facts.md F14)."""

    def __init__(self, access: Access) -> None:
        """Connect.

        Raises:
            UnreachableError: no monitor answered within `access.timeout` seconds.
            CephError: the key or the configuration is wrong.
        """
        self.access = access
        try:
            self._rados = rados.Rados(
                name=access.entity, conffile=access.conf_file, conf=access.options | {"client_metadata": ""}
            )
            self._rados.connect()
        except rados.Error as error:
            raise _connect_error(error, access) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()

    def shutdown(self) -> None:
        """End the connection; a second time does nothing."""
        self._rados.shutdown()

    @property
    def identity(self) -> str:
        """The cluster's fsid."""
        with translated("fsid"):
            return str(self._rados.get_fsid())

    def command(self, prefix: str, **arguments: object) -> Any:
        """What the monitors answer to a command, from its JSON.

        Raises:
            CephError: refused (EACCES: the entity's mon caps do not allow it) or not answered in time.
        """
        question = json.dumps({"prefix": prefix, "format": "json", **arguments})
        with translated(prefix):
            code, answer, reason = self._rados.mon_command(question, b"")
        if code != 0:
            raise CephError(-code, f"{reason or 'refused'} ({prefix})")
        return json.loads(answer) if answer else None

    def mds_releases(self) -> tuple[Release, ...]:
        """The releases of all MDS daemons that run."""
        return tuple(Release.parse(name) for name in self.command("versions").get("mds", {}))

    def file_system(self) -> FileSystem:
        """The file system that `access` names, or the cluster's default one.

        Raises:
            NotFoundError: there is none, or none of that name.
        """
        known = self.command("fs dump")
        name = self.access.file_system
        for each in known["filesystems"]:
            found = each["mdsmap"]
            if found["fs_name"] == name or (name is None and each["id"] == known["default_fscid"]):
                with translated("look up pool"):
                    metadata = self._rados.pool_reverse_lookup(found["metadata_pool"])
                    data = self._rados.pool_reverse_lookup(found["data_pools"][0])
                return FileSystem(each["id"], str(found["fs_name"]), str(metadata), str(data))
        raise error_of(errno.ENOENT, "fs dump", name or "a default file system")

    def erasure_coded(self, pool: str) -> bool:
        """Does the pool hold coded pieces instead of copies?"""
        for found in self.command("osd pool ls", detail="detail"):
            if found["pool_name"] == pool:
                return bool(found["type"] == _ERASURE)
        raise error_of(errno.ENOENT, "osd pool ls", pool)

    def room(self, pool: str) -> int:
        """Bytes of contents that a pool can still take. Unlike what statfs(2) says, any entity may ask that may ask
        monitors at all; to others' statfs they give no answer."""
        for found in self.command("df")["pools"]:
            if found["name"] == pool:
                return int(found["stats"]["max_avail"])
        raise error_of(errno.ENOENT, "df", pool)

    def is_full(self) -> bool:
        """Is one of the pools full, by its quota or its OSDs?"""
        return any(
            "full" in pool["flags_names"].split(",") for pool in self.command("osd pool ls", detail="detail")
        )

    def manager_addresses(self) -> frozenset[str]:
        """Addresses (`ip:port/nonce`) of the clients that ceph-mgr's own modules are."""
        clients = self.command("mgr dump").get("active_clients", [])
        return frozenset(
            f"{one['addr']}/{one['nonce']}" for client in clients for one in client.get("addrvec", [])
        )

    def blocklisted(self) -> frozenset[str]:
        """Addresses (`ip:port/nonce`) that the newest OSD map refuses."""
        return frozenset(self.command("osd dump").get("blocklist", {}))

    def catch_up(self) -> None:
        """Have the newest OSD map before our next operation on an object."""
        with translated("wait for the OSD map"):
            self._rados.wait_for_latest_osdmap()

    def ioctx(self, pool: str, namespace: str = "") -> "rados.Ioctx":
        """Objects of a pool. The caller closes it. For this room only."""
        with translated("open pool", pool):
            context = self._rados.open_ioctx(pool)
            context.set_namespace(namespace)
        return context


# the cluster's pg_pool_t::TYPE_ERASURE
_ERASURE = 3


def _connect_error(error: rados.Error, access: Access) -> CephError:
    number = error.errno or errno.EIO
    who = f"{access.entity} with {access.conf_file or 'the default configuration'}"
    if number == errno.ETIMEDOUT:
        return UnreachableError(
            number,
            f"the cluster did not answer {who} within {access.timeout} s. Nothing was changed. "
            f"Look at its monitors (`ceph -s`), then try again",
        )
    if number in (errno.ENOENT, errno.EACCES, errno.EPERM):
        # librados says ENOENT when it finds no keyring at all
        return NotAllowedError(
            errno.EACCES,
            f"{who} has no valid key. Nothing was changed. Name its keyring, and look at `ceph auth get`",
        )
    return error_of(number, f"connect as {who}: {error}")
