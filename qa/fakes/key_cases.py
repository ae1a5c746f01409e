"""What is done to keys, on objects in memory and in RADOS. A module that runs them has the fixture `objects`, empty."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from mgr_fscrypt.format import MasterKey
from mgr_fscrypt.keys.acts import Acts, opened
from mgr_fscrypt.keys.audit import Audit
from mgr_fscrypt.keys.bundle import bring_in, decoded, encode
from mgr_fscrypt.keys.errors import (
    ChangedError,
    ContainerError,
    DestroyedError,
    KmsUnreachableError,
    NoSuchKeyError,
    RefusedError,
    WrongSecretError,
)
from mgr_fscrypt.keys.keeper import Keeper
from mgr_fscrypt.keys.key_file import KeyFile
from mgr_fscrypt.keys.lifecycle import Lifecycle
from mgr_fscrypt.keys.lockbox import Lockbox, State, Tombstone
from mgr_fscrypt.keys.managed import Managed
from mgr_fscrypt.keys.objects import Objects
from mgr_fscrypt.keys.opener import Opener
from mgr_fscrypt.keys.passphrase import Costs, Passphrase
from mgr_fscrypt.keys.safe import Safe
from mgr_fscrypt.keys.tenants import ByTenant, Tenants
from qa.load.promptness import prompt

from .kms import FakeKms

FSID = "0f8a5c1e-9d3b-4c53-9a7e-1b0c2d3e4f50"
CHEAP = Costs(memory=64, time=1, lanes=1)
MASTER = MasterKey(bytes(range(64)))
FIRST = KeyFile(b"1" * 32)
SECOND = KeyFile(b"2" * 32)


@dataclass
class Desk:
    """All that one keeper works with. `now` is moved by hand."""

    objects: Objects
    fsid: str = FSID
    fscid: int = 1
    now: float = 1_900_000_000.0

    def __post_init__(self) -> None:
        self.safe = Safe(self.objects, self.fsid, self.fscid)
        self.audit = Audit(self.objects, "somebody@host as client.admin", lambda: self.now)
        keeper = Keeper(self.safe, self.audit, "somebody@host as client.admin", lambda: self.now)
        self.acts = Acts(keeper)
        self.life = Lifecycle(keeper)
        self.tenants = Tenants(keeper)

    def create(self, name: str = "k", master: MasterKey = MASTER, opener: Opener = FIRST) -> Lockbox:
        return self.acts.create(name, "acme", master, "first", opener)

    def working(self, named: str, openers: tuple[Opener, ...]) -> int:
        """How many protectors give the key back."""
        box = self.safe.find(named)
        return sum(_opens(box, entry.name, openers) for entry in box.in_use())

    def told(self) -> list[tuple[str, str]]:
        return [(record.act, record.result) for record in self.audit.records()]


def _opens(box: Lockbox, protector: str, openers: tuple[Opener, ...]) -> bool:
    entry = box.entry(protector)
    alone = Lockbox(box.binding, box.key, box.name, box.creator, box.created, entries=(entry,))
    try:
        return opened(alone, openers)[1].identifier.hex() == box.key
    except WrongSecretError:
        return False


class KeyCases:
    """The cases."""

    @pytest.fixture
    def desk(self, objects: Objects) -> Desk:
        return Desk(objects)

    # protectors

    def test_a_key_is_found_by_name_and_identifier_and_opens(self, desk: Desk) -> None:
        made = desk.create()
        identifier = MASTER.identifier.hex()
        assert desk.safe.find("k") == desk.safe.find(identifier) == made
        assert desk.acts.unlock(made, [SECOND, FIRST]) == MASTER
        assert list(desk.safe.lockboxes()) == [made]
        assert desk.told() == [("create", "done")]

    def test_the_wrong_secret_is_told_and_opens_nothing(self, desk: Desk) -> None:
        box = desk.create()
        with pytest.raises(WrongSecretError, match="the key file does not open protector first"):
            desk.acts.unlock(box, [SECOND])
        with pytest.raises(WrongSecretError, match="nothing was given"):
            desk.acts.unlock(box, [Passphrase("a passphrase", CHEAP)])

    def test_a_damaged_protector_stands_in_no_others_way(self, desk: Desk) -> None:
        desk.create()
        box = desk.acts.add("k", "second", SECOND, [FIRST])
        first = box.entry("first")
        header = replace(first.container.header, parameters={"salt": "x"})
        bad = replace(first, container=replace(first.container, header=header))
        damaged = replace(box, entries=(bad, box.entry("second")))
        assert desk.acts.unlock(damaged, [SECOND]) == MASTER
        with pytest.raises(ContainerError, match="its salt"):
            desk.acts.unlock(replace(box, entries=(bad,)), [FIRST])

    def test_names_and_keys_are_kept_once(self, desk: Desk) -> None:
        desk.create()
        with pytest.raises(RefusedError, match="there is a key k already"):
            desk.create(master=MasterKey(b"x" * 64))
        with pytest.raises(RefusedError, match="is kept here already, as k"):
            desk.create(name="other")
        assert desk.safe.find("k").key == MASTER.identifier.hex()
        with pytest.raises(NoSuchKeyError):
            desk.safe.find("other")
        desk.create("other", MasterKey(b"x" * 64))
        assert desk.safe.find("other").key == MasterKey(b"x" * 64).identifier.hex()

    def test_what_is_not_there_is_told(self, desk: Desk) -> None:
        with pytest.raises(NoSuchKeyError, match="there is no key nothing"):
            desk.safe.find("nothing")
        desk.create()
        with pytest.raises(NoSuchKeyError, match="has no protector second"):
            desk.acts.remove("k", "second")

    def test_a_protector_is_added_by_whoever_can_open_one(self, desk: Desk) -> None:
        desk.create()
        passphrase = Passphrase("correct horse", CHEAP)
        with pytest.raises(WrongSecretError):
            desk.acts.add("k", "second", passphrase, [SECOND])
        box = desk.acts.add("k", "second", passphrase, [FIRST])
        assert [(entry.name, entry.kind, entry.proven > 0) for entry in box.in_use()] == [
            ("first", "key-file", True),
            ("second", "passphrase", True),
        ]
        assert desk.acts.unlock(box, [Passphrase("correct horse")]) == MASTER
        with pytest.raises(RefusedError, match="has a protector second already"):
            desk.acts.add("k", "second", SECOND, [FIRST])

    def test_the_last_protector_stays(self, desk: Desk) -> None:
        desk.create()
        with pytest.raises(RefusedError, match="the last protector"):
            desk.acts.remove("k", "first")
        desk.acts.add("k", "second", SECOND, [FIRST])
        desk.acts.remove("k", "first")
        with pytest.raises(RefusedError, match="the last protector"):
            desk.acts.remove("k", "second")
        assert desk.working("k", (FIRST, SECOND)) == 1

    def test_a_test_opens_it_and_notes_when(self, desk: Desk) -> None:
        desk.create()
        desk.now += 100
        assert desk.acts.test("k", "first", FIRST).entry("first").proven == int(desk.now)
        with pytest.raises(WrongSecretError):
            desk.acts.test("k", "first", SECOND)

    def test_a_use_is_noted_once_a_day(self, desk: Desk) -> None:
        box = desk.create()
        desk.now += 3600
        desk.acts.unlock(box, [FIRST])
        assert desk.safe.find("k") == box
        desk.now += 86400
        desk.acts.unlock(box, [FIRST])
        assert desk.safe.find("k").entry("first").proven == int(desk.now)

    def test_a_rewrap_leaves_the_new_secret_only(self, desk: Desk) -> None:
        old = desk.create().entry("first").id
        box = desk.acts.rewrap("k", "first", SECOND, [FIRST])
        assert [entry.name for entry in box.entries] == ["first"]
        assert box.entry("first").id != old
        assert desk.acts.unlock(box, [SECOND]) == MASTER
        with pytest.raises(WrongSecretError):
            desk.acts.unlock(box, [FIRST])

    def test_a_rewrap_that_ended_early_left_the_old_one(self, desk: Desk) -> None:
        desk.create()
        desk.acts.add("k", "second", SECOND, [FIRST])
        box = desk.safe.find("k")
        half = desk.acts._wrapped(MASTER, box.binding, "first", SECOND)
        half = replace(half, replaces=box.entry("first").id, proven=0)
        desk.safe.put(box.with_entry(half), box)
        assert desk.working("k", (FIRST, SECOND)) == 2
        done = desk.acts.rewrap("k", "first", SECOND, [FIRST])
        assert [entry.name for entry in done.entries] == ["second", "first"]

    def test_two_who_change_a_key_at_once_lose_nothing(self, desk: Desk) -> None:
        seen = desk.create()
        desk.acts.add("k", "second", SECOND, [FIRST])
        with pytest.raises(ChangedError):
            desk.safe.put(seen.changed(expires=1), seen)
        assert desk.safe.find("k").entry("second")

    def test_a_key_that_was_given_out_is_marked_for_good(self, desk: Desk) -> None:
        made = desk.create()
        desk.now += 100
        with pytest.raises(WrongSecretError):
            desk.acts.recover("k", [SECOND])
        assert desk.safe.find("k") == made
        box, master = desk.acts.recover("k", [FIRST])
        assert (master, box.left) == (MASTER, int(desk.now))
        assert (b'"version": 1' in made.encode(), b'"version": 2' in box.encode()) == (True, True)
        assert desk.acts.rewrap("k", "first", SECOND, [FIRST]).left == box.left
        desk.life.disable("k")
        with pytest.raises(RefusedError, match="is disabled"):
            desk.acts.recover("k", [SECOND])
        assert [act for act, _ in desk.told()] == [
            "create",
            "recover",
            "recover",
            "rewrap",
            "disable",
            "recover",
        ]

    # states and times

    def test_a_disabled_key_opens_for_nobody(self, desk: Desk) -> None:
        desk.create()
        box = desk.life.disable("k")
        with pytest.raises(RefusedError, match="key k is disabled"):
            desk.acts.unlock(box, [FIRST])
        assert desk.acts.unlock(desk.life.enable("k"), [FIRST]) == MASTER
        assert desk.life.enable("k").state is State.ACTIVE, "twice is once"

    def test_expiry_and_drills_are_dates(self, desk: Desk) -> None:
        desk.create()
        assert desk.life.expire("k", 2_000_000_000).expires == 2_000_000_000
        box = desk.life.drill_every("k", 86400)
        assert box.drill_due == box.created + 86400
        desk.now += 1000
        box = desk.acts.test("k", "first", FIRST, drill=True)
        assert box.drill_due == int(desk.now) + 86400

    def test_destroying_waits_and_can_be_cancelled(self, desk: Desk) -> None:
        desk.create()
        box = desk.life.destroy("k", 3600)
        assert (box.state, box.due) == (State.DESTROYING, int(desk.now) + 3600)
        with pytest.raises(RefusedError, match="waits to be destroyed"):
            desk.acts.unlock(box, [FIRST])
        with pytest.raises(RefusedError, match="waits for another 3600 s"):
            desk.life.finish("k")
        assert desk.acts.unlock(desk.life.cancel("k"), [FIRST]) == MASTER
        with pytest.raises(RefusedError, match="nobody asked"):
            desk.life.finish("k")

    def test_destroying_is_for_good(self, desk: Desk) -> None:
        bundle = encode([desk.create()])
        desk.life.destroy("k", 3600)
        desk.now += 3600
        assert desk.life.finish("k").key == MASTER.identifier.hex()
        for named in ("k", MASTER.identifier.hex()):
            with pytest.raises((DestroyedError, NoSuchKeyError)):
                desk.safe.find(named)
        with pytest.raises(DestroyedError):
            desk.create(name="again")
        (box,) = decoded(bundle)
        assert isinstance(box, Lockbox)
        with pytest.raises(DestroyedError):
            bring_in(desk.safe, box)
        assert [type(each) for each in desk.safe.lockboxes()] == [Tombstone]
        desk.create(master=MasterKey(b"n" * 64))
        assert desk.safe.find("k").key == MasterKey(b"n" * 64).identifier.hex(), "its name is free again"

    # tenants

    def test_one_call_opens_all_keys_of_a_tenant(self, desk: Desk) -> None:
        kms = FakeKms()
        desk.tenants.create("acme", Managed("vault", kms))
        opener = ByTenant(desk.tenants, lambda _: [Managed("vault", kms)])
        for number in range(5):
            desk.create(f"k{number}", MasterKey(bytes([number]) * 64), opener)
        kms.calls = 0
        again = ByTenant(desk.tenants, lambda _: [Managed("vault", kms)])
        for number in range(5):
            key = desk.acts.unlock(desk.safe.find(f"k{number}"), [again])
            assert key == MasterKey(bytes([number]) * 64)
        assert kms.calls == 1

    def test_a_key_manager_that_is_down_is_told_and_changes_nothing(self, desk: Desk) -> None:
        kms = FakeKms()
        desk.tenants.create("acme", Managed("vault", kms))
        opener = ByTenant(desk.tenants, lambda _: [Managed("vault", kms)])
        desk.create(opener=opener)
        desk.acts.add("k", "second", SECOND, [opener])
        kms.down = True
        box = desk.safe.find("k")
        with pytest.raises(KmsUnreachableError):
            desk.acts.unlock(box, [ByTenant(desk.tenants, lambda _: [Managed("vault", kms)])])
        assert desk.acts.unlock(box, [SECOND]) == MASTER
        assert desk.safe.find("k") == box

    def test_a_key_manager_that_is_not_known_any_more_stands_in_no_others_way(self, desk: Desk) -> None:
        managed = Managed("vault", FakeKms())
        desk.tenants.create("acme", managed)
        desk.create(opener=ByTenant(desk.tenants, lambda _: [managed]))
        box = desk.acts.add("k", "second", SECOND, [ByTenant(desk.tenants, lambda _: [managed])])

        def forgotten(_: str) -> list[Opener]:
            raise NoSuchKeyError("there is no key manager vault")

        assert desk.acts.unlock(box, [ByTenant(desk.tenants, forgotten), SECOND]) == MASTER
        with pytest.raises(NoSuchKeyError, match="no key manager vault"):
            desk.acts.unlock(box, [ByTenant(desk.tenants, forgotten)])

    def test_a_rotation_wraps_every_key_anew(self, desk: Desk) -> None:
        kms = FakeKms()
        managed = Managed("vault", kms)
        desk.tenants.create("acme", managed)
        for number in range(3):
            opener = ByTenant(desk.tenants, lambda _: [managed])
            desk.create(f"k{number}", MasterKey(bytes([number]) * 64), opener)
        desk.life.disable("k1")
        old = desk.tenants.newest("acme", [managed])
        done = desk.tenants.rotate("acme", {"vault": managed}, desk.acts)
        assert (done.version, done.rewrapped, done.dropped) == (2, 3, 1)
        assert [box.key for box in desk.safe.tenant_keys("acme")] == ["tenant key 2"]
        for number in (0, 2):
            box = desk.safe.find(f"k{number}")
            assert desk.acts.unlock(box, [ByTenant(desk.tenants, lambda _: [managed])])
            with pytest.raises(WrongSecretError, match="version 2"):
                desk.acts.unlock(box, [old])

    def test_a_rotation_wraps_every_protector_of_a_key_anew(self, desk: Desk) -> None:
        managed = Managed("vault", FakeKms())
        desk.tenants.create("acme", managed)
        opener = ByTenant(desk.tenants, lambda _: [managed])
        desk.create(opener=opener)
        desk.acts.add("k", "second", opener, [opener])
        assert desk.tenants.rotate("acme", {"vault": managed}, desk.acts).rewrapped == 2
        assert desk.working("k", (ByTenant(desk.tenants, lambda _: [managed]),)) == 2

    def test_a_rotation_forgets_nothing_while_there_is_a_key_that_it_cannot_read(self, desk: Desk) -> None:
        managed = Managed("vault", FakeKms())
        desk.tenants.create("acme", managed)
        box = desk.create(opener=ByTenant(desk.tenants, lambda _: [managed]))
        stored = desk.objects.read(box.place)
        assert stored is not None
        newer = stored.data.replace(b'"version": 1', b'"version": 9')
        assert desk.objects.replace(box.place, newer, stored.version)
        assert desk.tenants.rotate("acme", {"vault": managed}, desk.acts).dropped == 0
        assert [each.key for each in desk.safe.tenant_keys("acme")] == ["tenant key 2", "tenant key 1"]

    # bundles

    def test_a_bundle_brings_back_what_is_missing(self, desk: Desk) -> None:
        box = desk.create()
        (found,) = decoded(encode([box]))
        assert isinstance(found, Lockbox)
        assert found == box
        assert not bring_in(desk.safe, found), "it is there"
        stored = desk.objects.read(box.place)
        assert stored is not None
        assert desk.objects.remove(box.place, stored.version)
        assert bring_in(desk.safe, found)
        assert desk.acts.unlock(desk.safe.find("k"), [FIRST]) == MASTER

    def test_a_bundle_of_another_file_system_is_not_mixed_in(self, desk: Desk) -> None:
        box = desk.create()
        with pytest.raises(ContainerError, match="is of tenant acme of file system 1"):
            bring_in(Safe(desk.objects, FSID, 2), box)

    def test_a_lockbox_of_elsewhere_is_told_and_not_used(self, desk: Desk) -> None:
        box = desk.create()
        other = Desk(desk.objects, fscid=2)
        with pytest.raises(ContainerError, match="is of tenant acme of file system 1"):
            other.safe.find("k")
        (found,) = other.safe.lockboxes()
        assert isinstance(found, ContainerError)
        assert list(desk.safe.lockboxes()) == [box]

    def test_a_bundle_without_what_opens_its_keys_is_not_made(self, desk: Desk) -> None:
        managed = Managed("vault", FakeKms())
        desk.tenants.create("acme", managed)
        box = desk.create(opener=ByTenant(desk.tenants, lambda _: [managed]))
        assert len(decoded(encode([box, *desk.safe.tenant_keys("acme")]))) == 2
        desk.tenants.rotate("acme", {"vault": managed}, desk.acts)
        with pytest.raises(ChangedError, match="is not kept any more"):
            encode([box, *desk.safe.tenant_keys("acme")])

    def test_a_tenants_key_that_was_made_anew_is_not_taken_for_the_one_of_a_bundle(self, desk: Desk) -> None:
        managed = Managed("vault", FakeKms())
        old = desk.tenants.create("acme", managed)
        assert not bring_in(desk.safe, old)
        desk.safe.drop_tenant_key(old)
        assert bring_in(desk.safe, old)
        desk.safe.drop_tenant_key(old)
        desk.tenants.create("acme", managed)
        with pytest.raises(RefusedError, match="was made anew here"):
            bring_in(desk.safe, old)

    # audit

    def test_the_audit_tells_what_was_refused_and_who(self, desk: Desk) -> None:
        desk.create()
        with pytest.raises(RefusedError):
            desk.acts.remove("k", "first")
        _, refused = desk.audit.records()
        assert refused.who == "somebody@host as client.admin"
        assert refused.result.startswith("refused: this is the last protector")
        assert refused.key == f"k ({MASTER.identifier.hex()}), protector first"

    @pytest.mark.parametrize(
        "damage",
        [
            lambda data: data.replace(b'"act":"create"', b'"act":"delete"'),
            lambda data: data[: data.rindex(b"\n")],
        ],
        ids=["changed", "dropped"],
    )
    def test_what_is_changed_or_dropped_in_the_audit_shows(
        self, desk: Desk, damage: Callable[[bytes], bytes]
    ) -> None:
        for number in range(450):
            desk.audit.record("create", f"k{number}")
        assert [record.number for record in desk.audit.records()] == list(range(1, 451))
        stored = desk.objects.read("audit.1")
        assert stored is not None
        assert desk.objects.replace("audit.1", damage(stored.data), stored.version)
        with pytest.raises(ContainerError, match="the audit is broken before record"):
            list(desk.audit.records())

    def test_what_was_done_and_could_not_be_told_is_not_called_undone(self, desk: Desk) -> None:
        assert desk.objects.create("audit", b"no audit")
        with pytest.raises(ContainerError, match=r"create of k .* was done, and is missing in the audit"):
            desk.create()
        assert desk.acts.unlock(desk.safe.find("k"), [FIRST]) == MASTER

    def test_long_records_do_not_fill_an_object_past_what_is_read(self, desk: Desk) -> None:
        for number in range(60):
            desk.audit.record("export-bundle", f"{number}" + ", k (0123456789abcdef)" * 5000)
        assert [record.number for record in desk.audit.records()] == list(range(1, 61))
        sizes = [len(stored.data) for name in desk.objects.names() if (stored := desk.objects.read(name))]
        assert max(sizes) < 2 << 20

    # speed

    def test_under_a_tenants_key_a_key_takes_less_than_a_millisecond(self, desk: Desk) -> None:
        kms = FakeKms()
        desk.tenants.create("acme", Managed("vault", kms))
        key = desk.tenants.newest("acme", [Managed("vault", kms)])
        box = desk.create(opener=key)
        begun = time.perf_counter()
        for _ in range(200):
            desk.acts.unlock(box, [key])
        prompt((time.perf_counter() - begun) / 200, 0.001, "a key under a tenant's key")
