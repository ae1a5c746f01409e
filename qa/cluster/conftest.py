"""Fixtures of the tests on a cluster; a module that needs one in another shape makes its own of the same name."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.cluster import Cluster as Rados
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.interface import Session
from mgr_fscrypt.ceph.leases import NAMESPACE
from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.ceph.presence import Registry
from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.engine.fence import strangers
from mgr_fscrypt.format import MasterKey
from qa.fakes.engine_cases import SECRET, remove
from qa.lab.cluster import Cluster, ClusterError
from qa.load.full_pool import POOL


@pytest.fixture(scope="session", autouse=True)
def dead_are_gone() -> None:
    """The MDS lists for five minutes whom tests before these have killed, and who meets what they held is told so; so
    is whoever waits for anything while one of them is still among those who may hold others up."""
    _end(lambda one: not Path("/proc", one.metadata.get("pid", "self")).exists())
    with Rados(Access()) as cluster:
        ioctx = cluster.ioctx(POOL, NAMESPACE)
        registry = Registry(ioctx)
        for session in registry.clients():
            if not registry.lives(session):
                registry.remove(session)
        ioctx.close()


@pytest.fixture
def mount() -> Iterator[CephMount]:
    with connect(Access()) as found:
        yield found


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A key file."""
    file = tmp_path / "key"
    file.write_bytes(SECRET)
    file.chmod(0o600)
    return file


@pytest.fixture
def files(mount: CephMount) -> Iterator[FileSystem]:
    """A client with the key."""
    keyring = Keyring()
    keyring.add(MasterKey(SECRET))
    with FileSystem(mount, keyring, durable_close=True) as made:
        yield made


@pytest.fixture
def subtree(files: FileSystem) -> Iterator[str]:
    """An encrypted directory under the key; removed afterwards with all that is in it."""
    path = f"/subtree-{uuid.uuid4().hex[:8]}"
    files.mkdir(path)
    files.create_subtree(path, MasterKey(SECRET).identifier)
    yield path
    with connect(Access()) as other:
        remove(other, path.encode())


@pytest.fixture
def settled_manager(cluster: Cluster) -> None:
    """A mgr that runs and whose clients are known, for tests that want no other client on the file system.

    18.2.7's crashes by itself (doc/facts.md M1): its dead session stays for a minute, and the new mgr's clients are
    told to the monitors some seconds late. Until then they are strangers to everybody, rightly.
    """
    if cluster.release == "reef":
        cluster.start("mgr", "x")
        cluster.wait("the mgr", lambda: bool(cluster.ceph_json("mgr", "stat")["available"]))
        try:
            cluster.wait("the mgr's clients being known", _manager_is_known, timeout=45)
        except ClusterError:
            # it crashed once more meanwhile; the MDS may list what it left for five minutes
            cluster.start("mgr", "x")
            _end(lambda one: one.metadata.get("entity_id") == "x")
            cluster.wait("the mgr's clients being known", _manager_is_known)


@pytest.fixture
def nobody_left() -> None:
    """For tests that fence, and evict nobody: the MDS lists for five minutes who was killed by a test before."""
    with connect(Access()) as mount:
        for each in strangers(mount, b"/"):
            mount.evict(each)


def _end(unwanted: Callable[[Session], bool]) -> None:
    """Evict whoever is so, but for the manager's clients."""
    with connect(Access()) as mount:
        for one in mount.sessions():
            if not one.manager and unwanted(one):
                mount.evict(one)


def _manager_is_known() -> bool:
    with connect(Access()) as mount:
        return all(one.manager for one in mount.sessions() if one.metadata.get("entity_id") == "x")
