"""Two who do things to one key at the same moment: what both were told to be done stands."""

from collections.abc import Callable
from contextlib import suppress

import pytest

from mgr_fscrypt.format import MasterKey
from mgr_fscrypt.keys.errors import ChangedError, KeyStoreError, RefusedError
from mgr_fscrypt.keys.key_file import KeyFile
from mgr_fscrypt.keys.managed import Managed
from mgr_fscrypt.keys.tenants import ByTenant
from qa.fakes.ceph import DiedError
from qa.fakes.key_cases import FIRST, MASTER, SECOND, Desk
from qa.fakes.kms import FakeKms
from qa.fakes.meanwhile import Meanwhile

THIRD = KeyFile(b"3" * 32)


@pytest.mark.parametrize("protector", ["first", "second"])
def test_two_who_rewrap_one_key_lose_no_protector(protector: str):
    for after in range(100):
        objects = Meanwhile()
        desk = Desk(objects)
        desk.create()
        desk.acts.add("k", "second", SECOND, [FIRST])
        with objects.somebody(lambda d=desk: d.acts.rewrap("k", protector, THIRD, [FIRST, SECOND]), after):
            with suppress(KeyStoreError):
                desk.acts.rewrap("k", "first", FIRST, [FIRST, SECOND, THIRD])
            came = objects.done
        assert desk.working("k", (FIRST, SECOND, THIRD)) == 2
        if not came:
            return
    pytest.fail("it never came to its end")


@pytest.mark.parametrize("act", ["create", "add", "rewrap"])
def test_what_is_made_while_its_tenants_key_is_rotated_opens(act: str):
    for after in range(200):
        objects = Meanwhile()
        desk, managed = Desk(objects), Managed("vault", FakeKms())
        desk.tenants.create("acme", managed)
        by_tenant = ByTenant(desk.tenants, lambda _, m=managed: [m])
        if act != "create":
            desk.create()
        with objects.somebody(
            lambda d=desk, m=managed: d.tenants.rotate("acme", {"vault": m}, d.acts), after
        ):
            match act:
                case "create":
                    desk.create(opener=by_tenant)
                case "add":
                    desk.acts.add("k", "first-kms", by_tenant, [FIRST])
                case _:
                    with suppress(ChangedError):
                        desk.acts.rewrap("k", "first", by_tenant, [FIRST])
            came = objects.done
        box = desk.safe.find("k")
        if [entry.kind for entry in box.in_use()] == ["key-file"]:
            assert act == "rewrap", "the old one stands"
            continue
        kms = [entry for entry in box.in_use() if entry.kind == "tenant"]
        assert len(kms) == 1
        assert desk.acts.test("k", kms[0].name, ByTenant(desk.tenants, lambda _, m=managed: [m]))
        if not came:
            return
    pytest.fail("it never came to its end")


@pytest.mark.parametrize("act", ["create", "add", "rewrap"])
def test_a_rotation_while_something_is_made_leaves_it_openable(act: str):
    for after in range(200):
        objects = Meanwhile()
        desk, managed = Desk(objects), Managed("vault", FakeKms())
        desk.tenants.create("acme", managed)
        by_tenant = ByTenant(desk.tenants, lambda _, m=managed: [m])
        if act != "create":
            desk.create()
        makes: dict[str, Callable[[], object]] = {
            "create": lambda d=desk, o=by_tenant: d.create(opener=o),
            "add": lambda d=desk, o=by_tenant: d.acts.add("k", "first-kms", o, [FIRST]),
            "rewrap": lambda d=desk, o=by_tenant: d.acts.rewrap("k", "first", o, [FIRST]),
        }
        with objects.somebody(makes[act], after):
            desk.tenants.rotate("acme", {"vault": managed}, desk.acts)
            came = objects.done
        if not came:
            return
        kms = [entry for entry in desk.safe.find("k").in_use() if entry.kind == "tenant"]
        assert len(kms) == 1
        assert desk.acts.test("k", kms[0].name, ByTenant(desk.tenants, lambda _, m=managed: [m]))
    pytest.fail("it never came to its end")


def test_two_who_make_keys_of_one_name_at_once_do_not_both_have_it():
    for after in range(100):
        objects = Meanwhile()
        desk, theirs = Desk(objects), MasterKey(b"t" * 64)
        made = []

        def make(master: MasterKey, d: Desk = desk, keys: list[MasterKey] = made) -> None:
            with suppress(RefusedError):
                d.create(master=master)
                keys.append(master)

        with objects.somebody(lambda m=make, t=theirs: m(t), after):
            make(MASTER)
            came = objects.done
        assert len(made) == 1, "one of them was told that it was done"
        assert desk.acts.unlock(desk.safe.find("k"), [FIRST]) == made[0]
        assert len(list(desk.safe.lockboxes())) == 1
        if not came:
            return
    pytest.fail("it never came to its end")


def test_a_key_opens_while_its_tenants_key_is_rotated():
    for after in range(100):
        objects = Meanwhile()
        desk, managed = Desk(objects), Managed("vault", FakeKms())
        desk.tenants.create("acme", managed)
        desk.create(opener=ByTenant(desk.tenants, lambda _, m=managed: [m]))
        with objects.somebody(
            lambda d=desk, m=managed: d.tenants.rotate("acme", {"vault": m}, d.acts), after
        ):
            opener = ByTenant(desk.tenants, lambda _, m=managed: [m])
            assert desk.acts.unlock(desk.safe.find("k"), [opener]) == MASTER
            came = objects.done
        if not came:
            return
    pytest.fail("it never came to its end")


def test_a_rewrap_that_dies_after_a_rotation_that_it_met_leaves_a_key_that_opens():
    for after in range(40):
        for die_after in range(6):
            objects = Meanwhile()
            desk, managed = Desk(objects), Managed("vault", FakeKms())
            desk.tenants.create("acme", managed)
            desk.create()

            def rotated(
                o: Meanwhile = objects, d: Desk = desk, m: Managed = managed, n: int = die_after
            ) -> None:
                d.tenants.rotate("acme", {"vault": m}, d.acts)
                o.die_after = o.changes + n

            by_tenant = ByTenant(desk.tenants, lambda _, m=managed: [m])
            with objects.somebody(rotated, after), suppress(ChangedError, DiedError):
                desk.acts.rewrap("k", "first", by_tenant, [FIRST])
            objects.die_after = None
            again = ByTenant(desk.tenants, lambda _, m=managed: [m])
            assert desk.acts.unlock(desk.safe.find("k"), [again, FIRST]) == MASTER
