"""Random operations on one file and on one tree, beside a model: through the engine and through the mount."""

import random
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.format import MasterKey
from qa.fakes.engine_cases import remove
from qa.load import fsx, tree
from qa.load.mounted import mounted
from qa.load.seeds import seed

SECRET = bytes(range(64))
KEY = MasterKey(SECRET)


@pytest.fixture(scope="module")
def files() -> Iterator[FileSystem]:
    keyring = Keyring()
    keyring.add(KEY)
    with connect(Access()) as mount:
        yield FileSystem(mount, keyring)


@pytest.fixture
def subtree(files: FileSystem) -> Iterator[str]:
    path = f"/load-{uuid.uuid4().hex[:8]}"
    files.mkdir(path)
    files.create_subtree(path, KEY.identifier)
    yield path
    with connect(Access()) as mount:
        remove(mount, path.encode())


@pytest.fixture
def mount_point(subtree: str, tmp_path: Path) -> Iterator[Path]:
    key, directory = tmp_path / "key", tmp_path / "mount"
    key.write_bytes(SECRET)
    key.chmod(0o600)
    directory.mkdir()
    with mounted(subtree, directory, key):
        yield directory


def run(name: str, sequence: fsx.Sequence | tree.Sequence, chosen: int, count: int) -> None:
    started = time.monotonic()
    wrong = sequence.run(count)
    assert wrong is None, f"FSCRYPT_QA_SEED={chosen}: {wrong}"
    print(f"sampled: {name}: {count} operations, seed {chosen}, {time.monotonic() - started:.0f} s")


def test_a_file_through_the_engine(files: FileSystem, subtree: str):
    chosen = seed()
    file = fsx.EngineFile(files, f"{subtree}/file".encode())
    run("fsx engine", fsx.Sequence(file, random.Random(chosen)), chosen, 5000)
    file.close()


def test_a_file_through_the_mount(mount_point: Path):
    chosen = seed()
    file = fsx.PathFile(mount_point / "file")
    run("fsx mount", fsx.Sequence(file, random.Random(chosen)), chosen, 2000)
    file.close()


def test_a_tree_through_the_engine(files: FileSystem, subtree: str):
    chosen = seed()
    top = tree.EngineTree(files, subtree.encode())
    run("tree engine", tree.Sequence(top, random.Random(chosen)), chosen, 1000)


def test_a_tree_through_the_mount(mount_point: Path):
    chosen = seed()
    run("tree mount", tree.Sequence(tree.PathTree(mount_point), random.Random(chosen)), chosen, 1000)
