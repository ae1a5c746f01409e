"""Shapes of truncates and holes on the fake, which keeps a file in one piece: cut into objects here."""

import pytest

from qa.fakes.ceph import FakeCluster, FakeMount
from qa.fakes.shape_cases import Objects, ShapeCases, cut


@pytest.fixture
def mount() -> FakeMount:
    return FakeMount(FakeCluster())


@pytest.fixture
def objects(mount: FakeMount) -> Objects:
    def read(ino: int) -> dict[int, bytes]:
        (inode,) = (
            inode
            for top in mount.cluster.root.names.values()
            for inode in top.names.values()
            if inode.ino == ino
        )
        return cut(bytes(inode.data))

    return read


class TestOnTheFake(ShapeCases):
    """All of them."""
