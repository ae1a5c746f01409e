"""G1 to G5, M9, M10, M14: what servers enforce against clients, and when."""

import errno
import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cephfs
import pytest

from qa.facts.client import Client, Clients, RefusedError
from qa.facts.tree import BLOCK, content, create, until

if TYPE_CHECKING:
    from qa.lab.cluster import Cluster

EVERYWHERE = "allow rw tag cephfs data=cephfs"
"""The OSD caps that `ceph fs authorize` gives."""
DEFAULT_NAMESPACE = 'allow rw namespace="" tag cephfs data=cephfs'
OBSERVED = 3.0
"""Seconds for which changed caps were seen to have no effect on a mounted client (20 in the long run)."""


@dataclass(frozen=True)
class Entity:
    """A cephx user of this test alone."""

    cluster: "Cluster"
    name: str
    key: str

    @classmethod
    def make(cls, cluster: "Cluster", osd: str) -> "Entity":
        name = f"facts-{uuid.uuid4().hex[:8]}"
        caps = ("mon", "allow r", "mds", "allow rw", "osd", osd)
        cluster.ceph("auth", "get-or-create", f"client.{name}", *caps)
        return cls(cluster, name, cluster.ceph("auth", "get-key", f"client.{name}"))

    def mount(self, clients: Clients) -> Client:
        return clients.open(self.name, key=self.key)

    def change(self, osd: str) -> None:
        caps = ("mon", "allow r", "mds", "allow rw", "osd", osd)
        self.cluster.ceph("auth", "caps", f"client.{self.name}", *caps)

    @property
    def osd_caps(self) -> str:
        (entity,) = self.cluster.ceph_json("auth", "get", f"client.{self.name}")
        caps: str = entity["caps"]["osd"]
        return caps


@pytest.fixture
def entity(cluster: "Cluster") -> Iterator[Callable[[str], Entity]]:
    """Make cephx users, with the OSD caps given."""
    made: list[Entity] = []

    def make(osd: str) -> Entity:
        made.append(Entity.make(cluster, osd))
        return made[-1]

    yield make
    for one in made:
        cluster.ceph("auth", "rm", f"client.{one.name}")


@dataclass(frozen=True)
class Isolated:
    """A directory whose files have a RADOS namespace of their own, and a plain one beside it."""

    directory: str
    plain: str
    namespace: str

    @property
    def admitted(self) -> str:
        return f"{DEFAULT_NAMESPACE}, allow rw namespace={self.namespace} tag cephfs data=cephfs"


@pytest.fixture
def isolated(fs: cephfs.LibCephFS, place: str) -> Isolated:
    made = Isolated(f"{place}/isolated", f"{place}/plain", f"facts-{uuid.uuid4().hex[:8]}")
    fs.mkdir(made.directory, 0o777)
    fs.mkdir(made.plain, 0o777)
    fs.setxattr(made.directory, "ceph.dir.layout.pool_namespace", made.namespace.encode(), 0)
    for directory in (made.directory, made.plain):
        create(fs, f"{directory}/file", b"f" * BLOCK)
        fs.chmod(f"{directory}/file", 0o666)
    return made


def number_of(act: Callable[..., object], *arguments: object) -> int:
    """The errno with which `act` is refused."""
    with pytest.raises(RefusedError) as refused:
        act(*arguments)
    return refused.value.errno


def rewrite(client: Client, path: str, flags: int = 0) -> None:
    """Write the first block so that it reaches the OSD."""
    handle = client.open(path, os.O_RDWR | flags, 0o666)
    client.write(handle, b"w" * BLOCK, 0)
    client.fsync(handle, 0)
    client.close(handle)


def test_g1_osd_caps_of_a_namespace_are_a_gate(
    clients: Clients, entity: Callable[[str], Entity], isolated: Isolated
) -> None:
    inside, outside = f"{isolated.directory}/file", f"{isolated.plain}/file"
    stray = entity(DEFAULT_NAMESPACE).mount(clients)
    assert content(stray, outside) == b"f" * BLOCK
    rewrite(stray, outside)
    assert number_of(content, stray, inside) == errno.EPERM
    assert number_of(rewrite, stray, inside) == errno.EPERM
    for caps in (isolated.admitted, EVERYWHERE):
        admitted = entity(caps).mount(clients)
        rewrite(admitted, inside)
        assert content(admitted, inside) == b"w" * BLOCK
        clients.end(admitted)


def test_g2_the_only_feature_to_require_is_alternate_name(cluster: "Cluster") -> None:
    required = ("fs", "required_client_features", "cephfs")

    def names() -> list[str]:
        (file_system,) = cluster.ceph_json("fs", "dump")["filesystems"]
        return list(file_system["mdsmap"]["required_client_features"].values())

    assert "alternate_name" not in names()
    try:
        cluster.ceph(*required, "add", "alternate_name")
        assert "alternate_name" in names()
    finally:
        cluster.ceph(*required, "rm", "alternate_name")
    known = cluster.ceph("fs", "feature", "ls")
    assert "alternate_name" in known
    assert "fscrypt" not in known


