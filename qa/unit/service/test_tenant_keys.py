"""One call of a key manager opens all keys of a tenant, for as long as one of them is needed here."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from mgr_fscrypt.backoff import Backoff
from mgr_fscrypt.format import MasterKey
from mgr_fscrypt.keys.acts import Acts
from mgr_fscrypt.keys.managed import Managers
from mgr_fscrypt.keys.safe import Safe
from mgr_fscrypt.keys.tenants import Tenants
from mgr_fscrypt.messages.service import TenantKeyState
from mgr_fscrypt.service import tenant_keys
from mgr_fscrypt.service.kept_keys import KeptKeys
from mgr_fscrypt.service.memory import SecretMemory
from mgr_fscrypt.service.resident import KeyGoneError, Residents
from mgr_fscrypt.service.tenant_keys import TenantKeys
from mgr_fscrypt.service.unlocking import Backends, UnlockError
from qa.fakes.key_cases import Desk
from qa.fakes.objects import FakeObjects
from qa.fakes.service import FakeClock
from qa.fakes.tenant_cases import PHRASE, Office


@dataclass(frozen=True)
class Reached:
    """What a service finds of keys."""

    safe: Safe
    acts: Acts
    tenants: Tenants
    managers: Managers


class Place:
    """A service's keys, on a tenant that has some."""

    def __init__(self, count: int = 3) -> None:
        self.office = Office(Desk(FakeObjects()))
        masters = [MasterKey(number.to_bytes(64, "big")) for number in range(1, count + 1)]
        by_kms = self.office.by_kms
        for number, master in enumerate(masters):
            self.office.desk.create(f"k{number}", master, by_kms)
        self.keys = [master.identifier for master in masters]
        self.vault = self.office.kms["vault"]
        self.vault.calls = 0
        self.clock = FakeClock()
        self.backends = Backends(self.clock)
        kept = TenantKeys()
        self.residents = Residents(
            KeptKeys(self.reach, self.backends, kept),
            self.backends,
            kept,
            self.clock,
            longest=600,
            backoff=lambda: Backoff(chance=lambda: 0.0),
        )
        self.residents.open()

    @contextmanager
    def reach(self) -> Iterator[Reached]:
        desk = self.office.desk
        yield Reached(desk.safe, desk.acts, desk.tenants, self.office.managers)

    def here(self) -> list[tuple[int, int]]:
        states = self.residents.tenant_states()
        assert all(isinstance(one, TenantKeyState) and one.tenant == "acme" for one in states)
        return [(one.version, one.keys) for one in states]


@pytest.fixture(autouse=True)
def memories(monkeypatch: pytest.MonkeyPatch) -> list[SecretMemory]:
    """All memory that a tenant's key ever was in."""
    made: list[SecretMemory] = []

    def make(secret: bytes) -> SecretMemory:
        made.append(SecretMemory(secret))
        return made[-1]

    monkeypatch.setattr(tenant_keys, "SecretMemory", make)
    return made


def test_many_keys_of_one_tenant_cost_one_call(memories: list[SecretMemory]):
    place = Place(200)
    with ExitStack() as used:
        for key in place.keys:
            assert used.enter_context(place.residents.use(key)).key().identifier == key
        assert place.vault.calls == 1
        assert place.here() == [(1, 200)]
    assert place.here() == []
    assert [memory.wiped for memory in memories] == [True]


def test_those_who_ask_at_the_same_time_cost_one_call():
    place = Place(8)
    all_here = threading.Barrier(8)

    def used(key: bytes) -> bytes:
        all_here.wait(60)
        with place.residents.use(key) as use:
            found = use.key().identifier
            # nobody lets go before all have theirs
            all_here.wait(60)
        return found

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(used, place.keys)) == place.keys
    assert place.vault.calls == 1
    assert place.here() == []


def test_it_is_here_until_the_last_key_that_needs_it_goes(memories: list[SecretMemory]):
    place = Place()
    one, two, _ = place.keys
    with place.residents.use(one):
        with place.residents.use(two):
            assert place.here() == [(1, 2)]
        assert place.here() == [(1, 1)]
        assert not memories[0].wiped
    assert memories[0].wiped
    with place.residents.use(one):
        assert place.vault.calls == 2


def test_a_key_that_is_locked_takes_the_key_of_its_tenant_along(memories: list[SecretMemory]):
    place = Place()
    one, two, three = place.keys
    with place.residents.use(one), place.residents.use(two) as use:
        place.residents.lock(one)
        assert memories[0].wiped
        assert place.here() == []
        assert use.key().identifier == two, "others go on"
        with place.residents.use(three):
            assert (place.vault.calls, place.here()) == (2, [(1, 1)])


def test_it_goes_with_the_turn(memories: list[SecretMemory]):
    place = Place()
    with place.residents.use(place.keys[0]):
        place.residents.close()
        assert memories[0].wiped
        assert place.here() == []


def test_what_comes_after_the_turn_does_not_stay(memories: list[SecretMemory]):
    place = Place()
    answer = place.vault.unwrap

    def late(sealed, context):  # type: ignore[no-untyped-def]
        found = answer(sealed, context)
        place.residents.close()
        return found

    place.vault.unwrap = late  # type: ignore[method-assign]
    with pytest.raises(KeyGoneError), place.residents.use(place.keys[0]):
        pass
    assert [memory.wiped for memory in memories] == [True]
    assert place.here() == []


def test_the_next_key_manager_opens_and_both_are_told_of():
    place = Place()
    office = place.office
    office.tenants.add("acme", "second", office.managed("second"), [office.managers])
    place.vault.down = True
    with place.residents.use(place.keys[0]):
        told = [(one.name, one.reachable, one.error) for one in place.backends.states()]
    assert told == [("second", True, ""), ("vault", False, "KmsUnreachableError")]


def test_a_failure_is_told_to_all_who_asked_and_the_next_one_asks_anew():
    place = Place()
    office = place.office
    office.tenants.add("acme", "phrase", PHRASE, [office.managers])
    vault = office.kms.pop("vault")
    for key in place.keys:
        with pytest.raises(UnlockError) as caught, place.residents.use(key):
            pass
        assert (caught.value.kind, caught.value.backend) == ("NoSuchKeyError", "vault")
    office.kms["vault"] = vault
    with place.residents.use(place.keys[0]):
        assert place.here() == [(1, 1)]


def test_after_a_rotation_keys_of_both_versions_are_used():
    place = Place()
    office = place.office
    with place.residents.use(place.keys[0]):
        office.tenants.rotate("acme", office.all_openers(), office.desk.acts)
        with place.residents.use(place.keys[1]):
            assert place.here() == [(1, 1), (2, 1)]
        assert place.here() == [(1, 1)]
