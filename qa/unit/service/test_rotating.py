"""Rotation on a schedule, by fakes: what is due, what fails, what ended early, and whose turn it is."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mgr_fscrypt.backoff import Backoff
from mgr_fscrypt.custody import Custody
from mgr_fscrypt.format import MasterKey
from mgr_fscrypt.keys.errors import NoSuchKeyError
from mgr_fscrypt.keys.keeper import Keeper
from mgr_fscrypt.keys.managed import Managed
from mgr_fscrypt.keys.register import Register
from mgr_fscrypt.keys.schedule import Schedule, Standing
from mgr_fscrypt.service.rotating import LOOK, SETTLED, TOLD, Rotations
from qa.fakes.ceph import DiedError
from qa.fakes.key_cases import Desk
from qa.fakes.kms import FakeKms
from qa.fakes.objects import FakeObjects
from qa.fakes.service import FakeClock

DAY = 86400


class Stage:
    """A service with two key managers, one for each tenant."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.objects = FakeObjects()
        self.desk = Desk(self.objects)
        self.kms = {"acme": FakeKms(), "blue": FakeKms()}
        self.epoch: int | None = 1
        self.reaches = 0
        self.follow()
        keeper = Keeper(self.desk.safe, self.desk.audit, "the service", lambda: self.desk.now)
        self.schedule = Schedule(keeper, self.objects)
        self.custody = Custody(keeper, Register(self.objects), self.managed, self.schedule, None)
        self.rotations = Rotations(
            self.reach, lambda: self.epoch, self.clock, lambda: Backoff(lambda: 0.0, first=60, longest=3600)
        )

    def managed(self, name: str) -> Managed:
        return Managed(name, self.kms[name])

    @contextmanager
    def reach(self) -> Iterator[Custody]:
        self.reaches += 1
        yield self.custody

    def follow(self) -> None:
        """The keys' dates are those of the clock."""
        self.desk.now = self.clock.date()

    def tenant(self, name: str, every: int = 30 * DAY, keys: int = 2) -> None:
        self.desk.tenants.create(name, self.managed(name))
        for number in range(keys):
            master = MasterKey(f"{name}{number}".encode().ljust(64))
            self.desk.acts.create(f"{name}-{number}", name, master, "kms", self.custody.by_tenant())
        if every:
            self.schedule.rotate_every(name, every)

    def later(self, seconds: float) -> None:
        self.clock.time += seconds
        self.follow()
        self.rotations.look()

    def versions(self, name: str) -> list[str]:
        return [box.key.rpartition(" ")[2] for box in self.desk.safe.tenant_keys(name)]

    def opens(self, name: str) -> None:
        box = self.desk.safe.find(f"{name}-0")
        assert self.desk.acts.unlock(box, [self.custody.by_tenant()])

    def errors(self) -> dict[str, str]:
        return {state.facts.tenant: state.error for state in self.rotations.states()}


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_what_is_due_is_rotated_and_told(stage: Stage):
    stage.tenant("acme")
    stage.tenant("blue", every=0)
    stage.later(29 * DAY)
    assert (stage.versions("acme"), stage.rotations.states()) == (["1"], ())
    stage.later(DAY)
    assert (stage.versions("acme"), stage.versions("blue")) == (["2"], ["1"])
    stage.opens("acme")
    (state,) = stage.rotations.states()
    assert (state.fscid, state.facts.tenant, state.facts.version, state.error) == (1, "acme", 2, "")
    assert state.facts.rotated == int(stage.desk.now)
    assert stage.desk.told().count(("rotate-tenant", "done")) == 1
    stage.later(DAY)
    assert stage.versions("acme") == ["2"], "it is due again in 30 days"


