"""What is done to keys, on objects in memory: the cases, and the death of a process before each of its changes."""

from collections.abc import Callable

import pytest

from mgr_fscrypt.keys.errors import KeyStoreError, NoSuchKeyError
from mgr_fscrypt.keys.lockbox import Tombstone
from mgr_fscrypt.keys.managed import Managed
from mgr_fscrypt.keys.tenants import ByTenant
from qa.fakes.ceph import DiedError
from qa.fakes.key_cases import FIRST, MASTER, SECOND, Desk, KeyCases
from qa.fakes.kms import FakeKms
from qa.fakes.objects import FakeObjects


@pytest.fixture
def objects() -> FakeObjects:
    return FakeObjects()


class TestActs(KeyCases):
    """In memory."""


ACTS: dict[str, Callable[[Desk], object]] = {
    "add": lambda desk: desk.acts.add("k", "second", SECOND, [FIRST]),
    "rewrap": lambda desk: desk.acts.rewrap("k", "first", SECOND, [FIRST]),
    "test": lambda desk: desk.acts.test("k", "first", FIRST),
    "disable": lambda desk: desk.life.disable("k"),
}


def dies(act: Callable[[], object]) -> bool:
    try:
        act()
    except DiedError:
        return True
    return False


@pytest.mark.parametrize("act", ACTS)
def test_a_process_that_dies_anywhere_leaves_no_fewer_protectors_that_work(act: str):
    for die_after in range(100):
        objects = FakeObjects()
        desk = Desk(objects)
        desk.create()
        before = desk.working("k", (FIRST, SECOND))
        objects.die_after = objects.changes + die_after
        survived = not dies(lambda desk=desk: ACTS[act](desk))
        objects.die_after = None
        assert desk.working("k", (FIRST, SECOND)) >= before
        list(desk.audit.records())
        if survived:
            assert die_after > 1, "it died never"
            return
        try:
            ACTS[act](desk)
        except KeyStoreError as error:
            # it had been done before its process died, and says so
            assert act in ("add", "rewrap"), error  # noqa: PT017
        assert desk.working("k", (FIRST, SECOND)) >= before
    pytest.fail("it never came to its end")


def test_a_process_that_dies_in_a_create_leaves_the_name_free():
    for die_after in range(100):
        objects = FakeObjects()
        desk = Desk(objects)
        objects.die_after = die_after
        if not dies(desk.create):
            return
        objects.die_after = None
        try:
            assert desk.safe.find("k").key == MASTER.identifier.hex()
        except NoSuchKeyError:
            desk.create()
        assert desk.working("k", (FIRST,)) == 1
    pytest.fail("it never came to its end")


def test_a_process_that_dies_while_destroying_leaves_the_key_or_its_tombstone():
    for die_after in range(100):
        objects = FakeObjects()
        desk = Desk(objects)
        desk.create()
        desk.life.destroy("k", 0)
        objects.die_after = objects.changes + die_after
        if not dies(lambda desk=desk: desk.life.finish("k")):
            return
        objects.die_after = None
        (found,) = desk.safe.lockboxes()
        if not isinstance(found, Tombstone):
            desk.life.finish("k")
            (found,) = desk.safe.lockboxes()
        assert isinstance(found, Tombstone)
        desk.create(master=type(MASTER)(b"n" * 64))
    pytest.fail("it never came to its end")


def test_a_rotation_that_dies_anywhere_is_gone_on_with():
    for die_after in range(200):
        objects = FakeObjects()
        desk, managed = Desk(objects), Managed("vault", FakeKms())
        desk.tenants.create("acme", managed)
        for number in range(3):
            desk.create(
                f"k{number}",
                type(MASTER)(bytes([number]) * 64),
                ByTenant(desk.tenants, lambda _, m=managed: [m]),
            )
        objects.die_after = objects.changes + die_after
        survived = not dies(lambda desk=desk, m=managed: desk.tenants.rotate("acme", {"vault": m}, desk.acts))
        objects.die_after = None
        for number in range(3):
            opener = ByTenant(desk.tenants, lambda _, m=managed: [m])
            assert desk.acts.unlock(desk.safe.find(f"k{number}"), [opener])
        if survived:
            assert die_after > 10
            return
        done = desk.tenants.rotate("acme", {"vault": managed}, desk.acts)
        assert [box.key for box in desk.safe.tenant_keys("acme")] == [f"tenant key {done.version}"]
    pytest.fail("it never came to its end")
