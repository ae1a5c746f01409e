"""What the service reads for the manager, by fakes: key managers and how they are met, keys and tenants, a page at a
time, and what cannot be read."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.custody import Custody, custody
from mgr_fscrypt.format import MasterKey
from mgr_fscrypt.keys import bundle
from mgr_fscrypt.keys.errors import NoSuchKeyError
from mgr_fscrypt.keys.keeper import Keeper
from mgr_fscrypt.keys.key_file import KeyFile
from mgr_fscrypt.keys.kms import Settings
from mgr_fscrypt.keys.lifecycle import Lifecycle
from mgr_fscrypt.keys.lockbox import Lockbox
from mgr_fscrypt.keys.managed import Managed
from mgr_fscrypt.keys.register import Register, place_of
from mgr_fscrypt.keys.schedule import Schedule
from mgr_fscrypt.messages import KeyFacts, ProtectorFacts, TenantFacts
from mgr_fscrypt.messages.exchange import Answer
from mgr_fscrypt.messages.kms import KmsFacts
from mgr_fscrypt.messages.lines import LONGEST, line_of
from mgr_fscrypt.messages.service import Bundled, BundleQuestion, Kept
from mgr_fscrypt.service.inventory import Inventory
from mgr_fscrypt.service.node_bundles import FORGOTTEN, MOST
from mgr_fscrypt.service.unlocking import Backends
from qa.fakes.key_cases import Desk
from qa.fakes.kms import FakeKms
from qa.fakes.objects import FakeObjects
from qa.fakes.service import FakeClock

WORDS = "a secret that a stranger's error has in it"
TICKET = "0a" * 16


class Stage:
    """A service with two key managers."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.objects = FakeObjects()
        self.desk = Desk(self.objects)
        self.kms = {"vault": FakeKms(), "second": FakeKms()}
        self.trouble: Exception | None = None
        keeper = Keeper(self.desk.safe, self.desk.audit, "the service", lambda: self.desk.now)
        self.register = Register(self.objects)
        self.register.add(
            Settings("vault", "vault", "https://a:8200", "k", "vault.json", {"mount": "transit"})
        )
        self.register.add(Settings("second", "kmip", "b:5696", "uid"))
        schedule = Schedule(keeper, self.objects)
        self.custody = Custody(keeper, self.register, self.managed, schedule, None)
        self.inventory = Inventory(self.reach, Backends(self.clock), self.clock)

    def managed(self, name: str) -> Managed:
        if name not in self.kms:
            raise NoSuchKeyError(f"there is no key manager {name}")
        return Managed(name, self.kms[name])

    @contextmanager
    def reach(self) -> Iterator[Custody]:
        if self.trouble is not None:
            raise self.trouble
        yield self.custody

    def keys(self, count: int) -> None:
        self.desk.tenants.create("acme", self.managed("vault"))
        for number in range(count):
            master = MasterKey(f"{number}".encode().ljust(64))
            self.desk.acts.create(f"k{number}", "acme", master, "kms", self.custody.by_tenant())

    def met(self) -> dict[str, tuple[str, bool]]:
        found = self.inventory.managers().managers
        return {each.facts.name: (each.met.error if each.met else "not met", each.testing) for each in found}

    def rescanned(self) -> Kept:
        self.inventory.rescan()
        self.inventory.look()
        return self.inventory.kept("")


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_key_managers_are_told_without_what_opens_them(stage: Stage):
    assert stage.inventory.managers().fscid is None
    stage.inventory.look()
    found = stage.inventory.managers()
    assert (found.fscid, found.read, found.trouble) == (1, stage.clock.date(), "")
    assert [each.facts for each in found.managers] == [
        KmsFacts("second", "kmip", "b:5696", "uid", "", ()),
        KmsFacts("vault", "vault", "https://a:8200", "k", "vault.json", ("mount=transit",)),
    ]


