"""Keys of tenants on a real cluster, opened by a real key manager: by people, and by the engine service."""

import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.cluster import Cluster as CephCluster
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.named_objects import NamedObjects
from mgr_fscrypt.custody import custody
from mgr_fscrypt.keys.safe import NAMESPACE
from mgr_fscrypt.messages import TenantFacts
from mgr_fscrypt.service.clock import SystemClock
from mgr_fscrypt.service.kept_keys import KeptKeys
from mgr_fscrypt.service.rotating import Rotations
from mgr_fscrypt.service.tenant_keys import TenantKeys
from mgr_fscrypt.service.unlocking import Backends, UnlockError
from qa.cluster.test_manager import forget
from qa.cluster.test_subtree_acts import serving
from qa.fakes.engine_cases import remove
from qa.kms.bao import Bao
from qa.kms.place import told
from qa.kms.standins import standing_in
from qa.lab.cluster import Cluster
from qa.load.program import done, refused, run


@pytest.fixture(scope="module", autouse=True)
def enabled(cluster: Cluster) -> None:
    cluster.enable_module("fscrypt")


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    found = Bao(tmp_path_factory.mktemp("bao"))
    yield found
    found.stop()


@pytest.fixture
def kms(bao: Bao) -> str:
    """A key manager that is known on the file system."""
    known = f"bao-{uuid.uuid4().hex[:8]}"
    done("kms", "add", known, *told(bao.settings()), "--credentials", bao.credentials)
    return known


@pytest.fixture
def tenant(kms: str, bao: Bao) -> str:
    """One with a key."""
    name = f"acme-{uuid.uuid4().hex[:8]}"
    done("tenant", "create", name, "--kms", kms, "--credentials", bao.credentials)
    return name


@pytest.fixture
def key(tenant: str, bao: Bao) -> str:
    """A master key of the tenant."""
    name = f"key-{uuid.uuid4().hex[:8]}"
    done("key", "create", name, "--tenant", tenant, "--with", "kms", "--credentials", bao.credentials)
    return name


@pytest.fixture
def directory(cluster: Cluster) -> Iterator[str]:
    path = f"/test-tenants-{uuid.uuid4().hex[:8]}"
    yield path
    forget(cluster, "--below", path)
    with connect(Access()) as mount:
        remove(mount, path.encode())


HEARD: list[socket.socket] = []
"""Whoever came to the wrong address."""


def heard(connection: socket.socket, _: Event) -> None:
    HEARD.append(connection)


def registered(cluster: Cluster, fs: str, key: str) -> dict[str, Any]:
    """What the manager knows of a key."""
    return dict(json.loads(cluster.ceph("fscrypt", "key", "show", fs, key, "--format", "json")))


def identifier(key: str) -> bytes:
    return bytes.fromhex(json.loads(done("key", "show", key, "--json"))["identifier"])


def test_a_key_manager_is_tried_listed_and_forgotten(kms: str, bao: Bao):
    assert "wraps and unwraps" in done("kms", "test", kms, "--credentials", bao.credentials)
    assert kms in done("kms", "ls")
    assert "would forget" in done("kms", "rm", kms, "--dry-run")
    done("kms", "rm", kms)
    refused(5, "kms", "test", kms, "--credentials", bao.credentials)


def test_a_key_manager_is_added_by_who_may_not_read_its_credentials(bao: Bao, tmp_path: Path):
    settings, name = bao.settings(), f"bao-{uuid.uuid4().hex[:8]}"
    words = ["--kind", "vault", "--address", settings.address, "--key", settings.key]
    by = ("--credentials", tmp_path)
    for file in ("absent", "theirs"):
        if file == "theirs":
            (tmp_path / file).touch(0o600)
            os.chown(tmp_path / file, 1, 1)
        added = run("kms", "add", f"{name}-{file}", *words, "--file", file, *by)
        assert (added.returncode, f"kms trust {name}-{file}".encode() in added.stderr) == (0, True)
    (tmp_path / "other").touch(0o600)
    (tmp_path / "other").write_text('{"token": "x"}')
    done("kms", "add", f"{name}-one", *words, "--file", "other", *by)
    assert "is for other settings" in refused(
        3, "kms", "add", f"{name}-two", *words, "--file", "other", "--option", "ca=ca.crt", *by
    )


