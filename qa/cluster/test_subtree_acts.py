"""Subtrees through the manager: made, released, held, removed and found by jobs of the service, on a real cluster.

The service runs by itself, with keys out of files in the place of a key manager; what the manager believes of the key
was reported to it, as a client does.
"""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cephfs
import pytest
import rados

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.engine import FileMode, FileSystem, Keyring
from mgr_fscrypt.format import MasterKey
from mgr_fscrypt.messages import KeyFacts, ProtectorFacts
from qa.cluster.test_manager import answered, refused
from qa.demo.released import Checked, ReleasedTree
from qa.fakes.engine_cases import remove
from qa.lab.cluster import Cluster
from qa.load.program import ROOT, done

CHILD = "/run/cephfs-fscrypt/service.sock"


@dataclass(frozen=True)
class Manager:
    """The manager with a service, and a key that the service has."""

    cluster: Cluster
    key: str
    file: Path
    master: MasterKey

    def run(self, *words: str) -> str:
        return answered(self.cluster, "subtree", *words)

    def job(self, *words: str) -> dict[str, Any]:
        """The job that a command begins, when it is over."""
        answer = json.loads(self.run(*words, "--format", "json"))
        return self.ended(str(answer.get("job", answer)["id"]))

    def ended(self, job: str) -> dict[str, Any]:
        def state() -> dict[str, Any]:
            found: dict[str, Any] = json.loads(answered(self.cluster, "job", "show", job, "--format", "json"))
            return found

        self.cluster.wait(
            f"the end of job {job}", lambda: state()["state"] in ("done", "failed", "cancelled"), timeout=90
        )
        return state()

    def shown(self, path: str) -> dict[str, Any]:
        """What is known of a subtree; empty: nothing is."""
        page = json.loads(answered(self.cluster, "subtree", "ls", "cephfs", "--format", "json"))
        return next((each for each in page["subtrees"] if each["path"] == path), {})

    def gate(self, path: str) -> dict[str, Any]:
        gates = json.loads(answered(self.cluster, "gate", "show", "cephfs", "--format", "json"))["gates"]
        return next((each for each in gates if each["path"] == path), {})

    def becomes(self, what: str, so: Callable[[], bool]) -> None:
        self.cluster.wait(what, so, timeout=90)


@contextmanager
def serving(cluster: Cluster, directory: Path, *program: str) -> Iterator[None]:
    """A service that the manager asks."""
    path = directory / "run" / "service.sock"
    with (directory / "service.log").open("wb") as log:
        service = subprocess.Popen(
            [sys.executable, "-m", *program, "--socket", str(path)],
            cwd=ROOT,
            stderr=log,
        )
        try:
            set_options(cluster, service_socket=str(path), service="socket")
            cluster.wait("the service", lambda: serves(cluster, service.pid), timeout=90)
            yield
        finally:
            set_options(cluster, service="child", service_socket=CHILD)
            service.terminate()
            service.wait(30)


def serves(cluster: Cluster, process: int) -> bool:
    shown = answered(cluster, "service", "status")
    return "engine service: serving" in shown and f"process {process} " in shown


def set_options(cluster: Cluster, **values: str) -> None:
    for name, value in values.items():
        cluster.ceph("config", "set", "mgr", f"mgr/fscrypt/{name}", value)


