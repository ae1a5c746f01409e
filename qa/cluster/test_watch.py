"""What watches over a cluster: the doctor, and the health checks that no other file has (doc/manager.md)."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.messages import KeyFacts, Policy, ProtectorFacts, SubtreeFacts
from qa.cluster.test_manager import answered
from qa.fakes.engine_cases import remove
from qa.lab.cluster import Cluster
from qa.load.program import done

EVERYWHERE = "allow rw tag cephfs data=cephfs"


@pytest.fixture(scope="module", autouse=True)
def enabled(cluster: Cluster) -> None:
    cluster.enable_module("fscrypt")


@pytest.fixture
def vault(cluster: Cluster, key: Path) -> Iterator[str]:
    """A registered subtree without a gate, in a directory of its own."""
    answered(cluster, "status")
    top = f"/watch-{uuid.uuid4().hex[:8]}"
    with connect(Access()) as mount:
        mount.mkdir(top.encode(), 0o777)
    done("subtree", "create", f"{top}/vault", "--make", "--key", key)
    yield f"{top}/vault"
    answered(cluster, "subtree", "forget", "cephfs", f"{top}/vault")
    with connect(Access()) as mount:
        remove(mount, top.encode())


@pytest.mark.usefixtures("vault")
def test_the_doctor_looks_at_a_real_cluster(cluster: Cluster):
    stray = f"client.stray-{uuid.uuid4().hex[:8]}"
    cluster.ceph("auth", "get-or-create", stray, "mon", "allow r", "mds", "allow rw", "osd", EVERYWHERE)
    found: list[dict[str, str]] = []

    def examined() -> bool:
        # 18.2's manager may be starting, and what was learnt of caps some seconds old
        found[:] = json.loads(answered(cluster, "doctor", "cephfs", "--format", "json"))["findings"]
        return any(each["check"] == "caps" and stray in each["found"] for each in found)

    try:
        cluster.wait("a doctor who knows of the stray", examined)
    finally:
        cluster.ceph("auth", "rm", stray)
    told = {(each["check"], each["grade"]) for each in found}
    assert {(name, "ok") for name in ("release", "database", "pool", "layout")} <= told, found
    assert ("caps", "warning") in told
    assert not any(each["remedy"] == "" for each in found if each["grade"] != "ok")
    assert any(each["found"].startswith("cephfs: replicated data pools: ") for each in found)
    assert "CHECK" in answered(cluster, "doctor")


def test_health_tells_of_a_key_that_one_way_opens(cluster: Cluster):
    mark = uuid.uuid4().hex
    key = KeyFacts(
        mark, f"key-{mark[:8]}", "", "active", 1, 1, 0, 0, 0, (ProtectorFacts("mine", "passphrase", 1, 1),)
    )
    # an inode number that the MDS gives to no directory of these tests
    facts = SubtreeFacts(0x7FFF_0001_0000, "engine", Policy("AES-256-XTS", "AES-256-CBC-CTS", 32, mark))
    answered(cluster, "key", "adopt", "cephfs", report=key.encode())
    answered(cluster, "subtree", "adopt", "cephfs", f"/watch-{mark}", report=facts.encode())

    def told() -> bool:
        answered(cluster, "status")  # starts 18.2's manager again
        return f"key {key.name} of nobody on cephfs: only mine opens it" in cluster.ceph("health", "detail")

    try:
        cluster.wait("the health check", told)
    finally:
        answered(cluster, "subtree", "forget", "cephfs", f"/watch-{mark}")
    cluster.wait("health without it", lambda: not told())