def test_credentials_are_sent_to_nobody_whom_their_owner_did_not_name(kms: str, bao: Bao):
    by = ("--credentials", bao.credentials)
    with standing_in(heard) as port, CephCluster(Access()) as cluster:
        pool = cluster.file_system().metadata_pool
        with NamedObjects(cluster, pool, NAMESPACE) as objects:
            stored = objects.read(f"kms.{kms}")
            assert stored is not None
            moved = stored.data.replace(str(bao.port).encode(), str(port).encode())
            assert objects.replace(f"kms.{kms}", moved, stored.version)
        assert "another address" in refused(3, "kms", "test", kms, *by)
        assert "Nothing was sent" in refused(3, "kms", "test", kms, *by)
        mistyped = run("kms", "trust", kms, *by, stdin=b"another\n")
        assert (mistyped.returncode, b"that is not the name" in mistyped.stderr) == (3, True)
        refused(3, "kms", "test", kms, *by)
        assert not HEARD, "nobody came by"
        assert f"https://localhost:{port}" in done("kms", "trust", kms, "--confirm", kms, *by)
        refused(6, "kms", "test", kms, *by, "--timeout", "3")
        assert HEARD


def test_a_subtree_is_opened_by_its_tenants_key_manager(key: str, bao: Bao, directory: str, tmp_path: Path):
    by = ("--open", "kms", "--credentials", bao.credentials)
    done("subtree", "create", "--make", directory, "--key-name", key, *by)
    (tmp_path / "f").write_bytes(b"contents")
    done("put", tmp_path / "f", directory, *by)
    assert done("cat", f"{directory}/f", *by) == "contents"


def test_while_the_key_manager_hangs_other_protectors_open(key: str, bao: Bao, tmp_path: Path):
    phrase = tmp_path / "phrase"
    phrase.touch(0o600)
    phrase.write_text("correct horse battery\n")
    by = ("--credentials", bao.credentials, "--timeout", "3")
    done("key", "add", key, "--with", f"passphrase:{phrase}", "--seconds", "0.1", "--open", "kms", *by)
    bao.pause()
    try:
        begun = time.monotonic()
        assert "bao-" in refused(6, "key", "test", key, "kms", "--open", "kms", *by)
        assert time.monotonic() - begun < 30, "not for ever"
        done("key", "test", key, "passphrase", "--open", f"passphrase:{phrase}", *by)
    finally:
        bao.resume()
    done("key", "test", key, "kms", "--open", "kms", *by)


def test_a_tenants_own_passphrase_opens_its_keys_when_its_key_manager_is_gone(
    kms: str, tenant: str, key: str, bao: Bao, tmp_path: Path
):
    phrase = tmp_path / "phrase"
    phrase.touch(0o600)
    phrase.write_text("correct horse battery\n")
    by = ("--credentials", bao.credentials)
    by_phrase = ("--open", f"passphrase:{phrase}", *by)
    new = ("--with", f"passphrase:{phrase}", "--seconds", "0.1")
    done("tenant", "add", tenant, *new, *by)
    done("tenant", "rotate", tenant, *by_phrase)
    done("kms", "rm", kms)
    done("key", "test", key, "kms", *by_phrase)
    gone = run("tenant", "remove", tenant, kms, *by)
    assert (gone.returncode, b"may keep something" in gone.stderr) == (0, True)
    assert "wrapped anew" in done("tenant", "rewrap", tenant, "passphrase", *new, *by_phrase)
    assert "passphrase opens" in done("tenant", "test", tenant, "passphrase", *by_phrase)


