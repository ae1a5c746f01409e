"""What somebody may have put where keys lie: it is told as damaged, and never stops what is about other keys."""

import json
from collections.abc import Mapping

import pytest

from mgr_fscrypt.client.key_text import buried_line, line_of, text_of, value_of
from mgr_fscrypt.client.times import DAY
from mgr_fscrypt.keys.bundle import decoded
from mgr_fscrypt.keys.errors import ContainerError, RefusedError
from mgr_fscrypt.keys.lockbox import LARGEST, Lockbox, Tombstone, decode
from mgr_fscrypt.keys.register import Register
from qa.fakes.key_cases import FIRST, MASTER, Desk
from qa.fakes.objects import FakeObjects

NO_TIMES = [-1, 1 << 50, 10**30, 1.5, True, None, "x", [], float("inf"), float("nan")]
NO_ACTORS = [1, None, [], "x" * 301, "\x1b[2J", "\ud800"]


def stored(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, sort_keys=True, indent=1).encode()


def changes() -> list[tuple[str, object]]:
    times = [
        (name, each) for name in ("created", "expires", "due", "drilled", "drill_every") for each in NO_TIMES
    ]
    actors = [("creator", each) for each in NO_ACTORS]
    others = [
        ("generation", 0),
        ("generation", "1"),
        ("key", 5),
        ("key", "tenant key x"),
        ("name", 5),
        ("name", MASTER.identifier.hex()),
        ("state", []),
        ("binding", []),
        ("protectors", {}),
        ("protectors", [5]),
        ("version", 10**400),
        ("kind", []),
    ]
    return [*times, *actors, *others]


@pytest.mark.parametrize("change", changes(), ids=str)
def test_a_lockbox_with_another_field_is_damaged(change: tuple[str, object]):
    value = json.loads(Desk(FakeObjects()).create().encode())
    with pytest.raises(ContainerError):
        decode(stored({**value, change[0]: change[1]}))


@pytest.mark.parametrize("change", [("proven", each) for each in NO_TIMES] + [("replaces", 5)], ids=str)
def test_a_protector_with_another_field_is_damaged(change: tuple[str, object]):
    value = json.loads(Desk(FakeObjects()).create().encode())
    value["protectors"][0][change[0]] = change[1]
    with pytest.raises(ContainerError):
        decode(stored(value))


@pytest.mark.parametrize(
    "change", [("destroyed", each) for each in NO_TIMES] + [("by", each) for each in NO_ACTORS], ids=str
)
def test_a_tombstone_with_another_field_is_damaged(change: tuple[str, object]):
    value = json.loads(Tombstone(MASTER.identifier.hex(), "k", 1, "me").encode())
    with pytest.raises(ContainerError):
        decode(stored({**value, change[0]: change[1]}))


def test_what_is_decoded_can_be_shown():
    box = Desk(FakeObjects()).create()
    assert text_of(box, 0.0)
    assert line_of(box)
    assert value_of(box)
    assert buried_line(Tombstone(MASTER.identifier.hex(), "k", 1, "me"))


def test_times_that_could_not_be_read_again_are_not_stored():
    desk = Desk(FakeObjects())
    desk.create()
    for act in (
        lambda: desk.life.expire("k", -DAY),
        lambda: desk.life.destroy("k", 999_999 * 7 * DAY),
        lambda: desk.life.drill_every("k", 999_999 * 7 * DAY),
    ):
        with pytest.raises(RefusedError, match="between the years"):
            act()
    assert isinstance(desk.safe.find("k"), Lockbox)


def test_a_lockbox_never_grows_past_what_can_be_read_again():
    desk = Desk(FakeObjects())
    box = desk.create()
    entry = box.entry("first")
    with pytest.raises(RefusedError, match="more than a lockbox can hold"):
        desk.safe.put(box.changed(entries=(entry,) * (LARGEST // 500)), box)
    assert desk.acts.unlock(desk.safe.find("k"), [FIRST]) == MASTER


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"segment": "x", "before": ""}',
        b'{"segment": 0, "before": 5}',
        b'{"segment": 0, "before": ""}\n[]',
        b'{"segment": 0, "before": ""}\n{"at": "x"}',
        b'{"segment": 0, "before": ""}\n{"at": 1000000000000000}',
        b"5",
        b"\xff",
    ],
)
def test_an_audit_that_cannot_be_read_is_told(data: bytes):
    desk = Desk(FakeObjects())
    desk.objects.create("audit", data)
    with pytest.raises(ContainerError):
        list(desk.audit.records())
    with pytest.raises(ContainerError):
        desk.audit.record("create", "k")


@pytest.mark.parametrize("data", [b"[" * 100_000, b"5", b"{}", b"\xff", b'{"kind": []}'])
def test_bundles_and_key_managers_that_cannot_be_read_are_told(data: bytes):
    with pytest.raises(ContainerError):
        decoded(data)
    objects = FakeObjects()
    objects.create("kms.vault", data)
    with pytest.raises(ContainerError):
        Register(objects).find("vault")


def test_what_lies_in_a_tenants_keys_place_is_told():
    desk = Desk(FakeObjects())
    box = desk.create()
    desk.objects.create("tenant.acme.1", box.encode())
    with pytest.raises(ContainerError, match="lies something else"):
        desk.safe.tenant_keys("acme")
