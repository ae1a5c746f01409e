"""Protectors of tenants' keys, on objects in memory and in RADOS. A module that runs them has the fixture `objects`."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from mgr_fscrypt.keys.errors import (
    ContainerError,
    KeyStoreError,
    KmsUnreachableError,
    NoSuchKeyError,
    RefusedError,
    WrongSecretError,
)
from mgr_fscrypt.keys.lockbox import Lockbox
from mgr_fscrypt.keys.managed import Managed, Managers, forget
from mgr_fscrypt.keys.objects import Objects
from mgr_fscrypt.keys.opener import Opener
from mgr_fscrypt.keys.passphrase import Passphrase
from mgr_fscrypt.keys.tenants import ByTenant, Change, Rotation, opened

from .key_cases import CHEAP, FIRST, MASTER, SECOND, Desk
from .kms import FakeKms

PHRASE = Passphrase("correct horse", CHEAP)


@dataclass
class Office:
    """A desk, and two key managers that it knows: `vault`, which opens the tenant's key, and `second`."""

    desk: Desk

    def __post_init__(self) -> None:
        self.kms = {"vault": FakeKms(stores=True), "second": FakeKms(stores=True)}
        self.tenants = self.desk.tenants
        self.tenants.create("acme", self.managed("vault"))

    @property
    def managers(self) -> Managers:
        return Managers(self.managed)

    @property
    def by_kms(self) -> ByTenant:
        """What opens keys by their tenants' key managers, and knows none of them yet."""
        return ByTenant(self.tenants, lambda _: [self.managers])

    def managed(self, name: str) -> Managed:
        if name not in self.kms:
            raise NoSuchKeyError(f"there is no key manager {name}")
        return Managed(name, self.kms[name])

    def all_openers(self) -> dict[str, Opener]:
        """By the names that the cases give to protectors."""
        given = {"phrase": PHRASE, "first": FIRST}
        return {**{name: self.managed(name) for name in self.kms}, **given}

    def forget(self, change: Change | Rotation) -> list[str]:
        return forget((each.container for each in change.unneeded), self.managed)

    def working(self) -> list[list[str]]:
        """The names of the protectors that open it, for each version of the key, newest first."""
        return [
            [entry.name for entry in box.in_use() if self._opens(box, entry.name)]
            for box in self.desk.safe.tenant_keys("acme")
        ]

    def _opens(self, box: Lockbox, name: str) -> bool:
        openers: Mapping[str, Opener] = self.all_openers()
        alone = Lockbox(box.binding, box.key, box.name, box.creator, box.created, entries=(box.entry(name),))
        try:
            opened(alone, [openers.get(name, SECOND), SECOND])
        except KeyStoreError:
            return False
        return True


