"""Fixtures of the facts: a place of one's own in the file system, and clients of all kinds."""

import re
import uuid
from collections.abc import Callable, Iterator

import cephfs
import pytest

from qa.facts.client import Clients
from qa.facts.tree import mounted, remove_tree
from qa.lab.cluster import Cluster


@pytest.fixture
def mount(cluster: Cluster) -> Iterator[Callable[..., cephfs.LibCephFS]]:
    """Make mounts in this process, with ceph options of their own; only for facts that abort nobody."""
    mounts: list[cephfs.LibCephFS] = []

    def make(**options: str) -> cephfs.LibCephFS:
        made = cephfs.LibCephFS(conffile=str(cluster.directory / "ceph.conf"))
        mounts.append(made)
        for option, value in options.items():
            made.conf_set(option, value)
        made.mount()
        return made

    yield make
    for made in mounts:
        made.shutdown()


@pytest.fixture
def place(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty directory of this test alone; the mounts that make and remove it hold nothing in between."""
    path = f"/facts-{re.sub(r'[^a-z0-9_]+', '-', request.node.name.lower())[:60]}-{uuid.uuid4().hex[:8]}"
    with mounted(cluster) as fs:
        fs.mkdir(path, 0o777)
    yield path
    with mounted(cluster) as fs:
        remove_tree(fs, path)


@pytest.fixture
def fs(place: str, mount: Callable[..., cephfs.LibCephFS]) -> cephfs.LibCephFS:
    """A mount in this process, gone before `place` is removed."""
    return mount()


@pytest.fixture
def clients(cluster: Cluster, place: str) -> Iterator[Clients]:
    """Clients in processes of their own, gone before `place` is removed."""
    with Clients(cluster) as opened:
        yield opened
