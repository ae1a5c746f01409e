"""Directories that say themselves where their files lie."""

import copy

import pytest

from mgr_fscrypt.ceph.interface import LAYOUT_XATTR, Layout
from mgr_fscrypt.migrate import Copied, Direction, Obstacle, State, Way
from mgr_fscrypt.migrate.layouts import own_layout
from mgr_fscrypt.migrate.trees import PlainTree, Tree
from qa.fakes.ceph import DiedError, FakeCluster, FakeMount
from qa.fakes.migration_cases import WAYS, Subject, file_system, make_source

PATH = b"/above/tree"
FAST = Layout(1 << 20, 1, 1 << 20, "fast", "apart")
WIDE = Layout(1 << 16, 4, 1 << 22, "wide")


def laid_out(tree: Tree, top: bytes) -> None:
    tree.mkdir(top + b"/fast", 0o755, attributes=FAST.attributes)
    tree.mkdir(top + b"/fast/in it", 0o755)
    tree.mkdir(top + b"/usual", 0o755)
    if isinstance(tree, PlainTree):
        tree.mkdir(top + b"/wide", 0o755, attributes=WIDE.attributes)
    tree.sync()


@pytest.fixture(params=Direction, ids=lambda each: each.value)
def one(request: pytest.FixtureRequest, mount: FakeMount) -> Subject:
    return Subject(mount, file_system(mount), make_source(mount, request.param, PATH, laid_out))


def test_they_are_carried_over(one: Subject) -> None:
    one.copy()
    late = one.cut_over()
    assert late.verdict.equal, late.verdict.listed
    assert own_layout(one.new, PATH + b"/fast") == FAST
    assert own_layout(one.new, PATH + b"/fast/in it") is None
    assert own_layout(one.new, PATH + b"/usual") is None
    if one.way.direction is Direction.ENCRYPT:
        assert own_layout(one.new, PATH + b"/wide") == Layout(1 << 22, 1, 1 << 22, "wide")


def test_a_namespace_that_was_asked_for_is_that_of_all(one: Subject) -> None:
    one.migration.start(one.way, "", "gated")
    one.migration.start(one.way, "")
    one.migration.converge(Copied())
    one.cut_over()
    for name in (b"", b"/fast"):
        found = own_layout(one.new, PATH + name)
        assert found is not None
        assert found.namespace == "gated"


def test_the_top_keeps_its_own(mount: FakeMount) -> None:
    for direction in Direction:
        place = b"/%b/tree" % direction.value.encode()
        mount.mkdir(place.rpartition(b"/")[0], 0o755)
        mount.mkdir(place, 0o755)
        for name, value in FAST.attributes:
            mount.setxattr(place, name, value)
        old, key = WAYS[direction]
        files = file_system(mount)
        if old is not None:
            files.create_subtree(place, old.identifier)
        one = Subject(mount, files, Way(place, direction, key.identifier))
        one.copy()
        one.cut_over()
        assert own_layout(PlainTree(mount), place) == FAST
        files.close()


def test_a_plan_tells_of_them(mount: FakeMount) -> None:
    mount.cluster.coded = {"wide"}
    one = Subject(mount, file_system(mount), make_source(mount, Direction.ENCRYPT, PATH, laid_out))
    found = {(obstacle, path) for obstacle, path, _ in one.plan().listed}
    assert found == {
        (Obstacle.LAYOUT, PATH + b"/fast"),
        (Obstacle.STRIPED, PATH + b"/wide"),
        (Obstacle.CODED, PATH + b"/wide"),
    }


def test_whoever_dies_at_any_change_leaves_none_without() -> None:
    for direction in Direction:
        base = FakeCluster()
        way = make_source(FakeMount(base), direction, PATH, laid_out)
        for changes in range(1000):
            cluster = copy.deepcopy(base)
            dying = FakeMount(cluster)
            subject = Subject(dying, file_system(dying), way)
            dying.die_after(changes)
            try:
                subject.migration.start(way, "")
                subject.migration.converge(Copied())
            except DiedError:
                cluster.leases.clear()
            else:
                break
            heir = Subject(FakeMount(cluster), file_system(FakeMount(cluster)), way)
            record = heir.migration.start(way, "")
            heir.migration.converge(Copied())
            assert record.state is State.COPYING
            top = heir.migration.sides(record).new_top
            assert own_layout(heir.new, top + b"/fast") == FAST, f"before change {changes}"
            heir.files.close()
        assert changes > 12


def test_a_layout_after_a_policy_is_refused_by_the_fake_as_well(mount: FakeMount) -> None:
    one = Subject(mount, file_system(mount), make_source(mount, Direction.DECRYPT, PATH, laid_out))
    with pytest.raises(OSError, match="after a policy"):
        mount.setxattr(PATH, LAYOUT_XATTR, WIDE.attributes[0][1])
    one.files.close()
