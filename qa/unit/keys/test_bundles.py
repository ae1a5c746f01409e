"""Bundles over damage: each entry stands for itself, and none comes in by half."""

import json
import random
from pathlib import Path

import pytest

from mgr_fscrypt.format import MasterKey
from mgr_fscrypt.keys.acts import opened
from mgr_fscrypt.keys.bundle import BundleObjects, DamagedEntryError, bring_in, decoded, encode
from mgr_fscrypt.keys.errors import ContainerError, DestroyedError, RefusedError
from mgr_fscrypt.keys.lockbox import Lockbox, Tombstone
from mgr_fscrypt.keys.managed import Managed
from mgr_fscrypt.keys.safe import Safe
from mgr_fscrypt.keys.tenants import ByTenant
from qa.fakes.key_cases import FIRST, FSID, Desk
from qa.fakes.kms import FakeKms
from qa.fakes.objects import FakeObjects


@pytest.fixture
def desk() -> Desk:
    """Two keys that a file opens, and one that the key of its tenant opens."""
    desk = Desk(FakeObjects())
    managed = Managed("vault", FakeKms())
    desk.tenants.create("acme", managed)
    for number in range(2):
        desk.create(f"k{number}", MasterKey(bytes([number]) * 64))
    desk.create("managed", MasterKey(b"m" * 64), ByTenant(desk.tenants, lambda _: [managed]))
    return desk


@pytest.fixture
def boxes(desk: Desk) -> list[Lockbox]:
    return [each for each in desk.safe.lockboxes() if isinstance(each, Lockbox)] + desk.safe.tenant_keys(
        "acme"
    )


@pytest.fixture
def empty() -> Safe:
    return Safe(FakeObjects(), FSID, 1)


def whole(data: bytes) -> dict[str, Lockbox]:
    return {each.place: each for each in decoded(data) if isinstance(each, Lockbox)}


def test_tenants_keys_come_first(boxes: list[Lockbox]):
    assert next(iter(decoded(encode(boxes)))).place == "tenant.acme.1"


def test_one_damaged_byte_costs_one_entry(boxes: list[Lockbox]):
    data = encode(boxes)
    begin = data.index(b'"objects"') + 12
    chance = random.Random(5)
    for _ in range(150):
        at = chance.randrange(begin, len(data) - 4)
        bad = data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        found = whole(bad)
        assert len(found) >= len(boxes) - 1, (at, data[at - 20 : at + 20])
        for box in boxes:
            assert found.get(box.place, box) == box, "what comes in is what was written"
        told = any(isinstance(each, DamagedEntryError) for each in decoded(bad))
        assert told or found.keys() == {box.place for box in boxes}, "what is not there is told"


def test_a_bundle_that_was_cut_off_has_what_is_before_that(boxes: list[Lockbox]):
    data = encode(boxes)
    for size in range(len(data) - 2, data.index(b'"objects"') + 12, -97):
        found = decoded(data[:size])
        assert isinstance(found[-1], DamagedEntryError), "that something is missing is told"
        complete = data[:size].count(b'",\n')
        assert len(whole(data[:size])) >= complete - 2


@pytest.mark.parametrize("size", [0, 1, 10, 30])
def test_a_begin_is_no_bundle(boxes: list[Lockbox], size: int):
    with pytest.raises(ContainerError):
        decoded(encode(boxes)[:size])


def test_a_newer_bundle_is_told_whole_or_damaged(boxes: list[Lockbox]):
    newer = encode(boxes).replace(b'"version": 2,', b'"version": 9,')
    for data in (newer, newer[:-5]):
        with pytest.raises(ContainerError, match="of a version"):
            decoded(data)


def test_entries_under_a_wrong_name_and_tombstones_are_no_keys(boxes: list[Lockbox]):
    value = json.loads(encode(boxes))
    place, other, *_ = value["objects"]
    value["objects"][place] = value["objects"][other]
    (damaged,) = [each for each in decoded(json.dumps(value).encode()) if not isinstance(each, Lockbox)]
    assert (damaged.place, str(damaged)) == (
        place,
        f"{place} of the bundle cannot be read (it is something else)",
    )
    value["objects"][place] = 5
    assert len(whole(json.dumps(value).encode())) == len(boxes) - 1


