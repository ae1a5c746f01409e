import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from mgr_fscrypt.store import Gate, GateTable, LocalDatabase, Place, Subtree, SubtreeTable

ONE = Subtree(
    1, "/a/b", "cephfs", 10, "engine", "AES-256-XTS", "AES-256-CBC-CTS", 32, "00" * 16, 1_700_000_000
)


@pytest.fixture
def table() -> Iterator[SubtreeTable]:
    database = LocalDatabase()
    yield SubtreeTable(database)
    database.close()


def test_put_replaces_the_record_of_the_same_path(table: SubtreeTable):
    table.put(ONE)
    table.put(replace(ONE, mode="kernel", inode=11))
    assert table.page(None, Place(), 10).subtrees == (replace(ONE, mode="kernel", inode=11),)


def test_one_inode_has_one_path(table: SubtreeTable):
    table.put(ONE)
    with pytest.raises(sqlite3.IntegrityError):
        table.put(replace(ONE, path="/other"))
    table.put(replace(ONE, path="/other", fscid=2))
    assert table.at(1, "/a/b") == ONE


def test_remove_takes_only_that_record(table: SubtreeTable):
    other = replace(ONE, path="/c", inode=11)
    table.put(ONE)
    table.put(other)
    table.remove(1, "/a/b")
    table.remove(1, "/a/b")
    assert table.page(None, Place(), 10).subtrees == (other,)


def test_find_by_inode_stays_in_the_file_system(table: SubtreeTable):
    table.put(ONE)
    assert table.with_inode(1, 10) == ONE
    assert table.with_inode(2, 10) is None


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/", True),
        ("/a", True),
        ("/a/b", False),
        ("/a/", True),
        ("/a/b/c", False),
        ("/A", False),
        ("/a/a", False),
    ],
)
def test_first_below(table: SubtreeTable, path: str, found: bool):
    table.put(ONE)
    assert table.first_below(1, path) == (ONE if found else None)


@pytest.mark.parametrize("sibling", ["/a-x", "/a.x", "/a0", "/a x"])
def test_first_below_is_not_misled_by_names_with_the_same_beginning(table: SubtreeTable, sibling: str):
    table.put(replace(ONE, path=sibling))
    assert table.first_below(1, "/a") is None


@pytest.mark.parametrize(
    ("root", "found"),
    [
        ("/", True),
        ("/a", True),
        ("/a/b", True),
        ("/a/b/c/d", True),
        ("/a/bc", False),
        ("/c", False),
        ("/a/B", False),
    ],
)
def test_what_is_met_from_a_directory(table: SubtreeTable, root: str, found: bool):
    subtree = replace(ONE, path="/a/b")
    table.put(subtree)
    assert table.met_from(1, root, ONE.mode) == (subtree if found else None)
    assert table.met_from(2, root, ONE.mode) is None
    assert table.met_from(1, root, "kernel" if ONE.mode == "engine" else "engine") is None


def test_what_has_a_gate_is_not_met():
    gate = Gate(ONE.fscid, ONE.path, "isolate", "x", ("client.a",), (), (), 5)
    with closing(LocalDatabase()) as database:
        table = SubtreeTable(database)
        table.put(ONE)
        gates = GateTable(database)
        gates.put(gate)
        assert gates.at(ONE.fscid, ONE.path) == gate
        assert table.met_from(1, "/", ONE.mode) is None
        gates.remove(ONE.fscid, ONE.path)
        assert table.met_from(1, "/", ONE.mode) == ONE


def test_pages_follow_each_other_without_gap_or_repeat(table: SubtreeTable):
    made = [
        replace(ONE, fscid=fscid, path=f"/{name}", inode=number)
        for fscid in (1, 2, 10)
        for number, name in enumerate(("a", "b", "z/é", "z"), 1)
    ]
    for subtree in reversed(made):
        table.put(subtree)
    seen: list[Subtree] = []
    after: Place | None = Place()
    while after is not None:
        page = table.page(None, after, 5)
        seen += page.subtrees
        after = page.following
    assert sorted(seen, key=lambda each: (each.fscid, each.path)) == seen
    assert len(seen) == len(set(seen)) == len(made)
    assert [each.fscid for each in table.page(2, Place(), 100).subtrees] == [2] * 4
    assert [each.path for each in table.page(2, Place(2, "/b"), 100).subtrees] == ["/z", "/z/é"]
    assert [each.path for each in table.page(2, Place(1, "/b"), 1).subtrees] == ["/a"]
    assert table.page(2, Place(10), 100).subtrees == ()


def test_counts(table: SubtreeTable):
    table.put(ONE)
    table.put(replace(ONE, path="/c", inode=11, mode="kernel"))
    table.put(replace(ONE, path="/d", inode=12, mode="kernel"))
    table.put(replace(ONE, fscid=2))
    assert table.counts() == {(1, "engine"): 1, (1, "kernel"): 2, (2, "engine"): 1}


def test_the_name_of_a_file_system_that_is_gone(table: SubtreeTable):
    table.put(ONE)
    assert table.name_last_seen("cephfs") == 1
    assert table.name_last_seen("other") is None