def test_a_key_manager_that_is_down_is_asked_again_and_holds_up_no_other_tenant(stage: Stage):
    stage.tenant("acme")
    stage.tenant("blue")
    stage.kms["acme"].down = True
    stage.later(30 * DAY)
    assert (stage.versions("acme"), stage.versions("blue")) == (["1"], ["2"])
    assert stage.errors() == {"acme": "KmsUnreachableError", "blue": ""}
    begun = stage.rotations.states()[0].since
    for pause in (60, 120, 240, 480, 960, 1920, 3600, 3600):
        asked = stage.kms["acme"].calls
        stage.later(pause - 1)
        assert stage.kms["acme"].calls == asked, "not before its time"
        stage.later(1)
        assert stage.kms["acme"].calls > asked
    assert stage.rotations.states()[0].since == begun
    refused = [result for act, result in stage.desk.told() if act == "rotate-tenant" and result != "done"]
    assert len(refused) == 9, "each attempt is in the audit"
    stage.kms["acme"].down = False
    stage.later(3600)
    assert stage.versions("acme") == ["2"]
    assert stage.errors() == {"acme": "", "blue": ""}


def test_one_that_ended_early_is_gone_on_with_and_makes_no_further_version(stage: Stage):
    for die_after in range(3, 200):
        stage = Stage()
        stage.tenant("acme", every=3650 * DAY)
        stage.objects.die_after = stage.objects.changes + die_after
        survived = True
        try:
            stage.desk.tenants.rotate("acme", {"acme": stage.managed("acme")}, stage.desk.acts)
        except DiedError:
            survived = False
        stage.objects.die_after = None
        left = stage.versions("acme")
        stage.later(SETTLED - 1)
        assert stage.versions("acme") == left, "somebody may be at it"
        stage.later(1)
        assert stage.versions("acme") == left[:1]
        stage.opens("acme")
        if survived:
            assert die_after > 6
            return
    pytest.fail("it never came to its end")


def test_a_service_that_loses_its_turn_stops_between_two_keys(stage: Stage):
    stage.tenant("acme", keys=3)
    steps = []

    def epoch() -> int:
        steps.append(None)
        # the look, the new key, the first master key
        return 1 if len(steps) <= 3 else 2

    Rotations(stage.reach, epoch, stage.clock).look()
    assert steps == [None], "it is not due"
    stage.clock.time += 30 * DAY
    stage.follow()
    steps.clear()
    Rotations(stage.reach, epoch, stage.clock).look()
    assert stage.versions("acme") == ["2", "1"]
    assert stage.desk.told()[-1][1].startswith("refused: this service's turn is over")
    stage.opens("acme")
    stage.later(SETTLED)
    assert stage.versions("acme") == ["2"]


def test_without_a_turn_nothing_is_looked_at(stage: Stage):
    stage.tenant("acme")
    stage.epoch = None
    stage.later(30 * DAY)
    assert (stage.versions("acme"), stage.reaches) == (["1"], 0)


def test_it_looks_when_its_turn_begins_and_then_each_minute(stage: Stage):
    looks: list[float] = []

    class Ending(FakeClock):
        def wait(self, over, seconds):
            if self.time >= 1000 + 2 * LOOK:
                stage.rotations.end()
            stage.epoch = None if self.time < 1003 else 1
            return super().wait(over, seconds)

    stage.clock = Ending()

    @contextmanager
    def reach() -> Iterator[Custody]:
        looks.append(stage.clock.time)
        yield stage.custody

    stage.epoch = None
    stage.rotations = Rotations(reach, lambda: stage.epoch, stage.clock)
    stage.rotations.run()
    assert looks == [1004.0, 1004.0 + LOOK]


def test_what_only_people_open_is_left_to_them(stage: Stage):
    stage.tenant("acme")
    (box,) = stage.desk.safe.tenant_keys("acme")
    stage.desk.safe.drop_tenant_key(box)
    stage.desk.tenants.create("acme", Other())
    stage.later(30 * DAY)
    assert stage.versions("acme") == ["1"]
    assert stage.errors() == {"acme": "OnlyPeopleError"}
    (state,) = stage.rotations.states()
    assert (state.facts.managers, state.facts.others) == ((), ("escrow",))


class Other:
    """What opens a tenant's key, and is no key manager."""

    kind, opens = "escrow", False

    def begin(self, _):
        return {}, bytes(32)

    def wrapping_key(self, *_):
        raise AssertionError


