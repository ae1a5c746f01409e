"""What a service answers."""

from contextlib import AbstractContextManager

import pytest

from mgr_fscrypt.custody import Custody
from mgr_fscrypt.messages.service import (
    Done,
    Greeting,
    Hello,
    Kept,
    KeptQuestion,
    KeyState,
    Lock,
    Managers,
    ManagersQuestion,
    Rescan,
    ServiceStatus,
    Shutdown,
    StatusQuestion,
    Trouble,
    TryManager,
    Unlock,
    Wipe,
)
from mgr_fscrypt.service.core import Identity, Service
from mgr_fscrypt.service.inventory import Inventory
from mgr_fscrypt.service.jobs import Runner
from mgr_fscrypt.service.jobs.answering import JobAnswers
from mgr_fscrypt.service.kinds.scanned import ScanAnswers
from mgr_fscrypt.service.resident import KeyGoneError, Residents
from mgr_fscrypt.service.rotating import Rotations
from mgr_fscrypt.service.sizing import Sizing
from mgr_fscrypt.service.tenant_keys import TenantKeys
from mgr_fscrypt.service.tenure import Tenure
from mgr_fscrypt.service.unlocking import Backends, Unlocked, UnlockError
from qa.fakes.findings import FakeFindings
from qa.fakes.jobs import FakeRecords, SteppingKind
from qa.fakes.service import KEY, FakeClock, FakeTurns, FakeUnlocker


def nothing() -> AbstractContextManager[Custody]:
    raise AssertionError("nothing is to be reached here")


class Stage:
    def __init__(self, longest: float = 600.0) -> None:
        self.clock = FakeClock()
        self.turns = FakeTurns(self.clock, 5.0)
        self.tenure = Tenure(lambda: self.turns.reach("me"), self.clock, 5.0)
        backends = Backends(self.clock)
        self.residents = Residents(
            FakeUnlocker(), backends, TenantKeys(), self.clock, longest=longest, start=lambda work: work()
        )
        rotations = Rotations(nothing, lambda: self.tenure.epoch, self.clock)
        self.records = FakeRecords()
        self.runner = Runner(
            [SteppingKind()], self.records.reach, lambda: self.tenure.epoch, self.residents, self.clock
        )
        self.service = Service(
            Identity("0.1.0", 7, "host", 1.0),
            self.tenure,
            self.residents,
            backends,
            rotations,
            JobAnswers(self.runner),
            Inventory(nothing, backends, self.clock),
            ScanAnswers(FakeFindings().reach),
            Sizing(nothing, self.clock),
        )

    def serve(self) -> None:
        with self.turns.reach("me") as self.lease:
            self.tenure._step(self.lease)
        self.service.tick()

    def status(self) -> ServiceStatus:
        said = self.service.answer(StatusQuestion())
        assert isinstance(said, ServiceStatus)
        return said


def test_it_greets_and_tells_how_it_is():
    stage = Stage()
    assert stage.service.answer(Hello("9.9")) == Greeting("0.1.0", 7, None, "host")
    assert (stage.status().state, stage.status().trouble) == ("unreachable", "not yet connected")
    stage.serve()
    assert stage.service.answer(Hello("9.9")) == Greeting("0.1.0", 7, 1, "host")
    assert (stage.status().state, stage.status().epoch, stage.status().longest) == ("serving", 1, 600)


def test_it_unlocks_and_locks():
    stage = Stage()
    stage.serve()
    said = stage.service.answer(Unlock(KEY.hex(), 60.0))
    assert isinstance(said, KeyState)
    assert [(key.key_identifier, key.state) for key in stage.status().keys] == [(KEY.hex(), "unlocked")]
    assert [backend.name for backend in stage.status().backends] == ["vault"]
    assert stage.service.answer(Wipe(KEY.hex())) == Done()
    assert stage.status().keys == ()
    assert isinstance(stage.service.answer(Unlock(KEY.hex(), 60.0)), KeyState)
    assert stage.service.answer(Lock(KEY.hex())) == Done()
    assert stage.status().keys == ()


def test_time_is_up():
    stage = Stage()
    stage.serve()
    stage.service.answer(Unlock(KEY.hex(), 3.0))
    stage.clock.time += 3
    stage.service.tick()
    assert stage.status().keys == ()


@pytest.mark.parametrize("renewed", [False, True])
def test_keys_are_wiped_when_the_turn_ends(renewed: bool):
    stage = Stage()
    stage.serve()
    stage.service.answer(Unlock(KEY.hex(), 60.0))
    with stage.residents.use(KEY) as use:
        stage.clock.time += 5
        stage.service.tick()
        with pytest.raises(KeyGoneError):
            use.key()
    assert stage.status().keys == ()
    if renewed:
        stage.serve()
        assert stage.status().epoch == 2
        assert isinstance(stage.service.answer(Unlock(KEY.hex(), 60.0)), KeyState)
    else:
        said = stage.service.answer(Unlock(KEY.hex(), 60.0))
        assert isinstance(said, Trouble)
        assert said.code == "not-serving"


def test_it_refuses_to_keep_keys_for_too_long():
    stage = Stage(longest=0)
    stage.serve()
    said = stage.service.answer(Unlock(KEY.hex(), 1.0))
    assert isinstance(said, Trouble)
    assert (said.code, "only while a job" in said.text, "service_resident_limit" in said.remedy) == (
        "refused",
        True,
        True,
    )


class Refusing:
    """An unlocker that knows no key."""

    def unlock(self, identifier: bytes) -> Unlocked:
        raise UnlockError(f"there is no key {identifier.hex()}", kind="NoSuchKeyError")


def test_a_key_that_is_not_kept_fails_and_that_is_shown():
    clock = FakeClock()
    residents = Residents(
        Refusing(), Backends(clock), TenantKeys(), clock, longest=60, start=lambda work: work()
    )
    residents.open()
    residents.keep(KEY, 1)
    assert [(key.state, key.error) for key in residents.states()] == [("failed", "NoSuchKeyError")]


def test_a_mistake_is_an_answer_without_its_words(monkeypatch: pytest.MonkeyPatch):
    stage = Stage()

    def fail(identifier: bytes) -> None:
        raise ValueError("sesame")

    monkeypatch.setattr(stage.residents, "lock", fail)
    said = stage.service.answer(Lock(KEY.hex()))
    assert isinstance(said, Trouble)
    assert (said.code, "sesame" in said.text) == ("internal", False)


def test_it_ends_when_it_is_told():
    stage = Stage()
    assert not stage.service.ended
    assert stage.service.answer(Shutdown()) == Done()
    assert stage.service.ended


def test_what_takes_time_is_answered_at_once():
    stage = Stage()
    assert stage.service.answer(ManagersQuestion()) == Managers(None, None, "", ())
    assert stage.service.answer(TryManager("vault")) == Done()
    assert stage.service.answer(KeptQuestion("")) == Kept("none", None, "", 0, (), (), "")
    assert stage.service.answer(Rescan()) == Done()
    assert stage.service.answer(KeptQuestion("")) == Kept("reading", None, "", 0, (), (), "")