def test_a_bundle_is_opened_by_the_key_manager_that_it_names(kms: str, key: str, bao: Bao, tmp_path: Path):
    file, by = tmp_path / "bundle", ("--credentials", bao.credentials)
    done("key", "export-bundle", file, key)
    done("kms", "rm", kms)
    done("key", "recover", key, tmp_path / "key", "--bundle", file, "--open", "kms", *by)
    assert (tmp_path / "key").stat().st_size == 64
    assert json.loads(done("key", "import-bundle", file, "--json"))["kms"] == [kms]
    done("key", "test", key, "kms", "--open", "kms", *by)


def test_a_rotation_leaves_everything_open(tenant: str, key: str, bao: Bao, cluster: Cluster):
    by = ("--credentials", bao.credentials)
    fs = json.loads(cluster.ceph("fs", "ls", "--format", "json"))[0]["name"]
    before = registered(cluster, fs, key)
    assert "would have version 2" in done("tenant", "rotate", tenant, "--dry-run", *by)
    told = json.loads(done("tenant", "rotate", tenant, "--kms-too", "--json", *by))
    assert (told["version"], told["rewrapped"]) == (2, 1)
    (shown,) = [json.loads(line) for line in done("tenant", "ls", "--json").splitlines() if tenant in line]
    assert shown["versions"] == ["2"]
    now, kept = registered(cluster, fs, key), json.loads(done("key", "show", key, "--json"))
    assert before["generation"] < now["generation"] == kept["generation"], "the manager was told"
    assert now["protectors"][0]["created"] == kept["protectors"][0]["created"]
    done("key", "test", key, "kms", "--open", "kms", *by)


def kept_keys(bao: Bao, keys: TenantKeys, timeout: int = 10) -> KeptKeys:
    """As the service has them."""
    access = Access(timeout=timeout)
    return KeptKeys(lambda: custody(access, bao.credentials), Backends(SystemClock()), keys)


def test_the_service_opens_what_a_key_manager_opens(key: str, bao: Bao, cluster: Cluster):
    name, here = identifier(key), TenantKeys()
    unlocked = kept_keys(bao, here).unlock(name)
    assert unlocked.key.identifier == name
    assert unlocked.backend.startswith("bao-")
    bao.pause()
    try:
        assert kept_keys(bao, here).unlock(name).key.identifier == name, "nobody has to be asked"
        here.retain(())
        with pytest.raises(UnlockError) as caught:
            kept_keys(bao, here, timeout=2).unlock(name)
    finally:
        bao.resume()
    assert (caught.value.again, caught.value.backend) == (True, unlocked.backend)
    with pytest.raises(UnlockError) as caught:
        kept_keys(bao, here).unlock(bytes(16))
    assert (caught.value.again, caught.value.kind) == (False, "NoSuchKeyError")


def test_the_manager_makes_a_subtree_by_a_service_that_asks_the_key_manager(
    key: str, bao: Bao, directory: str, tmp_path: Path, cluster: Cluster
):
    fs = json.loads(cluster.ceph("fs", "ls", "--format", "json"))[0]["name"]
    by = ("--open", "kms", "--credentials", bao.credentials)
    (tmp_path / "f").write_bytes(b"contents")
    with serving(cluster, tmp_path, "mgr_fscrypt.service", "--credentials", str(bao.credentials)):
        cluster.ceph("fscrypt", "subtree", "create", fs, directory, "--master-key", key, "--keep", "")
        until(lambda: directory in cluster.ceph("fscrypt", "subtree", "ls", fs))
        done("put", tmp_path / "f", directory, *by)
        assert done("cat", f"{directory}/f", *by) == "contents"
        cluster.ceph("fscrypt", "subtree", "rm", fs, directory, "--with-contents", "--confirm", directory)
        until(lambda: directory not in cluster.ceph("fscrypt", "gate", "show", fs))
    with connect(Access()) as mount:
        mount.mkdir(directory.encode(), 0o755)


