"""Resources, key managers and the index of keys on a real cluster, and managers that are killed under commands."""

import json
import random
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from qa.bench.manager_load.asking import Asking, asking
from qa.cluster.test_manager import KEY, answered, refused
from qa.lab.cluster import Cluster
from qa.load.program import done, run

POLICY = {
    "contents": "AES-256-XTS",
    "names": "AES-256-CBC-CTS",
    "padding": 32,
    "key_identifier": KEY,
}
INODE = 0x7FFF_0001_0000
"""The MDS gives such numbers to nothing in these tests."""


@pytest.fixture(scope="module", autouse=True)
def enabled(cluster: Cluster) -> None:
    cluster.enable_module("fscrypt")


@pytest.fixture
def mark() -> str:
    return uuid.uuid4().hex[:8]


def subtree(path: str, number: int = 0, **fields: object) -> dict[str, Any]:
    head = {"kind": "fscrypt.subtree", "version": 1, "fs": "cephfs", "path": path}
    return head | {"inode": INODE + number, "mode": "engine", "policy": POLICY} | fields


def outcomes(cluster: Cluster, *resources: dict[str, Any], dry_run: bool = False) -> list[str]:
    words = ("--dry-run",) if dry_run else ()
    text = answered(cluster, "apply", *words, "--format", "json", report=yaml.safe_dump(list(resources)))
    return [each["outcome"] for each in json.loads(text)["outcomes"]]


def shown(cluster: Cluster, path: str) -> list[dict[str, Any]]:
    found = yaml.safe_load(answered(cluster, "show", "cephfs"))["resources"]
    return [each for each in found if each.get("path") == path]


def test_a_gate_is_declared_shown_and_taken_back(cluster: Cluster, mark: str):
    path, friend = f"/test-resources-{mark}", f"client.friend-{mark}"
    cluster.ceph("auth", "get-or-create", friend, "mon", "allow r", "mds", "allow rw", "osd", "allow rw")
    vault = subtree(path)
    gate = {"kind": "fscrypt.gate", "version": 1, "fs": "cephfs", "path": path, "rung": "isolate"}
    gate |= {"namespace": f"fscrypt-{mark}", "admitted": [friend], "kept": []}
    gone = [{name: each[name] for name in ("kind", "version", "fs", "path")} for each in (gate, vault)]
    gone = [each | {"intent": "removed"} for each in gone]
    try:
        cluster.wait("the gate", lambda: outcomes(cluster, gate, vault)[0] in ("changed", "unchanged"))
        assert outcomes(cluster, gate, vault) == ["unchanged"] * 2
        assert shown(cluster, path) == [vault, gate]
        assert outcomes(cluster, *shown(cluster, path)) == ["unchanged"] * 2
        assert path in answered(cluster, "gate", "show", "cephfs", path)
    finally:
        outcomes(cluster, gone[0])
        cluster.wait("no gate", lambda: path not in answered(cluster, "gate", "show", "cephfs"))
        outcomes(cluster, *gone)
        cluster.ceph("auth", "rm", friend)
    assert shown(cluster, path) == []


@pytest.fixture
def away(cluster: Cluster, mark: str, tmp_path: Path) -> Iterator[str]:
    """A key manager that nobody is: nothing listens there."""
    name = f"kms-{mark}"
    words = ("--address", "https://127.0.0.1:9", "--key", "k", "--file", f"{name}.json")
    # it is told that there are no credentials here
    assert run("kms", "add", name, "--kind", "vault", *words, "--credentials", tmp_path).returncode == 0
    yield name
    done("kms", "rm", name)


def managers(cluster: Cluster) -> dict[str, dict[str, Any]]:
    found = json.loads(answered(cluster, "kms", "ls", "cephfs", "--format", "json"))["managers"]
    return {each["name"]: each for each in found}


@pytest.mark.tentacle
def test_key_managers_are_known_tried_and_declared(cluster: Cluster, away: str):
    # the engine service looks each minute, and at once when it is asked for something
    answered(cluster, "key", "rescan", "cephfs")
    cluster.wait("the key manager", lambda: away in managers(cluster))
    assert managers(cluster)[away]["state"] == "not met"
    answered(cluster, "kms", "test", "cephfs", away)
    cluster.wait("what became of it", lambda: managers(cluster)[away]["last"] is not None)
    assert managers(cluster)[away]["error"]
    (declared,) = [
        each for each in yaml.safe_load(answered(cluster, "show"))["resources"] if each.get("name") == away
    ]
    assert (declared["kind"], declared["file"]) == ("fscrypt.kms", f"{away}.json")
    assert outcomes(cluster, declared) == ["unchanged"]
    code, words = refused(cluster, "kms", "test", "cephfs", f"{away}x")
    assert (code, f'did you mean "{away}"?' in words) == (2, True)


@pytest.mark.tentacle
def test_the_index_of_keys_is_made_anew(cluster: Cluster, mark: str, tmp_path: Path):
    """A key that was made while the manager was away is found."""
    (tmp_path / "words").touch(0o600)
    (tmp_path / "words").write_bytes(b"correct horse battery\n")
    cluster.ceph("mgr", "module", "disable", "fscrypt")
    try:
        way = ("--with", f"passphrase:{tmp_path}/words", "--seconds", "0.1")
        assert "the manager was not told" in run("key", "create", f"key-{mark}", *way).stderr.decode()
    finally:
        cluster.enable_module("fscrypt")
    assert "no key" in refused(cluster, "key", "show", "cephfs", f"key-{mark}")[1]
    answered(cluster, "key", "rescan", "cephfs")
    cluster.wait("the key", lambda: f"key-{mark}" in answered(cluster, "key", "ls", "cephfs"))


@pytest.mark.tentacle
def test_managers_that_are_killed_under_a_stream_of_commands(cluster: Cluster, mark: str):
    answered(cluster, "status")
    paths = [f"/test-kills-{mark}/{number}" for number in range(60)]
    given: list[str] = []

    def stream() -> None:
        with asking() as manager:
            for number, path in enumerate(paths):
                applied(manager, subtree(path, number))
                if number % 2:
                    applied(manager, subtree(path, number, intent="removed"))
                given.append(path)

    with ThreadPoolExecutor(1) as threads:
        streaming = threads.submit(stream)
        for _ in range(2):
            enough = len(given) + random.randrange(5, 20)
            cluster.wait("commands", lambda enough=enough: len(given) >= enough or streaming.done())
            cluster.kill("mgr", "x")
            cluster.start("mgr", "x")
        streaming.result(timeout=120)
    assert given == paths
    page = json.loads(
        answered(cluster, "subtree", "ls", "--below", f"/test-kills-{mark}", "--format", "json")
    )
    assert {each["path"] for each in page["subtrees"]} == set(paths[::2])
    assert "are whole" in answered(cluster, "audit", "verify")
    with asking() as manager:
        applied(manager, *(subtree(path, intent="removed") for path in paths[::2]))


def applied(manager: Asking, *resources: dict[str, Any], patience: float = 90) -> None:
    """Given again until it is answered: a manager that is killed answers nothing, and one that begins refuses."""
    end = time.monotonic() + patience
    while True:
        with suppress(RuntimeError):
            manager.ask("fscrypt apply", json.dumps(resources).encode())
            return
        assert time.monotonic() < end, "no manager took it"
        time.sleep(0.1)
