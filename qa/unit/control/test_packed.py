"""Long lists that Python's collector of garbage does not notice."""

import gc
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from mgr_fscrypt.control import FileSystem, Subtrees
from mgr_fscrypt.control.packed import PART, Made, in_parts, packed
from mgr_fscrypt.store import Joined, LocalDatabase, Subtree, SubtreeTable

COUNT = 5_000


def test_made_values_are_a_list_like_any_other():
    made = Made([1, 2, 3], str)
    assert made == ["1", "2", "3"] == made[:]
    assert (made[1], made[1:], len(made), hash(made)) == ("2", ["2", "3"], 3, hash(("1", "2", "3")))
    assert (repr(made), made != ["1", "2"], made == "123", made == 7) == (
        "['1', '2', '3']",
        True,
        False,
        False,
    )
    assert packed(iter([(1, "a"), (2, "b")]), lambda each: {"v": each}, lambda each: tuple(each["v"])) == (
        (1, "a"),
        (2, "b"),
    )


@pytest.mark.parametrize("there", [0, 1, PART - 1, PART, PART + 1, 3 * PART])
@pytest.mark.parametrize("limit", [1, PART, 2 * PART + 5])
def test_rows_come_in_parts(there: int, limit: int):
    asked = []

    def fetch(last: int | None, most: int) -> list[int]:
        asked.append(most)
        begin = 0 if last is None else last + 1
        return list(range(there))[begin : begin + most]

    assert list(in_parts(limit, fetch)) == list(range(min(there, limit)))
    assert max(asked) <= PART


class Cluster:
    def file_systems(self) -> list[FileSystem]:
        return [FileSystem(1, "cephfs")]


@contextmanager
def collections() -> Iterator[list[int]]:
    """The generations that are collected, by the thresholds of ceph-mgr's interpreter."""
    seen: list[int] = []

    def count(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            seen.append(info["generation"])

    before = gc.get_threshold()
    gc.collect()
    gc.set_threshold(2000, 10, 10)
    gc.callbacks.append(count)
    try:
        yield seen
    finally:
        gc.callbacks.remove(count)
        gc.set_threshold(*before)


@pytest.mark.parametrize("form", ["plain", "json", "json-pretty"])
def test_a_page_of_thousands_does_not_wake_the_collector(form: str):
    with closing(LocalDatabase()) as database:
        joined = Joined(database)
        store = SubtreeTable(joined)
        with joined.whole():
            for number in range(COUNT):
                store.put(Subtree(1, f"/{number:05}", "cephfs", number, "engine", "c", "n", 32, "00" * 16, 1))
        subtrees = Subtrees(store=store, cluster=Cluster(), clock=lambda: 7)
        with collections() as seen:
            _, text, _ = subtrees.listing(limit=COUNT).rendered(form)
        assert "/04999" in text
        # indented JSON makes some garbage of its own, which nothing keeps: the old generation is never looked at
        assert seen == [] or (form == "json-pretty" and 2 not in seen)