def test_the_manager_lists_what_was_made(key: str, tenant: str, cluster: Cluster):
    fs = json.loads(cluster.ceph("fs", "ls", "--format", "json"))[0]["name"]
    shown = registered(cluster, fs, key)
    assert (shown["tenant"], shown["state"]) == (tenant, "active")
    assert [each["kind"] for each in shown["protectors"]] == ["tenant"]


def test_a_rotation_that_is_due_is_done_by_the_service(tenant: str, key: str, bao: Bao, cluster: Cluster):
    """By what the service looks with: ceph-mgr's child has no credentials of this key manager."""
    by = ("--credentials", bao.credentials)
    assert "would be rotated" in done("tenant", "rotate-every", tenant, "1s", "--dry-run")
    assert json.loads(done("tenant", "rotate-every", tenant, "90d", "--json"))["rotation_due"]
    fs = json.loads(cluster.ceph("fs", "ls", "--format", "json"))[0]["name"]
    (line,) = [
        each
        for each in json.loads(cluster.ceph("fscrypt", "tenant", "ls", fs, "--format", "json"))["tenants"]
        if each["tenant"] == tenant
    ]
    assert (line["version"], line["rotate_every"]) == (1, 90 * 86400)
    done("tenant", "rotate-every", tenant, "1s")
    rotations = Rotations(lambda: custody(Access(), bao.credentials), lambda: 1, SystemClock())
    while not (states := [each for each in rotations.states() if each.facts.tenant == tenant]):
        rotations.look()
    done("tenant", "rotate-every", tenant, "never")
    assert (states[0].facts.version, states[0].error) == (2, "")
    done("key", "test", key, "kms", "--open", "kms", *by)


def test_the_end_of_a_key_is_signed_and_the_signature_checked(key: str, kms: str, bao: Bao):
    by = ("--credentials", bao.credentials)
    assert run("key", "destroy", key, "--wait", "0s", "--confirm", key, *by).returncode == 0
    done("key", "finish", key, *by)
    told = json.loads(done("key", "audit", "--sign", kms, "--json", *by))
    records = [json.loads(line) for line in run("key", "audit", "--json", *by).stdout.splitlines()]
    signed = {each["number"]: each for each in records if each["result"].startswith(f"signed by {kms}: ")}
    first, second = sorted(signed)
    assert (second, signed[second]["digest"]) == (told["number"], told["digest"])
    assert [each["signature"] for each in signed.values()] == ["good", "good"]
    assert f"records up to {first - 1} (" in signed[first]["key"]
    assert key in records[first - 2]["key"], "what is signed first is the end of the key"
    # from a host without these credentials
    told_of = run("key", "audit", "--json", "--credentials", "/nowhere")
    assert told_of.returncode == 6
    assert f"the signature in record {first} is unchecked" in told_of.stderr.decode()


def test_health_tells_of_a_rotation_that_is_overdue(cluster: Cluster):
    fs = json.loads(cluster.ceph("fs", "ls", "--format", "json"))[0]["name"]
    name = f"late-{uuid.uuid4().hex[:8]}"
    facts = TenantFacts(name, 1, int(time.time()) - 3 * 86400, 86400, (), ("company",))
    cluster.ceph("fscrypt", "tenant", "adopt", fs, "-i", "-", stdin=facts.encode())
    try:
        until(lambda: f"cephfs-fscrypt tenant rotate {name} --fs {fs}" in cluster.ceph("health", "detail"))
    finally:
        never = replace(facts, rotate_every=0)
        cluster.ceph("fscrypt", "tenant", "adopt", fs, "-i", "-", stdin=never.encode())
    # other tests of this cluster expect that health says nothing about us
    until(lambda: name not in cluster.ceph("health", "detail"))


def until(found: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not found():
        assert time.monotonic() < end
        time.sleep(1)