@pytest.fixture(scope="module")
def manager(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    cluster.enable_module("fscrypt")
    folder = tmp_path_factory.mktemp("acts")
    master, name, file = MasterKey(os.urandom(64)), f"acts-{uuid.uuid4().hex[:8]}", folder / "key"
    file.touch(0o600)
    file.write_bytes(master.expose())
    keys = folder / "keys"
    keys.mkdir(mode=0o700)
    (keys / master.identifier.hex()).touch(0o600)
    (keys / master.identifier.hex()).write_bytes(master.expose())
    protectors = (ProtectorFacts("kms", "tenant", 1, 0),)
    facts = KeyFacts(master.identifier.hex(), name, "acts", "active", 1, 1, 0, 0, 0, protectors)
    with serving(cluster, folder, "qa.fakes.file_service", str(keys)):
        answered(cluster, "key", "adopt", "cephfs", report=facts.encode())
        yield Manager(cluster, name, file, master)
    gone = KeyFacts(facts.identifier, name, "", "destroyed", 2, 1, 0, 0, 0, ())
    answered(cluster, "key", "adopt", "cephfs", report=gone.encode())


def released(manager: Manager, path: str, namespace: str, local: Path) -> Checked:
    """As kernel clients find it, by the servers alone."""
    cluster = rados.Rados(conffile=os.environ["CEPH_CONF"])
    cluster.connect()
    mount = cephfs.LibCephFS(rados_inst=cluster)
    mount.mount()
    try:
        pool = mount.getxattr(path.encode(), "ceph.dir.layout.pool").decode()
        with cluster.open_ioctx(pool) as data:
            data.set_namespace(namespace)
            return ReleasedTree(mount, data, manager.master).check(path.encode(), local)
    finally:
        mount.shutdown()
        cluster.shutdown()


def test_a_subtree_from_its_begin_to_its_end(manager: Manager, tmp_path: Path):
    path, by = f"/acts-{uuid.uuid4().hex[:8]}", ("--key", manager.file)
    words = ("create", "cephfs", path, "--master-key", manager.key, "--keep", "")
    looked = manager.job(*words, "--dry-run")
    assert (looked["state"], looked["result"]["found"], manager.gate(path)) == ("done", "missing", {})
    namespace = looked["result"]["namespace"]
    assert namespace.startswith(f"fscrypt-{path[1:]}")

    manager.run(*words)
    manager.becomes("the subtree", lambda: manager.shown(path).get("mode") == "engine")
    gate = manager.gate(path)
    assert (gate["rung"], gate["state"], gate["namespace"]) == ("isolate", "set", namespace)
    assert f"namespace {namespace}" in done("subtree", "status", path)

    local = tmp_path / "tree"
    (local / "d").mkdir(parents=True)
    (local / "d" / "some name").write_bytes(os.urandom(5000))
    (local / "link").symlink_to("d/some name")
    done("put", "--quiet", *by, local, path)
    assert done("ls", *by, f"{path}/tree/d") == "some name\n"

    assert manager.job("release", "cephfs", path)["state"] == "done"
    manager.becomes("kernel mode", lambda: manager.shown(path).get("mode") == "kernel")
    checked = released(manager, path, namespace, local)
    assert (checked.files, checked.symlinks, checked.differences) == (1, 1, [])

    assert manager.job("hold", "cephfs", path)["result"]["changed"] == 1
    manager.becomes("engine mode", lambda: manager.shown(path).get("mode") == "engine")
    done("get", "--quiet", *by, f"{path}/tree/d/some name", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == (local / "d" / "some name").read_bytes()

    code, why = refused(manager.cluster, "subtree", "rm", "cephfs", path)
    assert (code, f"--confirm {path}" in why) == (1, True)
    kept = manager.job("rm", "cephfs", path, "--confirm", path)
    assert (kept["state"], "something is in it" in kept["why"]) == ("failed", True)
    answered(manager.cluster, "job", "forget", kept["id"])
    gone = manager.job("rm", "cephfs", path, "--with-contents", "--confirm", path)
    assert (gone["result"]["files"], gone["result"]["directories"]) == (2, 2)
    manager.becomes("the end of its record", lambda: not manager.shown(path))
    manager.becomes("the end of its gate", lambda: not manager.gate(path))
    with connect(Access()) as mount, pytest.raises(FileNotFoundError):
        mount.stat(path.encode())


def test_the_data_of_a_subvolume(manager: Manager):
    cluster, name = manager.cluster, f"acts-{uuid.uuid4().hex[:8]}"
    cluster.ceph("fs", "subvolume", "create", "cephfs", name)
    path = cluster.ceph("fs", "subvolume", "getpath", "cephfs", name).strip()
    try:
        manager.run("create", "cephfs", "--subvolume", name, "--master-key", manager.key, "--unprotected")
        manager.becomes("the subtree", lambda: manager.shown(path).get("mode") == "engine")
        checks = lambda: cluster.ceph_json("health", "detail")["checks"]  # noqa: E731 - said once
        manager.becomes(
            "the health check", lambda: path in json.dumps(checks().get("FSCRYPT_UNPROTECTED", {}))
        )
        # snapshots of it lie above, by plain names
        cluster.ceph("fs", "subvolume", "snapshot", "create", "cephfs", name, "s")
        cluster.ceph("fs", "subvolume", "snapshot", "rm", "cephfs", name, "s")
    finally:
        answered(cluster, "gate", "set", "cephfs", path, "observe")
        answered(cluster, "subtree", "forget", "cephfs", path)
        cluster.ceph("fs", "subvolume", "rm", "cephfs", name)
    manager.becomes("the end of its gate", lambda: not manager.gate(path))
    manager.becomes("the end of the warning", lambda: path not in json.dumps(checks()))


def test_what_others_encrypted_is_found(manager: Manager):
    top = f"/acts-{uuid.uuid4().hex[:8]}"
    path = f"{top}/ceph-csi-encrypted"
    keyring = Keyring()
    keyring.add(manager.master)
    with connect(Access()) as mount, FileSystem(mount, keyring) as files:
        for each in (top, f"{top}/.fscrypt", f"{top}/.fscrypt/policies", path):
            mount.mkdir(each.encode(), 0o755)
        mount.mkdir(f"{top}/.fscrypt/policies/{manager.master.identifier.hex()}".encode(), 0o755)
        files.create_subtree(path, manager.master.identifier, mode=FileMode.KERNEL)
    try:
        found = manager.job("adopt", "cephfs", path)["result"]
        assert (found["csi"], found["verified"], found["facts"]["mode"]) == (True, None, "kernel")
        assert found["metadata"][0]["policies"] == [manager.master.identifier.hex()]
        assert f"{top}/.fscrypt" in found["advice"][0]
        manager.becomes("the record", lambda: manager.shown(path).get("mode") == "kernel")
        assert manager.job("adopt", "cephfs", path)["result"]["verified"] is True
    finally:
        answered(manager.cluster, "subtree", "forget", "cephfs", path)
        with connect(Access()) as mount:
            remove(mount, top.encode())
