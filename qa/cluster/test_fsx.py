"""Random operations on one file and on one tree, beside a model: through the engine and through the mount."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.format import MasterKey
from qa.load import fsx, tree
from qa.load.mounted import mounted
from qa.load.seeds import seed

SECRET = bytes(range(64))
KEY = MasterKey(SECRET)


@pytest.fixture
def mount_point(subtree: str, key: Path, tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "mount"
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


def test_a_file_of_two_clients(files: FileSystem, subtree: str):
    chosen = seed()
    keyring = Keyring()
    keyring.add(KEY)
    with connect(Access()) as mount, FileSystem(mount, keyring) as other:
        chance = random.Random(chosen)
        file = fsx.SharedFile((files, other), f"{subtree}/file".encode(), chance)
        run("fsx, two clients", fsx.Sequence(file, chance), chosen, 500)
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
