"""Bundles of every version that was ever written are read, and what key managers open in them is reached by them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mgr_fscrypt.format import MasterKey
from mgr_fscrypt.keys import bundle
from mgr_fscrypt.keys.errors import ContainerError, NoSuchKeyError, RefusedError
from mgr_fscrypt.keys.kms import Settings
from mgr_fscrypt.keys.managed import Managed, Managers
from mgr_fscrypt.keys.register import Register
from mgr_fscrypt.keys.tenants import ByTenant
from qa.fakes.key_cases import FIRST, MASTER, Desk
from qa.fakes.objects import FakeObjects
from qa.fakes.tenant_cases import Office

ROOT = Path(__file__).parents[2]
FIXTURE = ROOT / "vectors" / "keys" / "version-1.bundle"
VAULT = Settings("vault", "vault", "https://vault:8200", "cephfs", "vault.json", {"ca": "ca.crt"})


def test_version_1_is_read_for_ever():
    data = FIXTURE.read_bytes()
    assert json.loads(data)["version"] == 1
    # tenants' keys first
    assert [bundle.place_of(box) for box in bundle.decoded(data)] == [
        "tenant.acme.1",
        f"key.{MASTER.identifier.hex()}",
        f"key.{MasterKey(b't' * 64).identifier.hex()}",
    ]
    assert bundle.settings_in(data) == []
    desk = Desk(bundle.BundleObjects(FIXTURE))
    assert desk.acts.unlock(desk.safe.find("k"), [FIRST]) == MASTER
    by_tenant = ByTenant(desk.tenants, lambda _: [FIRST])
    assert desk.acts.unlock(desk.safe.find("by-tenant"), [by_tenant]) == MasterKey(b"t" * 64)


def test_a_bundle_says_how_its_key_managers_are_reached(tmp_path: Path):
    office = Office(Desk(FakeObjects()))
    box = office.desk.create(opener=office.by_kms)
    boxes = [box, *office.desk.safe.tenant_keys("acme")]
    assert bundle.managers_of(boxes) == ["vault"]
    file = tmp_path / "bundle"
    file.write_bytes(bundle.encode(boxes, [VAULT]))
    objects = bundle.BundleObjects(file)
    desk, known = Desk(objects), Register(objects)
    assert list(known) == [VAULT]
    assert len(bundle.decoded(file.read_bytes())) == 2

    def managed(name: str) -> Managed:
        assert known.find(name) == VAULT
        return office.managed(name)

    by_kms = ByTenant(desk.tenants, lambda _: [Managers(managed)])
    assert desk.acts.unlock(desk.safe.find("k"), [by_kms]) == MASTER


def test_the_settings_of_a_bundle_are_brought_back_where_there_are_none():
    office = Office(Desk(FakeObjects()))
    (settings,) = bundle.settings_in(bundle.encode(office.desk.safe.tenant_keys("acme"), [VAULT]))
    known = Register(office.desk.objects)
    with pytest.raises(NoSuchKeyError):
        known.find("vault")
    assert bundle.bring_in_settings(known, settings)
    assert known.find("vault") == VAULT
    assert not bundle.bring_in_settings(known, settings)
    with pytest.raises(RefusedError, match="has other settings here"):
        bundle.bring_in_settings(known, replace(settings, address="https://thief"))
    assert known.find("vault") == VAULT


def test_no_bundle_of_another_version_is_read():
    value = json.loads(bundle.encode([]))
    for change in ({"version": 3}, {"version": "2"}, {"kind": "key"}, {"version": 1}):
        with pytest.raises(ContainerError, match="no bundle of keys"):
            bundle.decoded(json.dumps(value | change).encode())
