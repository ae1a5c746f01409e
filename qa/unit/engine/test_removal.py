"""The end of a subtree, and what a change of modes would meet, on the fake."""

import errno
import os
from collections.abc import Iterator

import pytest

from mgr_fscrypt.engine import FileMode, FileSystem, Keyring
from qa.fakes.ceph import FakeMount
from qa.fakes.engine_cases import Tree, planted, refused

pytestmark = pytest.mark.usefixtures("hasty")


class StoppedError(Exception):
    """A job was told to end."""


@pytest.fixture
def tree(mount: FakeMount, plain: FakeMount) -> Iterator[Tree]:
    with planted(mount, plain, "removal") as tree:
        yield tree
        # `planted` removes it
        if not tree.fs.exists(tree.path):
            mount.mkdir(tree.path, 0o755)


def filled(tree: Tree) -> None:
    tree.fs.mkdir(tree.path + b"/d")
    for name in (b"a", b"d/b", b"d/c"):
        tree.make(name, b"x" * 5000)
    tree.fs.symlink(b"a", tree.path + b"/link")


def test_an_empty_one_goes_without_its_key(tree: Tree):
    tree.locked.require_removable(tree.path)
    removed = tree.locked.remove_subtree(tree.path)
    assert (removed.files, removed.directories) == (0, 0)
    assert not tree.fs.exists(tree.path)


def test_what_is_in_it_goes_only_when_that_is_said(tree: Tree):
    filled(tree)
    for act in (tree.fs.require_removable, tree.fs.remove_subtree):
        with refused(errno.ENOTEMPTY):
            act(tree.path)
    assert tree.read(tree.path + b"/d/b") == b"x" * 5000
    removed = tree.fs.remove_subtree(tree.path, contents=True)
    assert (removed.files, removed.directories) == (4, 1)
    assert not tree.fs.exists(tree.path)


def test_one_with_snapshots_stays(tree: Tree):
    tree.fs.mkdir(tree.path + b"/.snap/kept")
    for contents in (False, True):
        with refused(errno.ENOTEMPTY) as caught:
            tree.fs.remove_subtree(tree.path, contents=contents)
        assert "1 snapshots of its own" in str(caught.value)
    tree.fs.rmdir(tree.path + b"/.snap/kept")


def test_a_run_that_was_stopped_is_run_again(tree: Tree):
    filled(tree)
    steps = iter(range(3))

    def proceed() -> None:
        if next(steps, None) is None:
            raise StoppedError

    with pytest.raises(StoppedError):
        tree.fs.remove_subtree(tree.path, contents=True, proceed=proceed)
    assert tree.fs.exists(tree.path)
    tree.fs.remove_subtree(tree.path, contents=True)
    assert not tree.fs.exists(tree.path)


@pytest.mark.parametrize(("part", "by_link"), [("", False), ("d", False), ("d", True)])
def test_what_comes_to_lie_there_meanwhile_stays(tree: Tree, mount: FakeMount, part: str, by_link: bool):
    tree.fs.mkdir(tree.path + b"/d")
    for name in (b"d/b", b"d/c"):
        tree.make(name, b"x")
    (d,) = [each.name for each in mount.scandir(tree.path)]
    names = [each.name for each in mount.scandir(tree.path + b"/" + d)]
    # a copy, with the same names
    mount.mkdir(b"/copy", 0o755)
    mount.mkdir(b"/copy/" + d, 0o755)
    for name in names:
        mount.close(mount.open(b"/copy/" + d + b"/" + name, os.O_CREAT | os.O_WRONLY, 0o644))
    below = b"/" + d if part else b""
    steps = iter(range(2))

    def proceed() -> None:
        # it is in the midst of `d` by now
        if next(steps, None) is None and not tree.fs.exists(b"/away"):
            mount.rename(tree.path + below, b"/away")
            if by_link:
                mount.symlink(b"/copy" + below, tree.path + below)
            else:
                mount.rename(b"/copy" + below, tree.path + below)

    with refused(errno.ESTALE):
        tree.locked.remove_subtree(tree.path, contents=True, proceed=proceed)
    kept = b"/copy/" + d if by_link else tree.path + b"/" + d
    assert sorted(each.name for each in mount.scandir(kept)) == sorted(names)
    if by_link:
        mount.unlink(tree.path + below)


def test_one_that_was_made_anew_is_not_the_one_that_was_meant(tree: Tree, mount: FakeMount):
    filled(tree)
    with refused(errno.ESTALE):
        tree.fs.remove_subtree(tree.path, contents=True, inode=1)
    assert tree.read(tree.path + b"/a") == b"x" * 5000
    tree.fs.remove_subtree(tree.path, contents=True, inode=mount.stat(tree.path).ino)


def test_only_the_top_is_removed_so(tree: Tree):
    tree.fs.mkdir(tree.path + b"/d")
    with refused(errno.EINVAL):
        tree.fs.remove_subtree(tree.path + b"/d")


def test_what_a_change_of_modes_would_meet(tree: Tree, mount: FakeMount):
    filled(tree)
    tree.fs.link(tree.path + b"/a", tree.path + b"/d/again")
    found = list(FileSystem(mount, Keyring()).mode_changes(tree.path, FileMode.ENGINE))
    assert [each.size for each in found] == [5000] * 3
    assert sorted(each.plain for each in tree.fs.mode_changes(tree.path, FileMode.ENGINE))[1:] == [
        tree.path + b"/d/b",
        tree.path + b"/d/c",
    ]
    assert list(tree.fs.mode_changes(tree.path, FileMode.KERNEL)) == []


def test_a_release_that_is_stopped_is_gone_on_with(tree: Tree):
    filled(tree)
    left = [None]

    def proceed() -> None:
        if not left:
            raise StoppedError
        left.pop()

    with pytest.raises(StoppedError):
        tree.fs.release(tree.path, proceed=proceed)
    report = tree.fs.release(tree.path)
    assert (report.changed, report.unchanged, report.complete) == (2, 1, True)
    assert tree.fs.subtree(tree.path).mode is FileMode.KERNEL
