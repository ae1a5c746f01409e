"""Lists of subtrees by what is asked for: right, in order, without gap or repeat, and from indexes alone."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import product

import pytest

from mgr_fscrypt.store import (
    ALL,
    OWN,
    Key,
    KeyTable,
    LocalDatabase,
    Order,
    Place,
    Spot,
    Subtree,
    SubtreeTable,
    Wanted,
)
from mgr_fscrypt.store import subtrees as pages

KEYS = {
    (1, "00" * 16): ("payroll", "acme", "active"),
    (1, "11" * 16): ("mail", "acme", "disabled"),
    (1, "22" * 16): ("mail", "other", "active"),
    (2, "11" * 16): ("scratch", "acme", "active"),
}
UNREPORTED = "33" * 16
PATHS = ("/a", "/vol", "/vol-1", "/vol.x/a", "/vol/a", "/vol/a b", "/vol/é/x", "/vol0", "/z")


def made(fscid: int) -> list[Subtree]:
    keys = [identifier for number, identifier in KEYS if number == fscid] + [UNREPORTED]
    # subtrees do not nest
    shown = [path for path in PATHS if (path != "/vol" if fscid == 1 else not path.startswith("/vol/"))]
    return [
        Subtree(
            fscid,
            path,
            "x",
            number,
            ("engine", "kernel")[number % 2],
            "C",
            "N",
            32,
            keys[number % len(keys)],
            number % 3,
        )
        for number, path in enumerate(shown, 1)
    ]


SUBTREES = made(1) + made(2)


@pytest.fixture
def database() -> Iterator[LocalDatabase]:
    with closing(LocalDatabase()) as found:
        for subtree in reversed(SUBTREES):
            SubtreeTable(found).put(subtree)
        for (fscid, identifier), (name, tenant, state) in KEYS.items():
            KeyTable(found).put(Key(fscid, identifier, name, tenant, state, 1, 0, 0, 0, 0, (), 0))
        yield found


def fits(subtree: Subtree, wanted: Wanted) -> bool:
    """What a filter means, said in another way."""
    name, tenant, state = KEYS.get((subtree.fscid, subtree.key_identifier), (None, None, None))
    below = wanted.below
    return all(
        (
            wanted.mode in (None, subtree.mode),
            wanted.key_identifier in (None, subtree.key_identifier),
            below is None or f"{subtree.path}/".startswith(f"{below}/".replace("//", "/")),
            wanted.text is None or wanted.text in subtree.path,
            wanted.key_name in (None, name),
            wanted.tenant in (None, tenant),
            wanted.state in (None, state),
        )
    )


CHOICES: Mapping[str, tuple[str | None, ...]] = {
    "mode": (None, "kernel"),
    "key_identifier": (None, "11" * 16, UNREPORTED),
    "below": (None, "/", "/vol", "/vol/a", "/none"),
    "text": (None, "vol", "/a"),
    "key_name": (None, "mail"),
    "tenant": (None, "acme"),
    "state": (None, "active"),
}
ASKED = [Wanted(**dict(zip(CHOICES, values, strict=True))) for values in product(*CHOICES.values())]


ORDERS = [Order(column, reverse) for column in ("", "registered") for reverse in (False, True)]


def walked(
    table: SubtreeTable, fscid: int | None, wanted: Wanted, size: int, order: Order = OWN
) -> list[Subtree]:
    """All pages, one after the other."""
    seen: list[Subtree] = []
    place: Place | None = Place()
    while place is not None:
        page = table.page(fscid, place, size, wanted, order)
        assert len(page.subtrees) <= size
        seen += page.subtrees
        place = page.following
    return seen


@pytest.mark.parametrize(("fscid", "size"), [(None, 100), (None, 2), (1, 1), (2, 3)])
@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_each_filter_gives_what_fits_in_order(
    database: LocalDatabase, fscid: int | None, size: int, order: Order
):
    table = SubtreeTable(database)
    for wanted in ASKED:
        expected = [each for each in SUBTREES if fscid in (None, each.fscid) and fits(each, wanted)]
        if order.column:
            expected.sort(key=lambda each: (each.fscid, each.registered, each.path))
        elif wanted.by_key:
            expected.sort(key=lambda each: (each.fscid, each.key_identifier, each.path))
        else:
            expected.sort(key=lambda each: (each.fscid, each.path))
        if order.reverse:
            expected.reverse()
        assert walked(table, fscid, wanted, size, order) == expected, wanted


def test_a_page_by_text_looks_through_so_many_and_says_where_it_goes_on(
    database: LocalDatabase, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pages, "LOOKED_THROUGH", 3)
    table = SubtreeTable(database)
    first = table.page(1, Place(), 10, Wanted(text="/z"))
    assert (first.subtrees, first.following) == ((), Place(1, "/vol.x/a"))
    assert [each.path for each in walked(table, 1, Wanted(text="/z"), 10)] == ["/z"]
    assert [each.path for each in walked(table, 1, Wanted(text="/z", tenant="acme"), 10)] == ["/z"]
    newest = Order("registered", reverse=True)
    assert table.page(1, Place(), 10, Wanted(tenant="nobody"), newest).following is not None
    assert walked(table, 1, Wanted(tenant="nobody"), 10, newest) == []


class Explaining:
    """A database that asks SQLite how it will answer each question."""

    def __init__(self, database: LocalDatabase) -> None:
        self.database = database
        self.steps: list[str] = []

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        with self.database.transaction() as db:
            asked: list[str] = []
            db.set_trace_callback(asked.append)
            yield db
            db.set_trace_callback(None)
            for question in asked:
                if question.startswith("SELECT"):
                    rows = db.execute(f"EXPLAIN QUERY PLAN {question}").fetchall()
                    self.steps += [row["detail"] for row in rows]


@pytest.mark.parametrize("wanted", [*ASKED[::7], ALL, *(Wanted(**{name: "x"}) for name in CHOICES)])
@pytest.mark.parametrize("reverse", [False, True])
def test_nothing_is_sorted_and_no_table_read_through(database: LocalDatabase, wanted: Wanted, reverse: bool):
    table = SubtreeTable(explaining := Explaining(database))
    place = Place(1, "/vol-1", "11" * 16 if wanted.by_key else "")
    table.page(None, place, 2, wanted, Order(reverse=reverse))
    table.counts()
    assert explaining.steps
    # the table of counts has two rows for each file system
    steps = [step for step in explaining.steps if "SubtreeCount" not in step]
    assert [step for step in steps if "SCAN" in step or "TEMP B-TREE" in step] == []
    found = [step for step in steps if step.startswith("SEARCH s ")]
    assert found or (wanted.key_identifier and wanted.of_key)
    for step in found:
        for column in ("mode", "key_identifier"):
            if getattr(wanted, column) is not None:
                assert f"{column}=?" in step, f"what is wanted of {column} is looked at row by row: {step}"
        assert "path" in step, f"a page begins by reading what is before it: {step}"


@pytest.mark.parametrize("wanted", [ALL, *(Wanted(**{name: "x"}) for name in CHOICES)])
@pytest.mark.parametrize("reverse", [False, True])
def test_times_come_from_their_index(database: LocalDatabase, wanted: Wanted, reverse: bool):
    table = SubtreeTable(explaining := Explaining(database))
    table.page(None, Place(1, "/a", registered=1), 2, wanted, Order("registered", reverse))
    steps = [step for step in explaining.steps if "SubtreeCount" not in step]
    assert [step for step in steps if "SCAN" in step or "TEMP B-TREE" in step] == []
    assert any("SubtreeByTime (fscid=? AND (registered,path)" in step for step in steps), steps


@pytest.mark.parametrize("column", ["", "name", "expires"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("fscid", [None, 1])
def test_keys_are_in_each_order_from_an_index(
    database: LocalDatabase, column: str, reverse: bool, fscid: int | None
):
    for number, (name, expires) in enumerate({"a": 0, "b": 3, "c:": 2, "a/": 3, "ä": 0, "z": 9}.items()):
        key = Key(1, f"{number:032x}", name, "acme", "active", 1, 0, expires, 0, 0, (), 0)
        KeyTable(database).put(key)
    table, order = KeyTable(explaining := Explaining(database)), Order(column, reverse)
    every = table.page(fscid, None, 100)
    for wanted in ({}, {"tenant": "acme"}, {"state": "active", "text": "a"}):

        def fits(key: Key, wanted: Mapping[str, str] = wanted) -> bool:
            return wanted.get("text", "") in key.name and all(
                getattr(key, name) == value for name, value in wanted.items() if name != "text"
            )

        def rank(key: Key) -> tuple[object, ...]:
            value = getattr(key, column) if column else ""
            return key.fscid, value or 99 if column == "expires" else value, key.identifier

        expected = sorted(filter(fits, every), key=rank, reverse=reverse)
        seen: list[Key] = []
        spot: Spot | None = None
        while page := table.page(fscid, spot, 2, wanted, order):
            seen += page
            last = page[-1]
            spot = Spot(last.fscid, last.identifier, getattr(last, column) if column else None)
        assert seen == expected
    assert [step for step in explaining.steps if "TEMP B-TREE" in step] == []


def test_counts_follow_every_change(database: LocalDatabase):
    table = SubtreeTable(database)

    def counted() -> dict[tuple[int, str], int]:
        with database.transaction() as db:
            rows = db.execute(
                "SELECT fscid, mode, COUNT(*) AS n FROM Subtree GROUP BY fscid, mode"
            ).fetchall()
        return {(row["fscid"], row["mode"]): row["n"] for row in rows}

    assert table.counts() == counted()
    first = SUBTREES[0]
    table.put(replace(first, mode="kernel"))
    table.put(replace(first, mode="kernel", padding=4))
    assert table.counts() == counted()
    for subtree in SUBTREES:
        table.remove(subtree.fscid, subtree.path)
        assert table.counts() == counted()
    assert table.counts() == {}
