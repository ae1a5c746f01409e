"""Protectors of tenants' keys, in memory: the cases, deaths before each change, and two who act at the same moment."""

from collections.abc import Callable
from contextlib import suppress

import pytest

from mgr_fscrypt.keys.errors import KeyStoreError
from mgr_fscrypt.keys.objects import Stored
from mgr_fscrypt.keys.passphrase import Passphrase
from mgr_fscrypt.keys.tenant_key import version_of
from mgr_fscrypt.keys.tenants import ByTenant
from qa.fakes.ceph import DiedError
from qa.fakes.key_cases import CHEAP, FIRST, MASTER, SECOND, Desk
from qa.fakes.meanwhile import Meanwhile
from qa.fakes.objects import FakeObjects
from qa.fakes.tenant_cases import PHRASE, Office, TenantCases


@pytest.fixture
def objects() -> FakeObjects:
    return FakeObjects()


class TestTenants(TenantCases):
    """In memory."""


ACTS: dict[str, Callable[[Office], object]] = {
    "add": lambda office: office.tenants.add("acme", "second", office.managed("second"), [office.managers]),
    "rewrap": lambda office: office.tenants.rewrap("acme", "first", SECOND, [office.managers]),
    "test": lambda office: office.tenants.test("acme", "first", [FIRST]),
    "remove": lambda office: office.tenants.remove("acme", "first"),
    "rotate": lambda office: office.tenants.rotate("acme", office.all_openers(), office.desk.acts),
}


def set_up(objects: FakeObjects) -> Office:
    """A tenant with two protectors, and a key of it."""
    office = Office(Desk(objects))
    office.tenants.add("acme", "first", FIRST, [office.managers])
    office.desk.create(opener=office.by_kms)
    return office


def opens(office: Office) -> bool:
    """Does every protector of the tenant's key that is there open the key of it?"""
    versions = [[entry.name for entry in box.in_use()] for box in office.desk.safe.tenant_keys("acme")]
    assert office.working() == versions
    assert all(versions)
    assert office.desk.acts.unlock(office.desk.safe.find("k"), [office.by_kms]) == MASTER
    return True


@pytest.mark.parametrize("act", ACTS)
def test_a_process_that_dies_anywhere_leaves_every_protector_working(act: str):
    for die_after in range(100):
        objects = FakeObjects()
        office = set_up(objects)
        objects.die_after = objects.changes + die_after
        died = False
        try:
            ACTS[act](office)
        except DiedError:
            died = True
        objects.die_after = None
        assert opens(office)
        list(office.desk.audit.records())
        if not died:
            assert die_after > 1, "it died never"
            return
        with suppress(KeyStoreError):
            # what was done before its process died is refused
            ACTS[act](office)
        assert opens(office)
    pytest.fail("it never came to its end")


@pytest.mark.parametrize("act", ["add", "rewrap", "remove"])
@pytest.mark.parametrize("rotates_first", [True, False])
def test_a_rotation_and_an_act_at_once_leave_one_set_of_protectors(act: str, rotates_first: bool):
    done = {"add": ["vault", "first", "second"], "rewrap": ["vault", "first"], "remove": ["vault"]}
    for after in range(100):
        objects = Meanwhile()
        office = set_up(objects)
        told = []

        def both(which: str, o: Office = office, told: list[str] = told) -> None:
            with suppress(KeyStoreError):
                ACTS[which](o)
                told.append(which)

        inner, outer = (act, "rotate") if rotates_first else ("rotate", act)
        with objects.somebody(lambda b=both, i=inner: b(i), after):
            both(outer)
            came = objects.done
        assert opens(office)
        newest = office.working()[0]
        if act in told and "rotate" in told:
            assert sorted(newest) == sorted(done[act])
        if not came:
            return
    pytest.fail("it never came to its end")


def test_two_rotations_at_once_lose_no_version_that_is_needed():
    for after in range(200):
        objects = Meanwhile()
        office = set_up(objects)

        def rotated(o: Office = office) -> None:
            with suppress(KeyStoreError):
                ACTS["rotate"](o)

        with objects.somebody(rotated, after):
            rotated()
            came = objects.done
        assert opens(office)
        ACTS["rotate"](office)
        assert opens(office)
        assert len(office.desk.safe.tenant_keys("acme")) == 1, "the next one leaves nothing behind"
        if not came:
            return
    pytest.fail("it never came to its end")


def test_a_rotation_that_is_overtaken_wraps_nothing_under_a_version_that_is_forgotten():
    """Of a key that appears meanwhile its maker looks after the first version; after all others, who wraps it."""
    wrapped = set()
    for after in range(100):
        came = []
        for within in range(100):
            objects = Meanwhile()
            office = Office(Desk(objects))
            box = office.desk.create(opener=office.by_kms)
            stored = objects.stored.pop(box.place)

            def appear(o: Meanwhile = objects, place: str = box.place, held: Stored = stored) -> None:
                o.stored[place] = held

            def overtake(
                m: Meanwhile = objects, o: Office = office, n: int = within, c: list[bool] = came
            ) -> None:
                with m.somebody(appear, n):
                    with suppress(KeyStoreError):
                        ACTS["rotate"](o)
                    c.append(m.done)

            with objects.somebody(overtake, after), suppress(KeyStoreError):
                ACTS["rotate"](office)
            if came == [] or not came[-1]:
                break
            (entry,) = office.desk.safe.find("k").in_use()
            version = version_of(entry.container.header.parameters)
            wrapped.add(version)
            if version > 1:
                assert office.desk.acts.unlock(office.desk.safe.find("k"), [office.by_kms]) == MASTER
        if not came:
            assert wrapped == {1, 2, 3}
            return
    pytest.fail("it never came to its end")


def test_two_who_change_protectors_at_once_lose_none_that_works():
    for after in range(100):
        objects = Meanwhile()
        office = set_up(objects)
        with objects.somebody(lambda o=office: ACTS["remove"](o), after):
            with suppress(KeyStoreError):
                office.tenants.rewrap("acme", "first", Passphrase("x" * 8, CHEAP), [office.managers])
            came = objects.done
        assert office.working() in ([["vault"]], [["vault", "first"]])
        if not came:
            return
    pytest.fail("it never came to its end")


def test_a_tenants_own_passphrase_is_asked_for_once():
    office = Office(Desk(FakeObjects()))
    office.tenants.add("acme", "phrase", PHRASE, [office.managers])
    for number in range(3):
        office.desk.create(f"k{number}", type(MASTER)(bytes([number]) * 64), office.by_kms)
    asked = []

    class Counted(Passphrase):
        def wrapping_key(self, parameters, binding):  # type: ignore[no-untyped-def]
            asked.append(binding)
            return super().wrapping_key(parameters, binding)

    opener = ByTenant(office.tenants, lambda _: [Counted("correct horse")])
    for number in range(3):
        assert office.desk.acts.unlock(office.desk.safe.find(f"k{number}"), [opener])
    assert len(asked) == 1