def test_g3_g5_a_namespace_does_not_stop_what_goes_through_the_mds(
    cluster: "Cluster", clients: Clients, entity: Callable[[str], Entity], isolated: Isolated
) -> None:
    stray = entity(DEFAULT_NAMESPACE).mount(clients)
    inside = f"{isolated.directory}/file"
    stray.chmod(inside, 0o777)
    stray.rename(inside, f"{isolated.plain}/moved")
    assert number_of(content, stray, f"{isolated.plain}/moved") == errno.EPERM
    stray.truncate(f"{isolated.plain}/moved", 10)
    stray.unlink(f"{isolated.plain}/moved")
    assert number_of(rewrite, stray, f"{isolated.directory}/new", os.O_CREAT) == errno.EPERM
    assert clients.open().stat(f"{isolated.directory}/new").st_size == 0


def test_g5_a_file_renamed_into_an_isolated_directory_stays_outside(
    fs: cephfs.LibCephFS, clients: Clients, entity: Callable[[str], Entity], isolated: Isolated
) -> None:
    fs.rename(f"{isolated.plain}/file", f"{isolated.directory}/moved")
    fs.link(f"{isolated.directory}/file", f"{isolated.plain}/link")
    stray = entity(DEFAULT_NAMESPACE).mount(clients)
    assert content(stray, f"{isolated.directory}/moved") == b"f" * BLOCK
    assert number_of(content, stray, f"{isolated.plain}/link") == errno.EPERM


def test_g5_m14_caps_that_narrow_act_on_a_mounted_client_only_after_eviction(
    clients: Clients, entity: Callable[[str], Entity], isolated: Isolated
) -> None:
    inside = f"{isolated.directory}/file"
    user = entity(EVERYWHERE)
    mounted = user.mount(clients)
    rewrite(mounted, inside)
    user.change(DEFAULT_NAMESPACE)
    end = time.monotonic() + OBSERVED
    while time.monotonic() < end:
        rewrite(mounted, inside)
        time.sleep(0.2)
    assert number_of(content, user.mount(clients), inside) == errno.EPERM
    mounted.evict()
    assert number_of(rewrite, mounted, inside) == errno.ESHUTDOWN


def test_g5_m14_caps_that_widen_act_on_the_next_mount(
    clients: Clients, entity: Callable[[str], Entity], isolated: Isolated
) -> None:
    inside = f"{isolated.directory}/file"
    user = entity(DEFAULT_NAMESPACE)
    mounted = user.mount(clients)
    assert number_of(content, mounted, inside) == errno.EPERM
    user.change(isolated.admitted)
    time.sleep(OBSERVED)
    assert number_of(content, mounted, inside) == errno.EPERM
    assert content(user.mount(clients), inside) == b"f" * BLOCK


def test_g5_fs_authorize_drops_the_narrowing(cluster: "Cluster", entity: Callable[[str], Entity]) -> None:
    """20.2 rewrites the OSD caps when the permission differs; 18.2 refuses to touch an entity that exists."""
    user = entity(DEFAULT_NAMESPACE)
    authorize = ("fs", "authorize", "cephfs", f"client.{user.name}", "/", "r")
    if cluster.release == "tentacle":
        cluster.ceph(*authorize)
        assert user.osd_caps == "allow r tag cephfs data=cephfs"
    else:
        with pytest.raises(Exception, match="EINVAL"):
            cluster.ceph(*authorize)
        assert user.osd_caps == DEFAULT_NAMESPACE


@pytest.mark.tentacle
def test_g4_subvolume_authorize_changes_osd_caps(cluster: "Cluster", entity: Callable[[str], Entity]) -> None:
    """It refuses an entity that it did not make, unless told; then it adds the subvolume's own namespace."""
    user = entity(DEFAULT_NAMESPACE)
    name = f"facts-{uuid.uuid4().hex[:8]}"
    cluster.ceph("fs", "subvolume", "create", "cephfs", name, "--namespace-isolated")
    authorize = ("fs", "subvolume", "authorize", "cephfs", name, user.name)
    try:
        with pytest.raises(Exception, match="EPERM"):
            cluster.ceph(*authorize)
        assert user.osd_caps == DEFAULT_NAMESPACE
        cluster.ceph(*authorize, "--allow-existing-id")
        kept, added = user.osd_caps.split(",")
        assert kept == DEFAULT_NAMESPACE
        assert added.endswith(f" namespace=fsvolumens___nogroup_{name}")
    finally:
        cluster.ceph("fs", "subvolume", "rm", "cephfs", name)


def test_m9_sessions_show_what_clients_announce(cluster: "Cluster", clients: Clients) -> None:
    client = clients.open(client_metadata="fscrypt_engine=facts,fscrypt_epoch=7")
    sessions = {one["id"]: one for one in cluster.ceph_json("tell", "mds.cephfs:0", "session", "ls")}
    metadata = sessions[client.session]["client_metadata"]
    assert metadata["fscrypt_engine"] == "facts"
    assert metadata["fscrypt_epoch"] == "7"
    assert metadata["entity_id"] == "admin"
    assert metadata["root"] == "/"
    assert {"ceph_version", "client_features", "hostname"} <= metadata.keys()


def test_m10_an_evicted_client_is_shut_down_and_blocklisted(
    cluster: "Cluster", clients: Clients, place: str
) -> None:
    client = clients.open()
    handle = client.open(f"{place}/file", os.O_CREAT | os.O_RDWR, 0o644)
    client.write(handle, b"1" * BLOCK, 0)
    address = client.get_addrs().split("/")[-1]
    client.evict()
    until(lambda: address in cluster.ceph("osd", "blocklist", "ls"), "the client on the blocklist", 10)
    assert number_of(client.write, handle, b"2" * BLOCK, 0) == errno.ESHUTDOWN
    assert number_of(client.stat, place) == errno.ESHUTDOWN