def test_a_key_that_cannot_be_read_keeps_old_versions_and_is_not_tried_all_the_time(stage: Stage):
    stage.tenant("acme")
    box = stage.desk.safe.find("acme-1")
    stored = stage.objects.read(box.place)
    assert stored is not None
    assert stage.objects.replace(
        box.place, stored.data.replace(b'"version": 1', b'"version": 9'), stored.version
    )
    stage.later(30 * DAY)
    assert stage.versions("acme") == ["2", "1"]
    for _ in range(100):
        stage.later(LOOK)
    assert stage.versions("acme") == ["2", "1"], "and no version is made again and again"
    assert len([act for act, _ in stage.desk.told() if act == "rotate-tenant"]) < 10


def test_a_status_has_no_more_than_a_message_holds(stage: Stage):
    for number in range(TOLD + 5):
        name = f"t{number:03}"
        stage.kms[name] = FakeKms()
        stage.tenant(name, keys=0)
    stage.kms["t150"].down = True
    stage.later(30 * DAY)
    states = stage.rotations.states()
    assert len(states) == TOLD
    assert states[0].facts.tenant == "t150", "trouble first"


def test_a_mistake_of_ours_holds_up_no_other_tenant_and_is_told(
    stage: Stage, caplog: pytest.LogCaptureFixture
):
    stage.tenant("acme")
    stage.tenant("blue")
    tried = []

    def broken(name: str) -> Managed:
        if name == "acme":
            tried.append(stage.clock.time)
            raise ZeroDivisionError("0123456789abcdef")
        return stage.managed(name)

    stage.custody = Custody(stage.custody.keeper, stage.custody.kms, broken, stage.schedule, None)
    stage.later(30 * DAY)
    assert (stage.versions("acme"), stage.versions("blue")) == (["1"], ["2"])
    assert stage.errors() == {"acme": "ZeroDivisionError", "blue": ""}
    assert "ZeroDivisionError" in caplog.text
    assert "0123456789abcdef" not in caplog.text
    count = len(tried)
    stage.later(59)
    assert len(tried) == count, "not before its time"
    stage.later(1)
    assert len(tried) > count


def test_a_mistake_at_how_one_stands_holds_up_no_other(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    stage.tenant("acme")
    stage.tenant("blue")
    standing = stage.schedule.standing

    def broken(tenant: str) -> Standing:
        if tenant == "acme":
            raise ZeroDivisionError
        return standing(tenant)

    monkeypatch.setattr(stage.schedule, "standing", broken)
    stage.later(30 * DAY)
    assert (stage.versions("acme"), stage.versions("blue")) == (["1"], ["2"])


def test_a_mistake_while_looking_ends_no_thread(stage: Stage, caplog: pytest.LogCaptureFixture):
    @contextmanager
    def broken() -> Iterator[Custody]:
        raise ZeroDivisionError("0123456789abcdef")
        yield stage.custody

    Rotations(broken, lambda: 1, stage.clock).look()
    assert "ZeroDivisionError" in caplog.text
    assert "0123456789abcdef" not in caplog.text


def test_a_period_is_for_a_tenant_that_has_a_key_and_ends_with_never(stage: Stage):
    with pytest.raises(NoSuchKeyError, match="tenant acme has no key"):
        stage.schedule.rotate_every("acme", DAY)
    stage.tenant("acme")
    assert stage.schedule.standing("acme").due == int(stage.desk.now) + 30 * DAY
    stage.schedule.rotate_every("acme", DAY)
    assert stage.schedule.tenants() == ["acme"]
    assert stage.schedule.rotate_every("acme", 0).due == 0
    assert stage.schedule.tenants() == []
    stage.schedule.rotate_every("acme", 0)
    assert ("rotate-every", "done") in stage.desk.told()


def test_a_period_that_is_damaged_is_told_and_holds_up_no_other_tenant(stage: Stage):
    stage.tenant("acme")
    stage.tenant("blue")
    stored = stage.objects.read("rotation.acme")
    assert stored is not None
    for damage in (b"", b"[]", b'{"kind": "rotation", "version": 1, "every": true}', b'{"kind": "rotation"}'):
        stage.objects.stored["rotation.acme"] = type(stored)(damage, 1)  # type: ignore[call-arg]
        assert [str(each) for each in stage.schedule.standings() if isinstance(each, Exception)]
    stage.later(30 * DAY)
    assert (stage.versions("acme"), stage.versions("blue")) == (["1"], ["2"])