class TenantCases:
    """The cases."""

    @pytest.fixture
    def desk(self, objects: Objects) -> Desk:
        return Desk(objects)

    @pytest.fixture
    def office(self, desk: Desk) -> Office:
        return Office(desk)

    def test_a_second_key_manager_opens_while_the_first_is_down_or_gone(self, office: Office) -> None:
        desk = office.desk
        box = desk.create(opener=office.by_kms)
        office.tenants.add("acme", "second", office.managed("second"), [office.managers])
        office.kms["vault"].down = True
        assert desk.acts.unlock(box, [office.by_kms]) == MASTER
        del office.kms["vault"]
        assert desk.acts.unlock(box, [office.by_kms]) == MASTER
        office.kms["second"].down = True
        with pytest.raises(KmsUnreachableError):
            desk.acts.unlock(box, [office.by_kms])

    def test_a_tenant_whose_key_managers_are_lost_is_opened_by_a_passphrase(self, office: Office) -> None:
        desk = office.desk
        box = desk.create(opener=office.by_kms)
        change = office.tenants.add("acme", "phrase", PHRASE, [office.managers])
        assert [(each.name, each.proven > 0) for each in change.box.in_use()] == [
            ("vault", True),
            ("phrase", True),
        ]
        office.kms.clear()
        by_phrase = ByTenant(office.tenants, lambda _: [Passphrase("correct horse")])
        assert desk.acts.unlock(box, [by_phrase]) == MASTER
        with pytest.raises(WrongSecretError, match="the passphrase does not open protector phrase"):
            desk.acts.unlock(box, [ByTenant(office.tenants, lambda _: [Passphrase("wrong horse")])])
        with pytest.raises(WrongSecretError, match="nothing was given that opens the key of tenant acme"):
            desk.acts.unlock(box, [ByTenant(office.tenants, lambda _: [FIRST])])
        office.tenants.remove("acme", "vault")
        assert desk.acts.unlock(box, [by_phrase]) == MASTER
        assert [act for act, result in desk.told() if result == "done"][-2:] == [
            "add-tenant-protector",
            "remove-tenant-protector",
        ]

    def test_the_last_protector_and_the_last_that_was_seen_to_open_stay(self, office: Office) -> None:
        with pytest.raises(RefusedError, match="the last protector of the key of tenant acme"):
            office.tenants.remove("acme", "vault")
        box = office.tenants.add("acme", "phrase", PHRASE, [office.managers]).box
        unproven = box.with_proof(box.entry("phrase").id, 0)
        office.desk.safe.put(unproven, box)
        with pytest.raises(RefusedError, match="no other protector of the key of tenant acme") as caught:
            office.tenants.remove("acme", "vault")
        assert "`cephfs-fscrypt tenant test`" in caught.value.remedy
        office.tenants.test("acme", "phrase", [PHRASE])
        office.tenants.remove("acme", "vault")
        assert office.working() == [["phrase"]]

    def test_who_opens_none_of_its_protectors_adds_none(self, office: Office) -> None:
        with pytest.raises(WrongSecretError):
            office.tenants.add("acme", "phrase", PHRASE, [FIRST])
        with pytest.raises(RefusedError, match="has a protector vault already"):
            office.tenants.add("acme", "vault", office.managed("vault"), [office.managers])
        with pytest.raises(NoSuchKeyError, match="the key of tenant acme has no protector phrase"):
            office.tenants.test("acme", "phrase", [PHRASE])
        with pytest.raises(NoSuchKeyError, match="tenant nobody has no key"):
            office.tenants.add("nobody", "phrase", PHRASE, [office.managers])

    def test_a_key_managers_protector_is_called_as_it_is(self, office: Office) -> None:
        second = office.managed("second")
        with pytest.raises(RefusedError, match="is called as that is"):
            office.tenants.add("acme", "other", second, [office.managers])
        with pytest.raises(RefusedError, match="is called as that is"):
            office.tenants.rewrap("acme", "vault", second, [office.managers])
        with pytest.raises(RefusedError, match="is of kind kms, not passphrase"):
            office.tenants.rewrap("acme", "vault", PHRASE, [office.managers])
        assert office.working() == [["vault"]]

    def test_a_rewrap_leaves_the_new_secret_only(self, office: Office) -> None:
        office.tenants.add("acme", "phrase", PHRASE, [office.managers])
        new = Passphrase("another horse", CHEAP)
        change = office.tenants.rewrap("acme", "phrase", new, [PHRASE])
        assert [each.name for each in change.box.entries] == ["vault", "phrase"]
        assert office.tenants.newest("acme", [new])
        with pytest.raises(WrongSecretError):
            office.tenants.newest("acme", [PHRASE])

    # what key managers keep

    def test_a_key_manager_forgets_what_was_replaced_once_the_new_one_was_seen(self, office: Office) -> None:
        vault = office.kms["vault"]
        (old,) = vault.kept
        change = office.tenants.rewrap("acme", "vault", office.managed("vault"), [office.managers])
        assert len(vault.kept) == 2
        assert office.forget(change) == []
        assert len(vault.kept) == 1
        assert old not in vault.kept
        assert office.working() == [["vault"]]

    def test_a_key_manager_forgets_what_was_removed(self, office: Office) -> None:
        office.tenants.add("acme", "phrase", PHRASE, [office.managers])
        assert office.forget(office.tenants.remove("acme", "vault")) == []
        assert office.kms["vault"].kept == set()

    def test_a_rotation_leaves_nothing_of_the_old_key_behind(self, office: Office) -> None:
        office.tenants.add("acme", "second", office.managed("second"), [office.managers])
        done = office.tenants.rotate("acme", office.all_openers(), office.desk.acts)
        assert office.forget(done) == []
        assert [len(kms.kept) for kms in office.kms.values()] == [1, 1]
        assert office.working() == [["vault", "second"]]

    def test_what_cannot_be_forgotten_is_told_and_harms_nobody(self, office: Office) -> None:
        office.tenants.add("acme", "phrase", PHRASE, [office.managers])
        office.kms["vault"].down = True
        (told,) = office.forget(office.tenants.remove("acme", "vault"))
        assert "the fake is down" in told
        assert office.working() == [["phrase"]]

    # rotation

    def test_a_rotation_takes_every_protector_along(self, office: Office) -> None:
        desk = office.desk
        office.tenants.add("acme", "phrase", PHRASE, [office.managers])
        box = desk.create(opener=office.by_kms)
        only = {"vault": office.managed("vault")}
        with pytest.raises(RefusedError, match="nothing was given for protector phrase"):
            office.tenants.rotate("acme", only, desk.acts)
        assert [each.key for each in desk.safe.tenant_keys("acme")] == ["tenant key 1"]
        given = office.tenants.openers_of("acme", [FIRST, PHRASE, office.managers])
        assert list(given) == ["phrase"]
        assert office.tenants.rotate("acme", {**only, **given}, desk.acts).version == 2
        assert office.working() == [["vault", "phrase"]]
        assert desk.acts.unlock(desk.safe.find(box.key), [ByTenant(office.tenants, lambda _: [PHRASE])])

    def test_a_rotation_leaves_behind_what_it_is_told_to(self, office: Office) -> None:
        office.tenants.add("acme", "phrase", PHRASE, [office.managers])
        with pytest.raises(RefusedError, match="no protector of the new key"):
            office.tenants.rotate("acme", {}, office.desk.acts, leaving=["phrase", "vault"])
        only = {"vault": office.managed("vault")}
        office.tenants.rotate("acme", only, office.desk.acts, leaving=["phrase"])
        assert office.working() == [["vault"]]

    def test_what_is_done_to_a_protector_is_done_to_all_versions(self, office: Office) -> None:
        desk = office.desk
        box = desk.create(opener=office.by_kms)
        stored = desk.objects.read(box.place)
        assert stored is not None
        # a key that cannot be read keeps an old version
        newer = stored.data.replace(b'"version": 1', b'"version": 2')
        assert desk.objects.replace(box.place, newer, stored.version)
        assert isinstance(next(iter(desk.safe.lockboxes())), ContainerError)
        office.tenants.rotate("acme", office.all_openers(), desk.acts)
        office.tenants.add("acme", "phrase", PHRASE, [office.managers])
        assert office.working() == [["vault", "phrase"]] * 2
        office.tenants.rewrap("acme", "phrase", PHRASE, [office.managers])
        office.tenants.test("acme", "phrase", [PHRASE])
        office.tenants.remove("acme", "vault")
        assert office.working() == [["phrase"]] * 2
