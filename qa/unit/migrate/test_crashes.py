"""A migration whose process dies before any of its changes, and whoever runs it again: on the fake, at every point."""

import contextlib
import copy
import os
import stat
from collections.abc import Callable, Iterator

import pytest

from mgr_fscrypt.ceph.errors import NotFoundError
from mgr_fscrypt.ceph.interface import Kind, Mount
from mgr_fscrypt.engine.paths import joined
from mgr_fscrypt.migrate import Copied, Direction, State
from mgr_fscrypt.migrate.marks import MARK
from mgr_fscrypt.migrate.record import hidden_of
from mgr_fscrypt.migrate.trees import PlainTree, Tree, walk
from qa.fakes.ceph import DiedError, FakeCluster, FakeMount, Loss
from qa.fakes.migration_cases import Subject, file_system, finished, make_source, picture

PATH = b"/above/tree"
DATA = b"not to be found in the clear"
NAMES = (b"a file of this name", b"another one", b"and its second name")


def small(tree: Tree, top: bytes) -> None:
    """Something of every kind that is made in its own way."""
    tree.mkdir(top + b"/d", 0o755)
    for name in NAMES[:2]:
        with tree.open(top + b"/d/" + name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640) as file:
            file.pwrite(DATA, 5000)
    tree.sync()
    tree.link(top + b"/d/" + NAMES[1], top + b"/" + NAMES[2])
    tree.symlink(b"d", top + b"/link")
    tree.mknod(top + b"/fifo", stat.S_IFIFO | 0o620, 0)
    tree.setxattr(top + b"/d/" + NAMES[0], "user.note", b"kept")
    tree.sync()


def subject(mount: FakeMount, direction: Direction) -> Subject:
    way = WAYS[direction]
    return Subject(mount, file_system(mount), way)


def whole(one: Subject) -> None:
    """All of it, from wherever it stands."""
    one.migration.start(one.way, "")
    if one.state() is State.COPYING:
        one.migration.converge(Copied())
        one.cut_over()


def copied(one: Subject) -> None:
    one.copy()


def back(one: Subject) -> None:
    if one.state() in (State.DONE, State.UNDOING):
        one.migration.rollback(evict=False)


def purged(one: Subject) -> None:
    with contextlib.suppress(NotFoundError):
        one.migration.purge()


def cancelled(one: Subject) -> None:
    with contextlib.suppress(NotFoundError):
        one.migration.cancel()


WAYS = {direction: make_source(FakeMount(FakeCluster()), direction, PATH, small) for direction in Direction}
ACTS: dict[str, tuple[Callable[[Subject], None] | None, Callable[[Subject], None], bool]] = {
    "start to cut-over": (None, whole, True),
    "rollback": (whole, back, False),
    "purge": (whole, purged, True),
    "cancel": (copied, cancelled, False),
}
"""What was done before, what dies, and whether the new tree is in place when it is through."""


def crashes(
    base: FakeCluster, act: Callable[[Subject], None], direction: Direction, loss: Loss
) -> Iterator[tuple[int, FakeCluster]]:
    """A cluster for each change before which the act can die."""
    for changes in range(5000):
        cluster = copy.deepcopy(base)
        dying = FakeMount(cluster)
        one = subject(dying, direction)
        dying.die_after(changes, loss)
        try:
            act(one)
        except DiedError:
            cluster.leases.clear()
            yield changes, cluster
        else:
            return
    raise AssertionError("it never ends")


def plaintext(mount: Mount, path: bytes) -> list[bytes]:
    """Files below a stored path that hold plaintext, and plain names."""
    found = []
    tree = PlainTree(mount)
    for met in walk(tree, path):
        if met.entry is None or met.leaving:
            continue
        if met.entry.name in NAMES:
            found.append(met.below)
        if met.entry.kind is Kind.FILE:
            with tree.open(path + met.below) as file:
                data = file.pread(file.size, 0)
            if DATA in data:
                found.append(met.below)
    return found


def require_safe(cluster: FakeCluster, direction: Direction, before: object, source: int) -> None:
    """Straight after a crash: one whole tree is there, and nothing in the clear but what was so."""
    mount = FakeMount(cluster)
    one = subject(mount, direction)
    old = joined(hidden_of(PATH), b"old")
    places = {path: mount.stat(path).ino for path in (PATH, old) if exists(mount, path)}
    record = one.migration.record()
    whole_source = [path for path, ino in places.items() if ino == source]
    if whole_source and (record is None or record.state is not State.PURGING or whole_source == [PATH]):
        assert picture(one.source, whole_source[0]) == before
    else:
        assert picture(one.new, PATH) == before, "the source went only when the new tree is in place"
    if direction is Direction.ENCRYPT:
        hidden = hidden_of(PATH)
        for path in (joined(hidden, b"work"), joined(hidden, b"gone"), PATH):
            if exists(mount, path) and mount.stat(path).ino != source:
                assert plaintext(mount, path) == []


def exists(mount: Mount, path: bytes) -> bool:
    try:
        mount.stat(path)
    except NotFoundError:
        return False
    return True


@pytest.mark.parametrize("name", ACTS)
@pytest.mark.parametrize(
    ("direction", "loss"),
    [*((direction, Loss.ALL) for direction in Direction), (Direction.ENCRYPT, Loss.NOTHING)],
    ids=lambda one: one.value,
)
def test_a_process_that_dies_at_any_change(direction: Direction, name: str, loss: Loss) -> None:
    first, act, replaced = ACTS[name]
    base = FakeCluster()
    mount = FakeMount(base)
    make_source(mount, direction, PATH, small)
    one = subject(mount, direction)
    before, source = picture(one.source, PATH), mount.stat(PATH).ino
    if first is not None:
        first(one)
    one.files.close()
    points = most = 0
    for changes, cluster in crashes(base, act, direction, loss):
        points += 1
        require_safe(cluster, direction, before, source)
        heir = subject(FakeMount(cluster), direction)
        kept = finished(heir) if act is whole else {}
        act(heir)
        assert {name: heir.new.stat(PATH + name).ino for name in kept} == kept, (
            "no finished file is copied again"
        )
        most = max(most, len(kept))
        at = heir.mount.stat(PATH).ino
        assert (at != source) is replaced, f"before change {changes}"
        assert picture(heir.new if replaced else heir.source, PATH) == before, f"before change {changes}"
        if name in ("purge", "cancel"):
            assert [entry.name for entry in heir.mount.scandir(b"/above")] == [b"tree"]
            for met in walk(PlainTree(heir.mount), PATH):
                assert MARK not in heir.mount.listxattr(PATH + met.below)
        heir.files.close()
        assert not cluster.leases
    print(f"sampled: {direction.value}, {name}: died at {points} points")
    assert most == (len(NAMES) if act is whole else 0)
    assert points > {"start to cut-over": 40, "rollback": 5, "purge": 12, "cancel": 8}[name]
