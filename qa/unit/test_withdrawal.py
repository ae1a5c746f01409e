"""Keys in memory that were disabled or destroyed, and those that were not."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mgr_fscrypt.ceph.errors import CephError
from mgr_fscrypt.custody import Custody
from mgr_fscrypt.format import MasterKey
from mgr_fscrypt.keys.keeper import Keeper
from mgr_fscrypt.keys.managed import Managed
from mgr_fscrypt.keys.register import Register
from mgr_fscrypt.keys.schedule import Schedule
from mgr_fscrypt.service.program import withdrawal_of
from mgr_fscrypt.service.resident import KeyGoneError, Residents
from mgr_fscrypt.service.tenant_keys import TenantKeys
from mgr_fscrypt.service.unlocking import Backends, Unlocked
from mgr_fscrypt.withdrawal import Withdrawal
from qa.fakes.key_cases import FIRST, Desk
from qa.fakes.kms import FakeKms
from qa.fakes.objects import FakeObjects
from qa.fakes.service import FakeClock


class Stage:
    """A process that holds every key of these, and one out of a file."""

    def __init__(self) -> None:
        objects = FakeObjects()
        self.desk = Desk(objects)
        self.held = {MasterKey(b"f" * 64).identifier}
        for number, name in enumerate(("active", "off", "dying", "dead", "damaged")):
            box = self.desk.create(name, MasterKey(bytes([number]) * 64))
            self.held.add(bytes.fromhex(box.key))
        stored = objects.read(box.place)
        assert stored is not None
        assert objects.replace(box.place, b"damaged", stored.version)
        keeper = Keeper(self.desk.safe, self.desk.audit, "somebody", lambda: self.desk.now)
        self.custody = Custody(
            keeper,
            Register(objects),
            lambda name: Managed(name, FakeKms()),
            Schedule(keeper, objects),
            None,
        )
        self.reached = 0
        self.away = False
        self.withdrawal = Withdrawal(lambda: self.held, self.reach, self.held.remove, every=0.001)

    @contextmanager
    def reach(self) -> Iterator[Custody]:
        self.reached += 1
        if self.away:
            raise CephError(110, "no answer")
        yield self.custody

    def names(self) -> set[str]:
        return {number_of(identifier) for identifier in self.held}


def number_of(identifier: bytes) -> str:
    known = {MasterKey(bytes([number]) * 64).identifier: str(number) for number in range(5)}
    return known.get(identifier, "file")


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_what_opens_for_nobody_is_wiped_and_nothing_else(stage: Stage, caplog: pytest.LogCaptureFixture):
    stage.withdrawal.look()
    assert stage.names() == {"0", "1", "2", "3", "4", "file"}
    stage.desk.life.disable("off")
    stage.desk.life.destroy("dying", 3600)
    stage.desk.life.destroy("dead", 0)
    stage.desk.life.finish("dead")
    stage.withdrawal.look()
    assert stage.names() == {"0", "4", "file"}
    assert caplog.text.count("was wiped here") == 3


def test_a_key_that_is_enabled_again_is_there_for_jobs_of_the_service(stage: Stage):
    class Kept:
        def unlock(self, identifier: bytes) -> Unlocked:
            return Unlocked(stage.custody.acts.unlock(stage.desk.safe.find(identifier.hex()), [FIRST]))

    clock = FakeClock()
    residents = Residents(Kept(), Backends(clock), TenantKeys(), clock)
    residents.open()
    withdrawal = withdrawal_of(residents, stage.reach)
    off = bytes.fromhex(stage.desk.safe.find("off").key)
    with residents.use(off) as use:
        stage.desk.life.disable("off")
        withdrawal.look()
        with pytest.raises(KeyGoneError):
            use.key()
    stage.desk.life.enable("off")
    with residents.use(off) as use:
        assert use.key().identifier == off


def test_while_the_cluster_is_away_keys_stay(stage: Stage, caplog: pytest.LogCaptureFixture):
    stage.desk.life.disable("off")
    stage.away = True
    stage.withdrawal.look()
    assert len(stage.held) == 6
    assert "is not known" in caplog.text
    stage.away = False
    stage.withdrawal.look()
    assert len(stage.held) == 5


def test_who_holds_no_key_asks_nobody(stage: Stage):
    stage.held.clear()
    stage.withdrawal.look()
    assert stage.reached == 0


def test_it_runs_until_its_end(stage: Stage):
    stage.desk.life.disable("off")
    withdrawal = Withdrawal(lambda: stage.held, stage.reach, lambda _: withdrawal.end(), every=0.001)
    withdrawal.run()
    assert stage.reached == 1
