"""Keys are here while somebody needs them or for the time that was asked for, and nowhere else."""

import threading
from collections.abc import Callable

import pytest

from mgr_fscrypt.backoff import Backoff
from mgr_fscrypt.format import MasterKey
from mgr_fscrypt.service import resident
from mgr_fscrypt.service.memory import SecretMemory
from mgr_fscrypt.service.resident import KeptTooLongError, KeyGoneError, Residents, Use
from mgr_fscrypt.service.tenant_keys import TenantKeys
from mgr_fscrypt.service.unlocking import Backends, Unlocked, UnlockError
from qa.fakes.service import (
    KEY,
    OTHER_KEY,
    OTHER_SECRET,
    SECRET,
    FakeClock,
    FakeUnlocker,
    away,
    refused,
)


class Place:
    """Residents that are open, and all around them; what runs beside runs at once."""

    def __init__(self, *troubles: Exception, longest: float = 600.0) -> None:
        self.clock = FakeClock()
        self.unlocker = FakeUnlocker(*troubles)
        self.backends = Backends(self.clock)
        self.later: list[Callable[[], None]] = []
        self.residents = Residents(
            self.unlocker,
            self.backends,
            TenantKeys(),
            self.clock,
            longest=longest,
            backoff=lambda: Backoff(chance=lambda: 0.0),
            start=self.later.append,
        )
        self.residents.open()

    def states(self) -> list[tuple[str, str, int]]:
        return [(one.key_identifier, one.state, one.uses) for one in self.residents.states()]


@pytest.fixture(autouse=True)
def memories(monkeypatch: pytest.MonkeyPatch) -> list[SecretMemory]:
    """All memory that a key ever was in."""
    made: list[SecretMemory] = []

    def make(secret: bytes) -> SecretMemory:
        made.append(SecretMemory(secret))
        return made[-1]

    monkeypatch.setattr(resident, "SecretMemory", make)
    return made


def test_a_key_is_here_while_it_is_used(memories: list[SecretMemory]):
    place = Place()
    with place.residents.use(KEY) as one, place.residents.use(KEY) as two:
        assert one.key() == two.key() == MasterKey(SECRET)
        assert place.states() == [(KEY.hex(), "unlocked", 2)]
    assert place.states() == []
    assert len(place.unlocker.asked) == 1
    assert [memory.wiped for memory in memories] == [True]


def test_a_key_goes_also_when_its_job_fails(memories: list[SecretMemory]):
    place = Place()
    with pytest.raises(ZeroDivisionError), place.residents.use(KEY):
        raise ZeroDivisionError
    assert memories[0].wiped


def test_a_key_is_kept_for_the_time_that_was_asked_for(memories: list[SecretMemory]):
    place = Place()
    state = place.residents.keep(KEY, 60)
    assert (state.state, state.until) == ("unlocking", place.clock.date() + 60)
    place.later.pop()()
    assert place.states() == [(KEY.hex(), "unlocked", 0)]
    place.clock.time += 59
    place.residents.sweep()
    assert not memories[0].wiped
    place.residents.keep(KEY, 60)
    assert place.later == [], "it is here already"
    place.clock.time += 59
    place.residents.sweep()
    with place.residents.use(KEY):
        place.clock.time += 2
        place.residents.sweep()
        assert not memories[0].wiped
    assert memories[0].wiped
    assert len(place.unlocker.asked) == 1


def test_no_key_is_kept_for_longer_than_allowed():
    with pytest.raises(KeptTooLongError, match="up to 600 s"):
        Place().residents.keep(KEY, 601)
    place = Place(longest=0)
    with pytest.raises(KeptTooLongError, match="only while a job"):
        place.residents.keep(KEY, 1)
    assert place.states() == []


def test_a_locked_key_is_gone_for_those_who_use_it(memories: list[SecretMemory]):
    place = Place()
    with place.residents.use(KEY) as use, place.residents.use(OTHER_KEY) as other:
        place.residents.lock(KEY)
        assert memories[0].wiped
        with pytest.raises(KeyGoneError):
            use.key()
        assert other.key() == MasterKey(OTHER_SECRET)
        with pytest.raises(KeyGoneError), place.residents.use(KEY):
            pass
    place.residents.keep(KEY, 1)
    with place.residents.use(KEY) as use:
        assert use.key() == MasterKey(SECRET)


def test_a_key_that_was_shut_and_opens_again_is_there_for_jobs(memories: list[SecretMemory]):
    place = Place()
    with place.residents.use(KEY) as use:
        place.residents.wipe(KEY)
        assert memories[0].wiped
        with pytest.raises(KeyGoneError):
            use.key()
    with place.residents.use(KEY) as use:
        assert use.key() == MasterKey(SECRET)


def test_a_lock_by_hand_can_be_ended_where_no_key_may_be_kept():
    place = Place(longest=0)
    place.residents.lock(KEY)
    with pytest.raises(KeyGoneError), place.residents.use(KEY):
        pass
    with pytest.raises(KeptTooLongError, match="its lock is ended, and jobs may have it"):
        place.residents.keep(KEY, 1)
    with place.residents.use(KEY) as use:
        assert use.key() == MasterKey(SECRET)
    with pytest.raises(KeptTooLongError, match="nothing was changed"):
        place.residents.keep(KEY, 1)


def test_the_end_of_a_use_does_not_end_its_successor(memories: list[SecretMemory]):
    place = Place()
    with place.residents.use(KEY):
        place.residents.close()
        place.residents.open()
        with place.residents.use(KEY) as second:
            assert second.key() == MasterKey(SECRET)
        assert [memory.wiped for memory in memories] == [True, True]


