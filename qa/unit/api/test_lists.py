"""Every list by filters, in each of its orders, page by page; and places of other orders."""

import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from mgr_fscrypt.api.exchange import ROOT
from mgr_fscrypt.messages import KeyFacts, Policy, SubtreeFacts, TenantFacts
from qa.fakes.api_door import Door, told

NAMES = ("b:a", "a", "c")
LISTS = {
    "subtrees": ("subtrees", "path", ("path", "registered")),
    "keys": ("keys", "identifier", ("identifier", "name", "expires")),
    "tenants": ("tenants", "tenant", ("tenant", "rotated")),
    "access": ("access", "name", ("name", "created", "expires", "used")),
    "destructions": ("destructions", "key_identifier", ("key", "requested")),
    "sessions": ("sessions", "name", ("name", "begun", "used")),
}
"""By the path: what the answer calls the lines, what names one, and the orders."""
FILTERS = [
    ("subtrees?tenant=acme-a&sort=registered", ["/a"]),
    ("subtrees?text=/c&sort=registered&reverse=true", ["/c"]),
    ("keys?tenant=acme-a", ["01" * 16]),
    ("keys?text=b:&sort=expires", ["00" * 16]),
    ("keys?state=disabled", []),
    ("tenants?kms=vault-c", ["acme-c"]),
    ("tenants?kms=vault", []),
    ("tenants?text=-a&sort=rotated", ["acme-a"]),
    ("access?role=operator", ["operator.all"]),
    ("access?kind=certificate", ["node1"]),
    ("access?tenant=nobody", []),
    ("sessions?role=read-only", []),
    ("destructions?state=approved", []),
    ("destructions?state=waiting&fs=scratch", []),
    ("destructions?state=waiting&fs=cephfs", ["00" * 16, "01" * 16, "02" * 16]),
]


@pytest.fixture
def full(door: Door) -> Door:
    """A register in which each list has three lines or more, and some that are alike."""
    door.manager.module.options["two_people"] = True
    for number, name in enumerate(NAMES):
        key, tenant = f"{number:02}" * 16, f"acme-{name[-1]}" if number else "acme-b"
        reported = KeyFacts(key, name, tenant, "active", 1, 1, number % 2, 0, 0, ())
        assert door.send("PUT", f"{ROOT}/keys/cephfs", body={"report": reported.encode()}).status == 200
        facts = TenantFacts(tenant, 1, 7 - number % 2, 0, (f"vault-{name[-1]}",), ())
        assert door.send("PUT", f"{ROOT}/tenants/cephfs", body={"report": facts.encode()}).status == 200
        subtree = SubtreeFacts(7 + number, "engine", Policy("AES-256-XTS", "AES-256-CBC-CTS", 32, key))
        place = f"{ROOT}/subtrees/cephfs/subtree/record?path=/{quote(name)}"
        assert door.send("PUT", place, body={"report": subtree.encode()}).status == 200
        assert door.send("POST", f"{ROOT}/destructions/cephfs/{quote(name, safe='')}").status == 200
    door.token("operator")
    serving = door.manager.module.serving
    serving._doors = type(serving.doors())(address="https://here:1")
    for _ in NAMES:
        assert door.send("POST", f"{ROOT}/links", body={"role": "operator"}).status == 200
    assert (
        door.manager.run("api certificate add", "node1", "CN=node1", "read-only", expires="never").retval == 0
    )
    return door


def walked(door: Door, path: str, **query: Any) -> list[dict[str, Any]]:
    """All lines of a list, two at a time."""
    shown, following = LISTS[path][0], None
    lines: list[dict[str, Any]] = []
    while True:
        place = {} if following is None else {"after": following}
        value = door.ask(f"/{path}?{urlencode({**query, **place, 'limit': 2})}")
        assert len(value[shown]) <= 2
        lines += value[shown]
        following = value["following"]
        if following is None:
            return lines


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("reverse", ["false", "true"])
def test_each_order_is_kept_from_page_to_page(full: Door, path: str, reverse: str):
    _, name, orders = LISTS[path]
    every = {line[name] for line in walked(full, path)}
    assert len(every) >= len(NAMES)
    for order in orders:
        lines = walked(full, path, sort=order, reverse=reverse)

        def rank(line: dict[str, Any], order: str = order) -> tuple[Any, ...]:
            value = line.get(order, "")
            return value or 1 << 62 if order == "expires" else value, line[name]

        assert len(lines) == len(every), f"{path} by {order}: one is missing, or there twice"
        assert lines == sorted(lines, key=rank, reverse=reverse == "true"), (path, order)


