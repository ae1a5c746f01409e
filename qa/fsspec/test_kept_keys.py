"""Programs by keys that are kept in the cluster, and in kernel mode."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect as mounted
from mgr_fscrypt.cephfscrypt import BusyError, Client, KeyStoreError, LockedError, Passphrase, connect
from mgr_fscrypt.cephfscrypt.shared import SharedClients
from mgr_fscrypt.cephfscrypt.spec import CephFscryptFileSystem
from qa.fakes.engine_cases import remove
from qa.load.program import done

WORDS = "correct horse battery"


@pytest.fixture
def phrase(tmp_path: Path) -> Path:
    """A file with a passphrase, for its owner alone."""
    file = tmp_path / "phrase"
    file.touch(0o600)
    file.write_text(f"{WORDS}\n")
    return file


@pytest.fixture
def kept(phrase: Path) -> Iterator[str]:
    """A directory under a key that the passphrase opens."""
    name = f"python-{uuid.uuid4().hex[:8]}"
    done("key", "create", name, "--with", f"passphrase:{phrase}", "--seconds", "0.1")
    identifier = bytes.fromhex(json.loads(done("key", "show", name, "--json"))["identifier"])
    with connect(open=f"passphrase:{phrase}") as files:
        files.mkdir(f"/{name}")
        files.create_subtree(f"/{name}", identifier)
    yield f"/{name}"
    with mounted(Access()) as mount:
        remove(mount, f"/{name}".encode())


def test_what_opens_a_kept_key_opens_its_files(kept: str, phrase: Path, tmp_path: Path):
    fs = CephFscryptFileSystem(open=f"passphrase:{phrase}")
    fs.pipe_file(f"{kept}/file", b"contents")
    fs.close()
    with connect(open=Passphrase(WORDS)) as files, files.stream(f"{kept}/file") as stream:
        assert stream.read() == b"contents"
    with connect(open=["kms", Passphrase(WORDS)]) as files:
        assert files.exists(f"{kept}/file")
    with (
        connect(open=Passphrase("a wrong one")) as files,
        pytest.raises(KeyStoreError, match="does not open"),
    ):
        files.stream(f"{kept}/file")
    with connect() as files, pytest.raises(LockedError):
        files.stream(f"{kept}/file", "w")
    phrase.chmod(0o644)
    with pytest.raises(KeyStoreError, match="others may use") as caught:
        connect(open=f"passphrase:{phrase}")
    assert "chmod 600" in caught.value.remedy


def test_a_subtree_in_kernel_mode_through_a_guard(other: Client, key: Path):
    top = f"/kernel-{uuid.uuid4().hex[:8]}"
    other.mkdir(top)
    assert other.key is not None
    other.create_subtree(top, other.key.identifier)
    with other.stream(f"{top}/file", "wb") as stream:
        stream.write(b"contents")
    # who is left from other tests is evicted, but for those of this process
    SharedClients.here().close()
    other.release(top, evict=True)
    try:
        fs = CephFscryptFileSystem(key=str(key), guarded=True)
        assert fs.cat_file(f"{top}/file") == b"contents"
        with pytest.raises(BusyError):
            fs.open(f"{top}/file", "wb")
        with fs.transaction:
            fs.pipe_file(f"{top}/file", b"in place of it")
        fs.pipe_file(f"{top}/new", b"new")
        assert fs.cat_file(f"{top}/file") == b"in place of it"
        assert fs.cat_file(f"{top}/new") == b"new"
        fs.close()
    finally:
        with mounted(Access()) as mount:
            remove(mount, top.encode())
