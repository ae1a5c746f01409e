"""``cephfs-fscrypt key``, ``tenant`` and ``kms`` on a real cluster, and everything else by keys that are kept there."""

import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from qa.cluster.test_manager import forget
from qa.fakes.engine_cases import remove
from qa.lab.cluster import Cluster
from qa.load.program import done, refused, run


@pytest.fixture(scope="module", autouse=True)
def enabled(cluster: Cluster) -> None:
    cluster.enable_module("fscrypt")


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """A directory with a passphrase, another one and a key file, each for their owner alone."""
    for name, data in (
        ("old", b"correct horse battery\n"),
        ("new", b"another long one\n"),
        ("file", os.urandom(64)),
    ):
        file = tmp_path / name
        file.touch(0o600)
        file.write_bytes(data)
    return tmp_path


@pytest.fixture
def name(secrets: Path) -> str:
    """A key that a passphrase opens."""
    made = f"key-{uuid.uuid4().hex[:8]}"
    done("key", "create", made, "--with", f"passphrase:{secrets}/old", "--seconds", "0.1")
    return made


@pytest.fixture
def directory(cluster: Cluster) -> Iterator[str]:
    path = f"/test-keys-{uuid.uuid4().hex[:8]}"
    yield path
    forget(cluster, "--below", path)
    with connect(Access()) as mount:
        remove(mount, path.encode())


def told(name: str) -> dict[str, object]:
    return dict(json.loads(done("key", "show", name, "--json")))


def protectors(name: str) -> list[str]:
    return [each["name"] for each in told(name)["protectors"]]  # type: ignore[attr-defined]


def test_a_subtree_under_a_kept_key(name: str, secrets: Path, directory: str, tmp_path: Path):
    by = ("--open", f"passphrase:{secrets}/old")
    done("subtree", "create", "--make", directory, "--key-name", name, *by)
    (tmp_path / "f").write_bytes(b"contents")
    done("put", tmp_path / "f", directory, *by)
    assert done("ls", directory, *by) == "f\n"
    assert (
        done("cat", f"{directory}/f", "--open", "passphrase:-", stdin=b"correct horse battery\n")
        == "contents"
    )
    assert "does not open protector passphrase" in refused(
        4, "cat", f"{directory}/f", "--open", f"passphrase:{secrets}/new"
    )
    assert run("ls", directory).stdout.decode() != "f\n", "locked, as without anything"
    recovered = tmp_path / "recovered"
    done("key", "recover", name, recovered, *by)
    assert recovered.stat().st_mode & 0o777 == 0o600
    assert done("cat", f"{directory}/f", "--key", recovered) == "contents"
    refused(3, "key", "recover", name, recovered, *by)
    place = tmp_path / "mnt"
    place.mkdir()
    done("mount", directory, place, "--quiet", "--open", "passphrase:-", stdin=b"correct horse battery\n")
    try:
        assert (place / "f").read_bytes() == b"contents"
    finally:
        subprocess.run(["umount", place], check=True)


