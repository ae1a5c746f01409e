"""A verify on a file system in memory: damage is counted and named as stored, and nothing else is told."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mgr_fscrypt.ceph.interface import Layout
from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.engine.fsck import ObjectExtents
from mgr_fscrypt.format import MasterKey
from mgr_fscrypt.messages.job import JobState
from mgr_fscrypt.service.jobs import RefusedWishError
from mgr_fscrypt.service.kinds.place import Place
from mgr_fscrypt.service.kinds.verify import Verify
from qa.fakes.ceph import FakeCluster, FakeMount
from qa.fakes.jobs import Stage, wish
from qa.fakes.service import KEY, SECRET


class NoObjects:
    """Files whose objects nobody may look at."""

    def extent(self, layout: Layout, ino: int, index: int) -> int | None:
        return None


class Tree:
    """A service, and a subtree whose key it may have."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.mount = FakeMount(self.cluster)
        self.objects: ObjectExtents = NoObjects()
        self.stage = Stage(Verify(self.reach, patience=0))
        keyring = Keyring()
        keyring.add(MasterKey(SECRET))
        with FileSystem(self.mount, keyring) as files:
            files.mkdir("/a")
            files.create_subtree("/a", KEY)
            files.mkdir("/a/secret plan")
            files.mkdir("/a/secret plan/inside")
            for number in range(4):
                files.mkdir(f"/a/{number}")
        self.mount.mkdir(b"/plain", 0o755)

    @contextmanager
    def reach(self) -> Iterator[Place]:
        yield Place(FakeMount(self.cluster), self.objects)

    def verified(self, path: str = "/a", **options: int) -> JobState:
        self.stage.runner.begin_job(wish(kind="verify", path=path, **options))
        self.stage.go()
        return self.stage.runner.state(wish().id)


@pytest.fixture
def tree() -> Tree:
    return Tree()


def test_a_whole_tree(tree: Tree):
    state = tree.verified()
    assert (state.state, state.code, state.why) == ("done", 0, "")
    assert state.outcome() == {"entries": 6, "busy": 0, "severities": {}, "findings": {}, "first": []}
    assert (state.done, state.total, state.unit) == (6, 6, "entries")


def test_damage_is_told_as_stored(tree: Tree):
    tree.mount.mkdir(b"/a/not encrypted", 0o755)
    state = tree.verified()
    assert (state.state, state.code) == ("done", 1)
    found = state.outcome()
    assert sum(found["findings"].values()) == sum(found["severities"].values()) == len(found["first"])
    assert "missing-context" in found["findings"]
    first = next(each for each in found["first"] if each["finding"] == "missing-context")
    assert (first["stored"], first["severity"]) == ("/a/not encrypted", "damage")
    assert {error.kind for error in state.errors} == set(found["findings"])
    kept = tree.stage.records.kept[f"job.{wish().id}"]
    assert b"secret plan" not in kept


def test_a_locked_key_is_waited_for(tree: Tree):
    tree.stage.residents.lock(KEY)
    assert tree.verified().state == "waiting"
    tree.stage.residents.keep(KEY, 1.0)
    tree.stage.runner.hurry()
    tree.stage.go()
    assert tree.stage.told() == "done"
    assert tree.stage.residents.states()[0].uses == 0


@pytest.mark.parametrize(
    ("path", "why", "code"),
    [
        ("/plain", "the directory is not encrypted", 3),
        ("/", "the directory is not encrypted", 3),
        ("/a/x", "it lies inside of an encrypted subtree", 3),
        ("/nowhere", "No such file", 5),
    ],
)
def test_what_is_no_subtree(tree: Tree, path: str, why: str, code: int):
    state = tree.verified(path)
    assert (state.state, state.code) == ("failed", code)
    assert why in state.why


def test_it_can_be_slowed_down(tree: Tree):
    begun = tree.stage.clock.time
    tree.verified(rate=2)
    assert tree.stage.clock.time == pytest.approx(begun + 6 / 2)
    assert math.isclose(sum(tree.stage.clock.waits), 3.0)


@pytest.mark.parametrize(
    "options", [{"rate": 0}, {"rate": 10**7}, {"rate": True}, {"rate": "5"}, {"speed": 5}]
)
def test_options_that_say_nothing(tree: Tree, options: dict[str, int]):
    with pytest.raises(RefusedWishError):
        Verify(tree.reach).accept(wish(kind="verify", **options))