def test_one_is_tried_and_that_is_told(stage: Stage):
    stage.inventory.look()
    stage.inventory.test("vault")
    assert stage.met() == {"second": ("not met", False), "vault": ("not met", True)}
    stage.inventory.look()
    assert stage.met() == {"second": ("not met", False), "vault": ("", False)}
    first = stage.inventory.managers().managers[1].met
    stage.clock.time += 10
    stage.kms["vault"].down = True
    stage.inventory.test("vault")
    stage.inventory.test("nosuch")
    stage.inventory.look()
    met = stage.inventory.managers().managers[1].met
    assert first is not None
    assert met is not None
    assert (met.reachable, met.error, met.last - first.last) == (False, "KmsUnreachableError", 10)
    assert stage.kms["second"].calls == 0


def test_all_keys_and_tenants_are_read(stage: Stage):
    stage.keys(3)
    stage.objects.create("key." + "ab" * 16, b"{}")
    kept = stage.rescanned()
    assert (kept.state, kept.fscid, kept.damaged, kept.following) == ("read", 1, 1, "")
    assert sorted(each.name for each in kept.keys) == ["k0", "k1", "k2"]
    assert {each.state for each in kept.keys} == {"active"}
    assert kept.tenants == (TenantFacts("acme", 1, int(stage.desk.now), 0, ("vault",), ()),)


def test_many_come_in_pages_that_a_message_has_room_for(stage: Stage):
    stage.keys(0)
    stage.rescanned()
    ways = (ProtectorFacts("p" * 300, "kms", 1, 1),) * 100
    key = KeyFacts("00" * 16, "k" * 300, "t" * 300, "active", 1, 1, 0, 0, 0, ways)
    stage.inventory._facts = (key,) * 1000
    seen, place = 0, ""
    while True:
        page = stage.inventory.kept(place)
        assert len(line_of(Answer(1, page).encode())) < LONGEST
        seen += len(page.keys)
        place = page.following
        if not place:
            break
    assert seen == 1000


def test_what_cannot_be_reached_is_told_and_read_later(stage: Stage):
    stage.keys(1)
    stage.inventory.look()
    stage.trouble = OSError(110, "the cluster does not answer")
    failed = stage.rescanned()
    assert (failed.state, "does not answer" in failed.error, failed.keys) == ("failed", True, ())
    known = stage.inventory.managers()
    assert ("does not answer" in known.trouble, len(known.managers)) == (True, 2)
    stage.inventory.test("vault")
    stage.inventory.look()
    assert stage.met()["vault"] == ("not met", False), "nobody waits for it for ever"
    stage.trouble = None
    assert stage.rescanned().state == "read"
    assert stage.inventory.managers().trouble == ""


def test_a_mistake_is_told_without_its_words(stage: Stage):
    stage.trouble = ValueError(WORDS)
    kept = stage.rescanned()
    assert (kept.state, kept.error) == ("failed", "a mistake of this program (ValueError)")
    assert WORDS not in stage.inventory.managers().trouble


def test_damaged_settings_keep_no_key_from_being_read(stage: Stage):
    stage.keys(1)
    stage.objects.create(place_of("broken"), b"{")
    assert stage.rescanned().state == "read"
    assert "broken cannot be read" in stage.inventory.managers().trouble


def test_it_ends(stage: Stage):
    thread = threading.Thread(target=stage.inventory.run)
    stage.inventory.end()
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


def wanted(stage: Stage, name: str = "k0", fscid: int = 1) -> tuple[BundleQuestion, Bundled]:
    """What a node gets: asked for, read, and asked for again."""
    asked = BundleQuestion(fscid, stage.desk.safe.find(name).key, TICKET)
    assert stage.inventory.bundle(asked).state == "reading"
    assert stage.inventory.bundle(asked).state == "reading"
    stage.inventory.look()
    return asked, stage.inventory.bundle(asked)


