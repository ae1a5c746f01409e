"""What watches over a cluster: the doctor, scans, and the health checks that no other file has (doc/manager.md)."""

import json
import os
import re
import subprocess
import uuid
from collections.abc import Iterator

import pytest
import yaml

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.engine import FileMode, FileSystem, Keyring
from mgr_fscrypt.format import MasterKey
from mgr_fscrypt.messages import Policy, SubtreeFacts
from qa.cluster.test_manager import answered, forget, refused
from qa.fakes.engine_cases import remove
from qa.lab.cluster import Cluster
from qa.load.program import done, run

EVERYWHERE = "allow rw tag cephfs data=cephfs"


@pytest.fixture(scope="module", autouse=True)
def enabled(cluster: Cluster) -> None:
    cluster.enable_module("fscrypt")


@pytest.fixture(scope="module")
def kept(
    cluster: Cluster, enabled: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """A directory with two subtrees under a kept key, one of each mode, a plain file in the first; the key's name."""
    answered(cluster, "status")
    mark = uuid.uuid4().hex[:8]
    top, name, secrets = f"/watch-{mark}", f"watch-{mark}", tmp_path_factory.mktemp("secrets")
    phrase, key = secrets / "phrase", secrets / "key"
    secret = os.urandom(64)
    for file, data in ((phrase, b"correct horse battery\n"), (key, secret)):
        file.touch(0o600)
        file.write_bytes(data)
    done("key", "create", name, "--from", key, "--with", f"passphrase:{phrase}", "--seconds", "0.1")
    keyring = Keyring()
    keyring.add(MasterKey(secret))
    identifier = MasterKey(secret).identifier
    policy = Policy("AES-256-XTS", "AES-256-CBC-CTS", 32, identifier.hex())
    with connect(Access()) as mount, FileSystem(mount, keyring) as files:
        for path in (top, f"{top}/a", f"{top}/deep", f"{top}/deep/b"):
            files.mkdir(path)
        for path, mode in ((f"{top}/a", FileMode.ENGINE), (f"{top}/deep/b", FileMode.KERNEL)):
            files.create_subtree(path, identifier, mode=mode)
            facts = SubtreeFacts(mount.stat(path.encode()).ino, mode.value, policy)
            answered(cluster, "subtree", "adopt", "cephfs", path, report=facts.encode())
        mount.close(mount.open(f"{top}/a/plain".encode(), os.O_CREAT | os.O_WRONLY, 0o644))
        mount.sync()
    yield top, name
    with connect(Access()) as mount:
        remove(mount, top.encode())
        mount.mkdir(top.encode(), 0o777)
    forget(cluster, "--below", top)
    scanned(cluster, top)
    cluster.wait("health without it", lambda: mark not in cluster.ceph("health", "detail"))
    with connect(Access()) as mount:
        mount.rmdir(top.encode())


@pytest.mark.usefixtures("kept")
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


def scanned(cluster: Cluster, top: str, *options: str) -> None:
    """A scan that is done."""
    found: list[str] = []

    def begun() -> bool:
        # the service may have no turn yet
        code, words = refused(cluster, "scan", "cephfs", top, *options)
        found.append(words)
        return code == 0

    cluster.wait("a scan that is begun", begun)
    number = next(word for word in found[-1].split() if re.fullmatch(r"[0-9a-f]{32},", word))[:-1]
    show = ("job", "show", number, "--format", "json")
    cluster.wait("the scan", lambda: json.loads(answered(cluster, *show))["state"] == "done")


def registered(cluster: Cluster, top: str, name: str) -> list[dict[str, object]]:
    """What the register has of a directory and a key."""
    resources = yaml.safe_load(answered(cluster, "show", "cephfs"))["resources"]
    return [
        each for each in resources if str(each.get("path", "")).startswith(top) or each.get("name") == name
    ]


def test_the_register_is_made_anew_from_what_is_there(cluster: Cluster, kept: tuple[str, str]):
    top, name = kept
    before = registered(cluster, top, name)
    assert [each.get("mode") for each in before] == [None, "engine", "kernel"]
    cluster.ceph("mgr", "module", "disable", "fscrypt")
    place = ("rados", "-p", ".mgr", "-N", "fscrypt")
    # libcephsqlite's objects: the module's database
    listed = subprocess.run([*place, "ls"], capture_output=True, text=True, check=True).stdout.split()
    subprocess.run([*place, "rm", *listed], check=True)
    cluster.enable_module("fscrypt")
    assert registered(cluster, top, name) == []
    scanned(cluster, top, "--register")
    # lockboxes that other tests have damaged are told of
    run("key", "rescan")
    cluster.wait("the same register", lambda: registered(cluster, top, name) == before)
    acts = json.loads(answered(cluster, "audit", "ls", "--format", "json"))["acts"]
    assert {act["about"] for act in acts if act["command"] == "scan register"} == {
        f"cephfs {top}/a",
        f"cephfs {top}/deep/b",
    }
    page = json.loads(answered(cluster, "subtree", "scanned", "cephfs", "--format", "json"))
    assert [(each["path"], each["standing"], each["mixed"]) for each in page["subtrees"]] == [
        (f"{top}/a", "registered", {"plain": 1}),
        (f"{top}/deep/b", "registered", {}),
    ]
    told = {
        f"cephfs {top}/a: 1 plain, such as {top}/a/plain",
        f"key {name} of default on cephfs: only passphrase opens it",
    }
    cluster.wait("the health checks", lambda: all(each in cluster.ceph("health", "detail") for each in told))
