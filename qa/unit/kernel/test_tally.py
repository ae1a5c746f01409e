"""The witness finds what differs, and its trees are what a plain file system shows of them."""

from dataclasses import replace
from pathlib import Path

import pytest

from mgr_fscrypt.ceph.interface import Kind
from qa.kernel.tally import Tally, wrong
from qa.kernel.trees import build
from qa.load.doors import PathDoor
from qa.load.tree import Found, Path_, walk

FILE = (b"a", b"file")
TREE: dict[Path_, Found] = {
    (b"a",): Found(Kind.DIRECTORY, permissions=0o755),
    FILE: Found(Kind.FILE, b"content", 1, 0o644, 7),
    (b"a", b"link"): Found(Kind.SYMLINK, b"file"),
}


def compared(found: dict[Path_, Found]) -> Tally:
    tally = Tally()
    tally.begin("part")
    tally.compare_trees("/top", found, TREE)
    return tally


def test_what_is_the_same_does_not_differ():
    tally = compared(dict(TREE))
    assert tally.differences == []
    assert tally.told()["values"] == tally.values > 3 * len(TREE)


@pytest.mark.parametrize(
    "change",
    [
        {"content": b"contenT"},
        {"content": b"content\0"},
        {"links": 2},
        {"permissions": 0o600},
        {"mtime": 8},
        {"kind": Kind.SYMLINK},
    ],
    ids=str,
)
def test_each_value_is_compared(change: dict[str, object]):
    tally = compared(TREE | {FILE: replace(TREE[FILE], **change)})
    assert {each.what.split(": ")[1] for each in tally.differences} >= set(change)
    assert all(each.what.startswith("/top/a/file: ") for each in tally.differences)


def test_names_are_compared_both_ways():
    assert len(compared({path: one for path, one in TREE.items() if path != FILE}).differences) == 1
    assert len(compared(TREE | {(b"ghost",): TREE[FILE]}).differences) == 1


def test_only_contents_of_the_same_length_are_read_again():
    one = TREE[FILE]
    assert wrong(TREE | {FILE: replace(one, content=b"contenT")}, TREE) == [FILE]
    assert wrong(TREE | {FILE: replace(one, content=b"longer content")}, TREE) == []
    assert wrong({}, TREE) == []


@pytest.mark.parametrize("whole", [False, True])
def test_a_tree_is_as_it_is_told(tmp_path: Path, *, whole: bool):
    door = PathDoor(tmp_path)
    made = build(door, longest=128, whole=whole)
    tally = Tally()
    tally.begin("plain")
    tally.compare_trees("/", dict(walk(door)), made)
    assert tally.differences == []