def test_a_node_gets_what_key_managers_open_and_nothing_else(stage: Stage, tmp_path: Path):
    stage.keys(1)
    master = stage.desk.acts.unlock(stage.desk.safe.find("k0"), [stage.custody.by_tenant()])
    stage.desk.acts.add("k0", "words", KeyFile(b"w" * 32), [stage.custody.by_tenant()])
    stage.desk.tenants.add("acme", "outside", KeyFile(b"o" * 32), [stage.managed("vault")])
    asked, found = wanted(stage)
    assert (found.state, [each.name for each in found.managers]) == ("read", ["vault"])
    assert stage.inventory.bundle(asked).state == "reading", "it is told once"
    tenant, key = bundle.decoded(found.bundle.encode())
    assert isinstance(tenant, Lockbox)
    assert isinstance(key, Lockbox)
    assert ([each.kind for each in tenant.in_use()], [each.kind for each in key.in_use()]) == (
        ["kms"],
        ["tenant"],
    )
    file = tmp_path / "bundle"
    file.write_text(found.bundle)
    with custody(Access(), tmp_path, bundle=file) as there:
        opened = there.unlocked(
            bytes.fromhex(asked.key_identifier), [there.by_tenant([stage.managed("vault")])]
        )
    assert opened == master
    assert ("export-bundle", f"k0 ({asked.key_identifier}) for a node", "done") in told(stage)


@pytest.mark.parametrize("end", ["disable", "destroy", "finish"])
def test_a_key_that_opens_for_nobody_is_not_given_out(stage: Stage, end: str):
    stage.keys(1)
    key = stage.desk.safe.find("k0").key
    lifecycle = Lifecycle(stage.custody.keeper)
    if end == "disable":
        lifecycle.disable("k0")
    else:
        lifecycle.destroy("k0", 0)
    if end == "finish":
        lifecycle.finish("k0")
    asked = BundleQuestion(1, key, TICKET)
    stage.inventory.bundle(asked)
    stage.inventory.look()
    found = stage.inventory.bundle(asked)
    assert (found.state, found.bundle, "k0" in found.error) == ("refused", "", True)


def test_one_that_ends_before_somebody_comes_for_it_is_forgotten(stage: Stage):
    stage.keys(1)
    asked = BundleQuestion(1, stage.desk.safe.find("k0").key, TICKET)
    stage.inventory.bundle(asked)
    stage.inventory.look()
    stage.clock.time += FORGOTTEN + 1
    stage.inventory.look()
    assert stage.inventory._handouts._found == {}
    assert stage.inventory.bundle(asked).state == "reading"


def test_what_was_read_before_a_key_was_shut_is_told_nobody_who_asks_after(stage: Stage):
    """Neither what nobody came for, nor what was being read for somebody else."""
    stage.keys(1)
    key = stage.desk.safe.find("k0").key
    left, under_way, after = (BundleQuestion(1, key, f"{number:032x}") for number in range(3))
    stage.inventory.bundle(left)
    stage.inventory.look()
    stage.inventory.bundle(under_way)
    Lifecycle(stage.custody.keeper).disable("k0")
    assert stage.inventory.bundle(after).state == "reading"
    stage.inventory.look()
    found = stage.inventory.bundle(after)
    assert (found.state, found.bundle, "disabled" in found.error) == ("refused", "", True)
    assert stage.inventory.bundle(left).state == "read", "that of the command that asked before is its own"


def test_what_no_node_gets(stage: Stage):
    stage.keys(1)
    assert "another file system" in wanted(stage, fscid=2)[1].error
    stage.desk.acts.create("alone", "acme", MasterKey(b"a" * 64), "file", KeyFile(b"f" * 32))
    found = wanted(stage, "alone")[1]
    assert (found.state, "key add alone --with kms" in found.error) == ("refused", True)
    stage.register.remove("vault")
    assert "vault" in wanted(stage)[1].error
    stage.trouble = OSError("the cluster is away")
    asked = BundleQuestion(1, "ab" * 16, TICKET)
    stage.inventory.bundle(asked)
    stage.inventory.look()
    assert stage.inventory.bundle(asked) == Bundled("failed", "the cluster is away")
    for number in range(MOST):
        stage.inventory.bundle(BundleQuestion(1, "ab" * 16, f"{number:032x}"))
    assert stage.inventory.bundle(asked).state == "failed"


def told(stage: Stage) -> list[tuple[str, str, str]]:
    """What the audit of keys has."""
    return [(each.act, each.key, each.result) for each in stage.desk.audit.records()]
