"""Every finding is made by a case, and stands in the manual."""

import re
import stat
from pathlib import Path

import pytest

from mgr_fscrypt.ceph.interface import Layout
from mgr_fscrypt.engine import Keyring
from mgr_fscrypt.engine.fsck import Code, Fsck, ObjectExtents
from qa.fakes.ceph import DiedError, FakeCluster, FakeExtents, FakeMount
from qa.fakes.fsck_cases import CASES, ELSEWHERE, NAME, FsckCases, Ground, run

pytestmark = pytest.mark.usefixtures("hasty")
PAGE = Path(__file__).resolve().parents[4] / "doc" / "fsck.md"


class FakeTools:
    """What a cluster's tools do, on the fake."""

    def __init__(self, cluster: FakeCluster) -> None:
        self._cluster = cluster

    def extents(self) -> ObjectExtents:
        return FakeExtents(self._cluster)

    def stretch(self, layout: Layout, ino: int, index: int, length: int) -> None:
        self._cluster.find(ino).extents[index] = length

    def make_special(self, stored: bytes) -> None:
        parent, _, name = stored.rpartition(b"/")
        inode = self._cluster.inode(stat.S_IFIFO | 0o644)
        self._cluster.find(FakeMount(self._cluster).stat(parent).ino).names[name] = inode

    def leave_lease(self, ino: int) -> None:
        self._cluster.left_leases.add(ino)


@pytest.fixture
def tools(mount: FakeMount) -> FakeTools:
    return FakeTools(mount.cluster)


class TestOnTheFake(FsckCases):
    """Everything that can be found."""

    @pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.repair])
    def test_a_repair_that_is_killed_can_be_repeated(
        self, ground: Ground, mount: FakeMount, name: str
    ) -> None:
        case, tree = CASES[name], ground.tree
        case.make(ground)
        keyring = Keyring()
        keyring.add(tree.key)
        changes = 0
        while True:
            dying = FakeMount(mount.cluster)
            dying.die_after(changes)
            fsck = Fsck(dying, keyring, tree.path, ground.tools.extents(), 0)
            try:
                for one in list(fsck.findings()):
                    assert one.repair is None or fsck.repair(one)
            except DiedError:
                mount.cluster.leases.clear()
                changes += 1
            else:
                break
        assert changes > 1, "it changes something"
        _, left = run(tree.fs, tree.path, ground.tools)
        assert {one.code for one in left} == case.beside
        if case.content is not None:
            assert tree.read(tree.path + b"/" + NAME) == case.content


def test_every_code_has_a_case() -> None:
    assert {case.code for case in CASES.values()} | ELSEWHERE == set(Code)


def test_every_code_stands_in_the_manual() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (\w+) \|", PAGE.read_text(), re.MULTILINE)
    assert rows == [(code.word, code.severity.value) for code in Code]