@pytest.mark.parametrize("version", [1, 3])
def test_a_damaged_version_of_a_tenants_key_stands_in_no_others_way(version: int, tmp_path: Path):
    desk, managed = Desk(FakeObjects()), Managed("vault", FakeKms())
    desk.tenants.create("acme", managed)
    desk.create("k", MasterKey(b"m" * 64), ByTenant(desk.tenants, lambda _: [managed]))
    (first,) = desk.safe.tenant_keys("acme")
    desk.tenants.rotate("acme", {"vault": managed}, desk.acts)
    (second,) = desk.safe.tenant_keys("acme")
    place = f"tenant.acme.{version}"
    # on the cluster
    desk.objects.create(place, b"damaged")
    opener = ByTenant(desk.tenants, lambda _: [managed])
    box = desk.safe.find("k")
    assert desk.acts.unlock(box, [opener]) == MasterKey(b"m" * 64)
    if version == 1:
        desk.create("later", MasterKey(b"l" * 64), opener)
        assert desk.acts.unlock(desk.safe.find("later"), [opener]) == MasterKey(b"l" * 64)
        stored = desk.objects.read(box.place)
        assert stored is not None
        desk.objects.remove(box.place, stored.version)
        assert bring_in(desk.safe, box)
    # in a bundle
    value = json.loads(encode([first, second, box]))
    value["objects"][place] = "AAAA " + "0" * 64
    file = tmp_path / "bundle"
    file.write_text(json.dumps(value))
    objects = BundleObjects(file)
    there = Desk(objects)
    with pytest.raises(ContainerError):
        there.safe.tenant_key("acme", version)
    opener = ByTenant(there.tenants, lambda _: [managed])
    assert opened(there.safe.find("k"), [opener])[1] == MasterKey(b"m" * 64)


def test_a_damaged_entry_stands_in_no_others_way_without_the_cluster(boxes: list[Lockbox], tmp_path: Path):
    value = json.loads(encode(boxes))
    bad = next(box.place for box in boxes if box.name == "k0")
    value["objects"][bad] = "AAAA"
    (tmp_path / "bundle").write_text(json.dumps(value))
    desk = Desk(BundleObjects(tmp_path / "bundle"))
    assert desk.acts.unlock(desk.safe.find("k1"), [FIRST]) == MasterKey(bytes([1]) * 64)
    assert sum(isinstance(each, ContainerError) for each in desk.safe.lockboxes()) == 1
    value["objects"] = {bad: "AAAA"}
    (tmp_path / "bundle").write_text(json.dumps(value))
    with pytest.raises(ContainerError):
        BundleObjects(tmp_path / "bundle")


def test_a_key_comes_in_with_what_opens_it_or_not_at_all(boxes: list[Lockbox], empty: Safe):
    managed = next(box for box in boxes if box.name == "managed")
    tenant = boxes[-1]
    with pytest.raises(RefusedError, match="tenant key 1 of tenant acme, which opens it, is not here"):
        bring_in(empty, managed)
    assert bring_in(empty, tenant)
    with pytest.raises(RefusedError):
        bring_in(empty, managed, missing=[tenant.place])
    assert list(empty.lockboxes()) == []
    assert bring_in(empty, managed)
    assert empty.find("managed") == managed


def test_what_is_destroyed_by_other_knowledge_stays_so(boxes: list[Lockbox], empty: Safe):
    box = boxes[0]
    with pytest.raises(DestroyedError, match="as the manager knows"):
        bring_in(empty, box, destroyed=lambda key: key == box.key)
    assert list(empty.lockboxes()) == []
    empty.add(box)
    empty.bury(box, Tombstone(box.key, box.name, 5, "who"))

    def not_asked(_: str) -> bool:
        raise AssertionError

    with pytest.raises(DestroyedError, match="was destroyed by who"):
        bring_in(empty, box, destroyed=not_asked)