@pytest.mark.parametrize("path", LISTS)
def test_a_place_belongs_to_one_order(full: Door, path: str):
    _, _, orders = LISTS[path]
    ways = [{"sort": order, "reverse": reverse} for order in orders for reverse in ("false", "true")]
    places = [full.ask(f"/{path}?{urlencode({**way, 'limit': 1})}")["following"] for way in ways]
    for place in places:
        for way in ways:
            reply = full.send("GET", f"{ROOT}/{path}?{urlencode({**way, 'after': place})}")
            if ways.index(way) == places.index(place):
                assert reply.status == 200
            else:
                assert (reply.status, "without --after" in told(reply)["next"]) == (400, True), (way, place)


@pytest.mark.parametrize(("asked", "names"), FILTERS)
def test_filters(full: Door, asked: str, names: list[str]):
    shown, name, _ = LISTS[asked.partition("?")[0]]
    assert [line[name] for line in full.ask(f"/{asked}")[shown]] == names


@pytest.mark.parametrize(
    "asked",
    [
        *(f"{path}?sort=nosuch" for path in LISTS),
        *(f"{path}?sort=" for path in LISTS),
        *("keys?state=lost", "keys?tenant=", "access?role=root", "access?kind=link", "destructions?state=x"),
        *(
            "jobs?state=x",
            "clients?verdict=x",
            "audit?who=",
            "resources?kind=x",
            "subtrees/cephfs/scanned?standing=x",
        ),
        *(f"{path}?sort={orders[1]}&after={orders[1]}:1:x" for path, (_, _, orders) in LISTS.items()),
        *(
            f"keys?sort=expires&after=expires:{text}"
            for text in ("x:1:00", "1:x:00", f"1:{'9' * 19}:00", "1:")
        ),
    ],
)
def test_what_no_list_has(full: Door, asked: str):
    reply = full.send("GET", f"{ROOT}/{asked}")
    assert reply.status in (400, 503), reply.body
    # there are neither clients nor jobs here; what is known to be wrong is told first where that can be
    assert reply.status == 400 or asked.startswith("clients")


def test_the_audit_by_who_by_command_and_what_was_refused(full: Door):
    adopted = full.ask("/audit?command=key%20adopt&limit=2")
    assert [act["command"] for act in adopted["acts"]] == ["key adopt"] * 2
    rest = full.ask(f"/audit?command=key%20adopt&limit=2&after={adopted['following']}")
    assert [act["number"] for act in rest["acts"]] == [2]
    assert rest["following"] is None
    oldest = [act["number"] for act in full.ask("/audit?reverse=true")["acts"]]
    assert oldest == sorted(oldest)
    assert full.ask("/audit?reverse=true&after=2&limit=1")["acts"][0]["number"] == 3
    assert full.ask("/audit?command=key&refused=true")["acts"] == []
    assert full.send("PUT", f"{ROOT}/keys/nosuch", body={"report": "x"}).status == 404
    (refused,) = full.ask("/audit?refused=true")["acts"]
    assert refused["who"].startswith("token:security-officer.all")
    assert full.ask("/audit?who=nobody@")["acts"] == []


def test_the_command_line_sorts_alike(full: Door):
    reply = full.manager.run("key ls", sort="name", reverse=True, format="json")
    assert [each["name"] for each in json.loads(reply.stdout)["keys"]] == sorted(NAMES, reverse=True)
    reply = full.manager.run("key ls", sort="size")
    assert reply.stderr == 'this list is not sorted by "size"; use one of identifier, name, expires'
    for command in ("key ls", "tenant ls", "subtree ls"):
        shown = full.manager.run(command, text="nothing has this").stdout
        assert "fits" in shown, command


def test_resources_of_a_kind(full: Door):
    shown = full.ask("/resources?kind=subtree")["resources"]
    assert {each["kind"] for each in shown} == {"fscrypt.subtree"}
    assert len(shown) == len(NAMES)


def test_a_tenant_lists_its_own_keys(full: Door):
    own = full.ask("/keys", "read-only", tenant="acme-a")["keys"]
    assert [each["name"] for each in own] == ["a"]
    assert full.send("GET", f"{ROOT}/keys?tenant=acme-c", "read-only", tenant="acme-a").status == 403
