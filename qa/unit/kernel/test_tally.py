"""The witness finds what differs, and its trees are what a plain file system shows of them."""

from dataclasses import replace
from pathlib import Path

import pytest

from mgr_fscrypt.ceph.interface import Kind
from qa.kernel.reading import compare_guest
from qa.kernel.tally import MOST_READ_AGAIN, Tally, wrong_bytes
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


def test_wrong_bytes_are_other_bytes_and_as_many():
    one = TREE[FILE]
    assert wrong_bytes(TREE | {FILE: replace(one, content=b"contenT")}, TREE) == [FILE]
    assert wrong_bytes(TREE | {FILE: replace(one, content=b"longer content")}, TREE) == []
    assert wrong_bytes(TREE, TREE) == []
    assert wrong_bytes({}, TREE) == []


class Guest:
    """Gives one tree after the other."""

    def __init__(self, *trees: dict[Path_, Found]) -> None:
        self._trees = list(trees)

    def ask(self, act: str, *arguments: object) -> object:
        if act == "walk":
            return dict(self._trees.pop(0))
        assert (act, arguments) == ("drop_caches", ())
        return None


class Place:
    """Of a kernel that has a capital T at the end of what it misreads."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest

    def misread(self, path: bytes, content: bytes) -> bytes:
        assert path == b"/top/a/file"
        return content[:-1] + b"T"


def read_by(guest: Guest, tally: Tally) -> Tally:
    tally.begin("part")
    compare_guest(Place(guest), tally, "/top", TREE)  # type: ignore[arg-type]
    return tally


WRONG = TREE | {FILE: replace(TREE[FILE], content=b"contenT")}


def test_a_first_read_that_is_misread_is_told_and_the_second_counts():
    tally = read_by(Guest(WRONG, TREE), Tally())
    assert tally.differences == []
    assert tally.read_again == ["/top/a/file: 1 of 7 bytes, from 6 to 6"]


def test_wrong_bytes_of_a_second_read_differ():
    (differs,) = read_by(Guest(WRONG, WRONG), Tally()).differences
    assert differs.what.startswith("/top/a/file: content")


@pytest.mark.parametrize("content", [b"contenX", b"conteNT", b"Content"])
def test_other_wrong_bytes_differ_at_once(content: bytes):
    tally = read_by(Guest(TREE | {FILE: replace(TREE[FILE], content=content)}), Tally())
    assert len(tally.differences) == 1
    assert tally.read_again == []


def test_too_many_wrong_first_reads_differ():
    tally = Tally(read_again=["before"] * MOST_READ_AGAIN)
    assert len(read_by(Guest(WRONG, TREE), tally).differences) == 1
    assert len(tally.read_again) == MOST_READ_AGAIN + 1


@pytest.mark.parametrize("whole", [False, True])
def test_a_tree_is_as_it_is_told(tmp_path: Path, *, whole: bool):
    door = PathDoor(tmp_path)
    made = build(door, longest=128, whole=whole)
    tally = Tally()
    tally.begin("plain")
    tally.compare_trees("/", dict(walk(door)), made)
    assert tally.differences == []
