"""What is done to keys, in RADOS; and who may read them there."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.cluster import Cluster
from mgr_fscrypt.ceph.errors import NotAllowedError
from mgr_fscrypt.ceph.named_objects import NamedObjects
from mgr_fscrypt.format import MasterKey
from mgr_fscrypt.keys.safe import NAMESPACE
from qa.fakes.key_cases import FIRST, Desk, KeyCases
from qa.fakes.tenant_cases import TenantCases
from qa.lab.cluster import Cluster as LabCluster


@pytest.fixture(scope="module")
def rados() -> Iterator[Cluster]:
    with Cluster(Access()) as found:
        yield found


@pytest.fixture
def objects(rados: Cluster) -> Iterator[NamedObjects]:
    """A namespace of its own for each test."""
    pool = rados.file_system().metadata_pool
    with NamedObjects(rados, pool, f"test-{uuid.uuid4().hex}") as found:
        yield found
        for name in list(found.names()):
            stored = found.read(name)
            if stored is not None:
                found.remove(name, stored.version)


class TestKeys(KeyCases):
    """In RADOS."""


class TestTenants(TenantCases):
    """In RADOS."""


class TestObjects:
    def test_an_object_is_made_once_and_replaced_by_who_saw_it(self, objects: NamedObjects):
        assert objects.read("a") is None
        assert objects.create("a", b"one")
        assert not objects.create("a", b"two")
        seen = objects.read("a")
        assert seen is not None
        assert objects.replace("a", b"three", seen.version)
        assert not objects.replace("a", b"four", seen.version)
        assert not objects.remove("a", seen.version)
        now = objects.read("a")
        assert now is not None
        assert now.data == b"three"
        assert list(objects.names()) == ["a"]
        assert objects.remove("a", now.version)
        assert not objects.replace("a", b"five", now.version)
        assert not objects.remove("a", now.version)
        assert objects.read("a") is None


def test_a_client_reads_keys_and_nothing_else(rados: Cluster, cluster: LabCluster, tmp_path: Path):
    pool = rados.file_system().metadata_pool
    name, master = f"k{uuid.uuid4().hex[:8]}", MasterKey(os.urandom(64))
    with NamedObjects(rados, pool, NAMESPACE) as kept:
        Desk(kept, rados.identity, rados.file_system().fscid).create(name, master)
    entity, keyring = f"client.{name}", tmp_path / "keyring"
    caps = ("mon", "allow r", "osd", f"allow r pool={pool} namespace={NAMESPACE}")
    keyring.write_text(cluster.ceph("auth", "get-or-create", entity, *caps))
    with Cluster(Access(entity=entity, keyring=keyring)) as reader:
        with NamedObjects(reader, pool, NAMESPACE) as objects:
            desk = Desk(objects, rados.identity, rados.file_system().fscid)
            assert desk.acts.unlock(desk.safe.find(name), [FIRST]) == master
            with pytest.raises(NotAllowedError):
                desk.life.disable(name)
        data = rados.command("fs ls")[0]["data_pools"][0]
        for place in ((pool, ""), (pool, "fscrypt.jobs"), (data, "")):
            with NamedObjects(reader, *place) as others, pytest.raises(NotAllowedError):
                others.read("mds0_openfiles.0")