def test_without_a_turn_there_is_no_key(memories: list[SecretMemory]):
    place = Place()
    place.residents.keep(KEY, 60)
    place.later.pop()()
    with place.residents.use(KEY) as use:
        place.residents.close()
        assert memories[0].wiped
        assert place.states() == []
        with pytest.raises(KeyGoneError):
            use.key()
    with pytest.raises(KeyGoneError), place.residents.use(KEY):
        pass
    with pytest.raises(KeyGoneError):
        place.residents.keep(KEY, 60)


def test_an_outage_is_waited_out_and_told(memories: list[SecretMemory]):
    place = Place(away(), away(), away(), away())
    with place.residents.use(KEY) as use:
        assert use.key() == MasterKey(SECRET)
    assert place.clock.waits == [1, 2, 4, 8]
    (state,) = place.backends.states()
    assert (state.name, state.reachable, state.error) == ("vault", True, "")
    assert state.since == place.clock.date()


def test_during_an_outage_unlocked_keys_go_on_and_status_says_which_since_when():
    place = Place()
    begun = place.clock.date()
    seen: list[tuple[str, str, str]] = []

    def look() -> None:
        seen.extend((one.key_identifier, one.state, one.error) for one in place.residents.states())
        (backend,) = place.backends.states()
        assert (backend.reachable, backend.since, backend.error) == (False, begun, "KmsUnreachableError")

    with place.residents.use(OTHER_KEY) as going_on:
        place.unlocker.troubles = [away() for _ in range(10)]
        wait = place.clock.wait

        def watched(over: threading.Event, seconds: float) -> bool:
            if len(place.clock.waits) == 5:
                look()
            return wait(over, seconds)

        place.clock.wait = watched  # type: ignore[method-assign]
        with place.residents.use(KEY):
            assert going_on.key() == MasterKey(OTHER_SECRET)
    assert place.clock.waits == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert (KEY.hex(), "unlocking", "KmsUnreachableError") in seen
    assert (OTHER_KEY.hex(), "unlocked", "") in seen


def test_a_refusal_is_not_tried_again():
    place = Place(refused())
    with pytest.raises(UnlockError, match="no"), place.residents.use(KEY):
        pass
    assert place.clock.waits == []
    assert [(one.reachable, one.error) for one in place.backends.states()] == [(True, "KmsRefusedError")]
    assert place.states() == []


def test_a_kept_key_that_is_refused_is_shown_until_its_time_is_over():
    place = Place(refused())
    place.residents.keep(KEY, 60)
    place.later.pop()()
    (state,) = place.residents.states()
    assert (state.state, state.error) == ("failed", "KmsRefusedError")
    place.clock.time += 61
    place.residents.sweep()
    assert place.states() == []


def test_a_key_that_is_locked_while_it_is_waited_for_never_comes(memories: list[SecretMemory]):
    place = Place(*[away() for _ in range(5)])
    wait = place.clock.wait

    def lock_meanwhile(over: threading.Event, seconds: float) -> bool:
        place.residents.lock(KEY)
        return wait(over, seconds)

    place.clock.wait = lock_meanwhile  # type: ignore[method-assign]
    with pytest.raises(KeyGoneError), place.residents.use(KEY):
        pass
    assert memories == []


def test_a_key_that_comes_after_the_turn_is_not_taken_in(memories: list[SecretMemory]):
    place = Place()
    unlock = place.unlocker.unlock

    def late(identifier: bytes) -> Unlocked:
        found = unlock(identifier)
        place.residents.close()
        place.residents.open()
        return found

    place.unlocker.unlock = late  # type: ignore[method-assign]
    with pytest.raises(KeyGoneError), place.residents.use(KEY):
        pass
    assert memories == []


def test_another_key_than_was_asked_for_is_refused(memories: list[SecretMemory]):
    place = Place()
    place.unlocker.keys[KEY] = OTHER_SECRET
    with pytest.raises(UnlockError, match="another key"), place.residents.use(KEY):
        pass
    assert memories == []


def test_a_strangers_words_are_not_repeated():
    place = Place(ValueError("the passphrase is sesame"))
    with pytest.raises(UnlockError) as caught, place.residents.use(KEY):
        pass
    assert "sesame" not in str(caught.value)
    assert caught.value.kind == "ValueError"
    assert caught.value.__suppress_context__


def test_many_jobs_ask_once(memories: list[SecretMemory]):
    place = Place()
    asked, free = threading.Event(), threading.Event()
    unlock = place.unlocker.unlock

    def slow(identifier: bytes) -> Unlocked:
        asked.set()
        assert free.wait(30)
        return unlock(identifier)

    place.unlocker.unlock = slow  # type: ignore[method-assign]
    got: list[MasterKey] = []
    together = threading.Barrier(5)

    def work(use: Use) -> None:
        got.append(use.key())
        together.wait(30)

    def job() -> None:
        with place.residents.use(KEY) as use:
            work(use)

    jobs = [threading.Thread(target=job) for _ in range(5)]
    for each in jobs:
        each.start()
    assert asked.wait(30)
    # one key manager that hangs holds nobody else up
    place.unlocker.unlock = unlock  # type: ignore[method-assign]
    with place.residents.use(OTHER_KEY) as other:
        assert other.key() == MasterKey(OTHER_SECRET)
    free.set()
    for each in jobs:
        each.join(30)
    assert got == [MasterKey(SECRET)] * 5
    assert place.unlocker.asked.count(KEY) == 1
    assert all(memory.wiped for memory in memories)


def test_there_is_a_bound(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resident, "MOST", 1)
    place = Place()
    with place.residents.use(KEY), pytest.raises(UnlockError, match="in use"), place.residents.use(OTHER_KEY):
        pass
