"""Fixtures of what opens files by fsspec."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.cephfscrypt import Client
from mgr_fscrypt.cephfscrypt import connect as connect_client
from mgr_fscrypt.cephfscrypt.shared import SharedClients
from mgr_fscrypt.cephfscrypt.spec import CephFscryptFileSystem
from qa.fakes.engine_cases import SECRET, remove


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key file."""
    file = tmp_path_factory.mktemp("key") / "vault.key"
    file.write_bytes(SECRET)
    file.chmod(0o600)
    return file


@pytest.fixture(scope="session")
def options(key: Path) -> Iterator[dict[str, Any]]:
    """The storage options of all; mounts of this process end with the session."""
    yield {"key": str(key), "auto_mkdir": True, "durable_close": False}
    SharedClients.here().close()


@pytest.fixture(scope="session")
def other(key: Path) -> Iterator[Client]:
    """Another client with the key."""
    with connect_client(key=key, durable_close=True) as files:
        yield files


@pytest.fixture(scope="module")
def subtree(other: Client) -> Iterator[str]:
    """An encrypted directory for all tests of a file; removed afterwards with all that is in it."""
    path = f"/frames-{uuid.uuid4().hex[:8]}"
    other.mkdir(path)
    assert other.key is not None
    other.create_subtree(path, other.key.identifier)
    yield path
    with connect(Access()) as mount:
        remove(mount, path.encode())


@pytest.fixture
def fs(options: dict[str, Any]) -> CephFscryptFileSystem:
    """The file system as fsspec has it."""
    return CephFscryptFileSystem(**options)
