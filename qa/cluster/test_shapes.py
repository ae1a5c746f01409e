"""Shapes of truncates and holes on a real cluster: the objects as librados reads them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mgr_fscrypt.ceph.errors import NotFoundError
from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.ceph.objects import Objects as RadosObjects
from mgr_fscrypt.format import MasterKey
from qa.fakes.engine_cases import SECRET
from qa.fakes.shape_cases import MORE, Objects, ShapeCases, expect_stored
from qa.load.contents import Model
from qa.load.doors import PathDoor
from qa.load.mounted import mounted
from qa.vectors.shapes import OBJECT_SIZE

LAST = 3


@pytest.fixture
def objects(mount: CephMount) -> Iterator[Objects]:
    with RadosObjects(mount.cluster, mount.layout(b"/")) as rados:

        def read(ino: int) -> dict[int, bytes]:
            found = {}
            for index in range(LAST + 1):
                try:
                    found[index] = rados.read(ino, index, OBJECT_SIZE).data
                except NotFoundError:
                    continue
            return found

        yield read


class TestOnTheCluster(ShapeCases):
    """All of them."""


def test_through_the_mount(
    mount: CephMount, subtree: str, key: Path, tmp_path: Path, objects: Objects
) -> None:
    directory = tmp_path / "mount"
    directory.mkdir()
    with mounted(subtree, directory, key):
        for make in MORE.values():
            file, model = PathDoor(directory).open(b"f", os.O_RDWR | os.O_CREAT | os.O_EXCL), Model()
            for target in (file, model):
                make(target)
            file.fsync()
            assert file.pread(LAST * OBJECT_SIZE, 0) == model.data
            file.close()
            (entry,) = mount.scandir(subtree.encode())
            stored = subtree.encode() + b"/" + entry.name
            expect_stored(mount, stored, MasterKey(SECRET), model, objects)
            (directory / "f").unlink()
