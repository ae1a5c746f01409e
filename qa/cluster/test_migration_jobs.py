"""Migrations through the manager, as jobs of its service, on a real cluster: from the plan to the purge."""

import os
import signal
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.format import MasterKey
from mgr_fscrypt.messages import BY_TENANT, KeyFacts, ProtectorFacts
from mgr_fscrypt.migrate import Direction
from mgr_fscrypt.migrate.trees import PlainTree
from qa.cluster.test_jobs import answered, command_of, refused, serving, until
from qa.fakes.engine_cases import SECRET, remove
from qa.fakes.file_service import interpreter
from qa.fakes.migration_cases import file_system, make_source, picture
from qa.lab.cluster import Cluster

KEY = MasterKey(SECRET).identifier.hex()


@pytest.fixture(scope="module", autouse=True)
def _service(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The manager's service has the key of these tests, and the manager believes that a key manager opens it."""
    keys = tmp_path_factory.mktemp("keys")
    (keys / KEY).touch(mode=0o600)
    (keys / KEY).write_bytes(SECRET)
    cluster.enable_module("fscrypt")
    python = interpreter(tmp_path_factory.mktemp("service"), keys)
    cluster.ceph("config", "set", "mgr", "mgr/fscrypt/service_python", str(python))
    cluster.ceph("config", "set", "mgr", "mgr/fscrypt/service", "child")
    cluster.wait("the service", lambda: str(keys) in command_of(serving(cluster)), timeout=120)
    # health has nothing to say of it, not even where subtrees of other tests have this key
    protectors = (ProtectorFacts("kms", BY_TENANT, 1, 1), ProtectorFacts("paper", "recovery-code", 1, 1))
    facts = KeyFacts(KEY, f"migrated-{uuid.uuid4().hex[:8]}", "migrated", "active", 1, 1, 0, 0, 0, protectors)
    answered(cluster, "key", "adopt", "cephfs", "--report", facts.encode())
    yield
    cluster.ceph("config", "set", "mgr", "mgr/fscrypt/service_python", "")


@pytest.fixture
def tree(mount: CephMount) -> Iterator[str]:
    above = f"/jobs-{uuid.uuid4().hex[:8]}".encode()
    with connect(Access()) as other:
        make_source(other, Direction.ENCRYPT, above + b"/tree")
    yield (above + b"/tree").decode()
    with connect(Access()) as other:
        remove(other, above)


def seen(path: str, *, encrypted: bool) -> dict[bytes, tuple[object, ...]]:
    """What lies at the path, by a client that is gone afterwards."""
    with connect(Access()) as mount, file_system(mount) as files:
        return picture(files if encrypted else PlainTree(mount), path.encode())


def ended(cluster: Cluster, job: str) -> dict[str, Any]:
    found = until(cluster, job, lambda each: each["state"] in ("done", "failed", "cancelled"), f"{job}'s end")
    assert found["state"] == "done", found["why"]
    return found


def registered(cluster: Cluster, path: str) -> int:
    """The inode that the manager knows there; 0: none."""
    page = answered(cluster, "subtree", "ls", "cephfs")["subtrees"]
    return next((int(each["inode"]) for each in page if each["path"] == path), 0)


def test_from_the_plan_to_the_purge(cluster: Cluster, tree: str):
    def job(verb: str, *words: str) -> dict[str, Any]:
        return ended(cluster, answered(cluster, "migrate", verb, "cephfs", tree, *words)["id"])

    before = seen(tree, encrypted=False)
    with connect(Access()) as other:
        source = other.stat(tree.encode()).ino
    by = ("--master-key", KEY)
    plan = job("plan", *by)["result"]
    assert (plan["direction"], plan["clear"], plan["files"]) == ("encrypt", True, 7)
    refused(cluster, "in the clear", "migrate", "start", "cephfs", tree, "--decrypt")

    # slow enough to be met at work
    begun = answered(
        cluster,
        "migrate",
        "start",
        "cephfs",
        tree,
        *by,
        "--plan",
        plan["plan"],
        "--evict",
        "--files-per-second",
        "4",
    )["id"]
    until(cluster, begun, lambda each: each["state"] == "running" and each["done"] > 0, "the copying")
    answered(cluster, "job", "pause", begun)
    until(cluster, begun, lambda each: each["state"] == "paused", "the pause")
    assert seen(tree, encrypted=False) == before
    answered(cluster, "job", "resume", begun)
    until(cluster, begun, lambda each: each["state"] == "running", "the resumption")
    os.kill(serving(cluster), signal.SIGKILL)
    done = ended(cluster, begun)["result"]
    assert (done["standing"]["state"], done["written"]) == ("done", 0)
    assert seen(tree, encrypted=True) == before
    assert answered(cluster, "migrate", "status", "cephfs", tree)["id"] == begun
    with connect(Access()) as other:
        new = other.stat(tree.encode()).ino
    assert new != source
    cluster.wait("the register", lambda: registered(cluster, tree) == new, timeout=60)

    compared = job("verify")["result"]
    assert job("verify", "--no-key")["result"] == compared
    assert compared == {
        "same": done["standing"]["verified"],
        "differ": 0,
        "missing": 0,
        "extra": 0,
        "error": 0,
    }
    assert job("rollback", "--evict")["result"]["standing"]["source"] == source
    assert seen(tree, encrypted=False) == before
    cluster.wait("the end of its record", lambda: registered(cluster, tree) == 0, timeout=60)
    again = job("start", *by, "--evict")["result"]["standing"]
    assert again["copied"] == done["standing"]["copied"]
    assert job("purge")["result"]["standing"]["state"] == ""
    assert seen(tree, encrypted=True) == before
    cluster.wait("the register", lambda: registered(cluster, tree) == new, timeout=60)
    answered(cluster, "subtree", "forget", "cephfs", tree)