def test_every_kind_of_protector_opens(name: str, secrets: Path, tmp_path: Path):
    by = ("--open", f"passphrase:{secrets}/old")
    private = rsa.generate_private_key(65537, 3072)
    (tmp_path / "public.pem").write_bytes(
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    (tmp_path / "private.pem").touch(0o600)
    (tmp_path / "private.pem").write_bytes(
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    done("key", "add", name, "--with", f"key-file:{secrets}/file", *by)
    done("key", "add", name, "--with", f"escrow:{tmp_path}/public.pem", "--as", "company", *by)
    words = json.loads(done("key", "add", name, "--with", "recovery-code", "--json", *by).splitlines()[0])
    done("key", "add", name, "--with", f"shares:2/3:{tmp_path}", *by)
    assert protectors(name) == ["passphrase", "key-file", "company", "recovery-code", "shares"]
    opens = {
        "passphrase": by,
        "key-file": ("--open", f"key-file:{secrets}/file"),
        "company": ("--open", f"escrow:{tmp_path}/private.pem"),
        "shares": ("--open", f"shares:{tmp_path}/share-1", "--open", f"shares:{tmp_path}/share-3"),
    }
    for protector, openers in opens.items():
        done("key", "test", name, protector, *openers)
    code = words["words"][0].encode() + b"\n"
    done("key", "drill", name, "recovery-code", "--open", "recovery-code:-", stdin=code)
    assert all(each["proven"] for each in told(name)["protectors"])  # type: ignore[attr-defined]
    assert told(name)["drilled"]
    one_share = ("--open", f"shares:{tmp_path}/share-1")
    refused(4, "key", "test", name, "shares", *one_share)


def test_dry_runs_do_all_but_write(name: str, secrets: Path):
    before = told(name)
    by = ("--open", f"passphrase:{secrets}/old")
    for words in (
        ("add", name, "--with", f"key-file:{secrets}/file", *by),
        ("rewrap", name, "passphrase", "--with", f"passphrase:{secrets}/new", *by),
        ("test", name, "passphrase", *by),
        ("disable", name),
        ("expire", name, "2030-01-01"),
        ("drill-every", name, "180d"),
    ):
        assert "would" in done("key", *words, "--dry-run")
    assert told(name) == before
    refused(4, "key", "test", name, "passphrase", "--open", f"passphrase:{secrets}/new", "--dry-run")


def test_a_new_passphrase_takes_the_place_of_the_old_one(name: str, secrets: Path):
    old, new = (("--open", f"passphrase:{secrets}/{each}") for each in ("old", "new"))
    done("key", "rewrap", name, "passphrase", "--with", f"passphrase:{secrets}/new", *old)
    refused(4, "key", "test", name, "passphrase", *old)
    done("key", "test", name, "passphrase", *new)
    assert "the last protector" in refused(3, "key", "remove", name, "passphrase")


def test_the_end_of_a_key(name: str, secrets: Path, directory: str, tmp_path: Path):
    by = ("--open", f"passphrase:{secrets}/old")
    done("subtree", "create", "--make", directory, "--key-name", name, *by)
    bundle = tmp_path / "bundle"
    done("key", "export-bundle", bundle, name)
    assert "is not the name" in run("key", "destroy", name, "--wait", "1s", stdin=b"yes\n").stderr.decode()
    told_first = run("key", "destroy", name, "--wait", "1s", "--confirm", name).stderr.decode()
    assert f"dies with key {name}: {directory}" in told_first
    assert "the bundle that user 0" in told_first
    assert "waits to be destroyed" in refused(3, "ls", directory, *by)
    time.sleep(1.1)
    done("key", "finish", name)
    assert "was destroyed by user 0" in refused(4, "ls", directory, *by)
    answer = run("key", "import-bundle", bundle)
    assert answer.returncode == 1
    assert "was destroyed" in answer.stderr.decode()
    done("key", "show", name, "--bundle", bundle)
    done("key", "recover", name, tmp_path / "out", "--bundle", bundle, *by)
    told = run("key", "audit", "--json")
    assert told.returncode in (0, 6), "6: others have signed, whose key managers are gone"
    acts = [json.loads(line) for line in told.stdout.splitlines()]
    about = [(each["act"], each["result"]) for each in acts if name in each["key"]]
    assert about == [
        ("create", "done"),
        ("export-bundle", "done"),
        ("destroy", "done"),
        ("finish-destroying", "done"),
        ("import-bundle", about[-1][1]),
    ]
    assert about[-1][1].startswith("refused: ")


def test_what_cannot_be_is_refused(name: str, secrets: Path):
    refused(5, "key", "show", "nothing")
    refused(2, "key", "add", name, "--with", "correct horse", "--open", "passphrase:-")
    assert "correct" not in refused(2, "key", "test", name, "passphrase", "--open", "correct horse battery")
    refused(2, "key", "add", name, "--with", "shares:3", "--open", f"passphrase:{secrets}/old")
    refused(3, "key", "add", name, "--with", "shares:4/3", "--open", f"passphrase:{secrets}/old")
    (secrets / "old").chmod(0o644)
    assert "others may use" in refused(
        3, "key", "test", name, "passphrase", "--open", f"passphrase:{secrets}/old"
    )
    refused(2, "key", "test", name, "passphrase", "--open", "passphrase")
    refused(3, "key", "create", name, "--with", f"key-file:{secrets}/file")
    refused(5, "tenant", "create", "acme", "--kms", "nothing")
    refused(2, "ls", "/", "--key-name", name)
