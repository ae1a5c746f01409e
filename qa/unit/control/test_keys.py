import errno
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from mgr_fscrypt.control import FileSystem, KeyLine, KeyPage, Keys, Subtrees
from mgr_fscrypt.control.health import AHEAD, EXPIRING, UNTESTED, key_checks
from mgr_fscrypt.messages import KeyFacts, MessageError, Policy, ProtectorFacts, SubtreeFacts
from mgr_fscrypt.store import KeyTable, LocalDatabase, SubtreeTable

NOW = 1_900_000_000
ID = "00112233445566778899aabbccddeeff"
FACTS = KeyFacts(
    ID, "payroll", "acme", "active", 3, 1_800_000_000, 0, 0, 1_950_000_000,
    (ProtectorFacts("first", "passphrase", 1_800_000_000, 1_850_000_000), ProtectorFacts("kms", "tenant", 1, 0)),
)  # fmt: skip


class Cluster:
    def file_systems(self) -> list[FileSystem]:
        return [FileSystem(1, "cephfs"), FileSystem(2, "scratch")]


@pytest.fixture
def database() -> Iterator[LocalDatabase]:
    with closing(LocalDatabase()) as found:
        yield found


@pytest.fixture
def keys(database: LocalDatabase) -> Keys:
    return Keys(store=KeyTable(database), cluster=Cluster(), clock=lambda: NOW + 0.5)


def shown(keys: Keys, named: str = "payroll") -> KeyLine:
    answer = keys.show("cephfs", named).answer
    assert isinstance(answer, KeyLine)
    return answer


def test_what_is_reported_is_shown_by_name_and_identifier(keys: Keys):
    assert keys.adopt("cephfs", FACTS.encode()).status == f"recorded key payroll ({ID}) of cephfs, active"
    assert shown(keys) == shown(keys, ID)
    assert KeyLine.restored(shown(keys).simplified()) == shown(keys)
    text = shown(keys).plain()
    assert "key payroll of acme on cephfs" in text
    assert "first      passphrase  2027-01-15" in text
    assert "never" in text


def test_the_newest_generation_holds(keys: Keys):
    keys.adopt("cephfs", FACTS.encode())
    assert "nothing to do" in keys.adopt("cephfs", FACTS.encode()).status
    newer = replace(FACTS, generation=4, state="disabled")
    assert "would record" in keys.adopt("cephfs", newer.encode(), dry_run=True).status
    assert shown(keys).state == "active"
    keys.adopt("cephfs", newer.encode())
    assert "nothing to do" in keys.adopt("cephfs", FACTS.encode()).status
    assert shown(keys).state == "disabled"


def test_what_was_destroyed_stays_so(keys: Keys, database: LocalDatabase):
    keys.adopt("cephfs", FACTS.encode())
    keys.adopt("cephfs", replace(FACTS, state="destroyed", tenant="", generation=0, protectors=()).encode())
    assert shown(keys).state == "destroyed"
    keys.adopt("cephfs", replace(FACTS, generation=99).encode())
    assert shown(keys).state == "destroyed"
    subtrees = Subtrees(store=SubtreeTable(database), cluster=Cluster(), clock=lambda: NOW, key=keys.line)
    report = SubtreeFacts(10, "engine", Policy("AES-256-XTS", "AES-256-CBC-CTS", 32, ID)).encode()
    refused = subtrees.adopt("cephfs", "/dead", report)
    assert refused.code == errno.EPERM
    assert "was destroyed" in refused.status
    assert subtrees.adopt("scratch", "/living", report).success, "of another file system"


def test_what_died_with_its_key_is_reported_again_without_a_refusal(keys: Keys, database: LocalDatabase):
    subtrees = Subtrees(store=SubtreeTable(database), cluster=Cluster(), clock=lambda: NOW, key=keys.line)
    report = SubtreeFacts(10, "engine", Policy("AES-256-XTS", "AES-256-CBC-CTS", 32, ID)).encode()
    subtrees.adopt("cephfs", "/dead", report)
    keys.adopt("cephfs", replace(FACTS, state="destroyed", tenant="", generation=0, protectors=()).encode())
    again = subtrees.adopt("cephfs", "/dead", report)
    assert (again.code, again.changed) == (0, False), "what `show` prints is applied"
    changed = SubtreeFacts(10, "kernel", Policy("AES-256-XTS", "AES-256-CBC-CTS", 32, ID)).encode()
    assert subtrees.adopt("cephfs", "/dead", changed).code == errno.EPERM


def test_keys_are_listed_in_pages(keys: Keys):
    for number in range(5):
        keys.adopt("cephfs", replace(FACTS, identifier=f"{number:032x}", name=f"k{number}").encode())
    keys.adopt("scratch", FACTS.encode())
    seen, after = [], None
    while True:
        page = keys.listing(None, after, 2).answer
        assert isinstance(page, KeyPage)
        assert KeyPage.restored(page.simplified()) == page
        seen += [line.name for line in page.keys]
        after = page.following
        if after is None:
            break
    assert seen == ["k0", "k1", "k2", "k3", "k4", "payroll"]
    only = keys.listing("scratch").answer
    assert isinstance(only, KeyPage)
    assert [line.fs_name for line in only.keys] == ["scratch"]
    assert "first, kms" in only.plain()


@pytest.mark.parametrize(
    "report", [None, "", "{}", "[]", "x", FACTS.encode().replace('"active"', '"lively"')]
)
def test_what_is_no_report_is_refused(keys: Keys, report: str | None):
    refused = keys.adopt("cephfs", report)
    assert refused.code == errno.EINVAL
    assert "nothing was changed" in refused.status


def test_what_is_not_there_is_told(keys: Keys):
    assert keys.adopt("cephfz", FACTS.encode()).code == errno.ENOENT
    assert "No key was reported" in keys.listing().answer.plain()  # type: ignore[union-attr]
    keys.adopt("cephfs", FACTS.encode())
    assert 'did you mean "payroll"?' in keys.show("cephfs", "pairoll").status
    assert keys.show("scratch", "payroll").code == errno.ENOENT
    assert keys.listing(None, "nonsense").code == errno.EINVAL
    assert keys.listing(None, None, 0).code == errno.EINVAL


def test_a_report_is_what_it_was():
    assert KeyFacts.decode(FACTS.encode()) == FACTS
    for damage in (
        ('"generation": 3', '"generation": true'),
        ('"name": "first"', '"name": ""'),
        ('"fscrypt.key"', '"x"'),
    ):
        with pytest.raises(MessageError):
            KeyFacts.decode(FACTS.encode().replace(*damage))


def test_a_key_that_opens_for_nobody_any_more_is_told_apart(keys: Keys):
    for number, state in enumerate(("active", "disabled", "destroying", "active", "destroyed")):
        report = replace(FACTS, state=state, generation=FACTS.generation + number).encode()
        shut = () if state == "active" else (ID,)
        assert keys.adopt("cephfs", report, dry_run=True).shut == ()
        assert keys.adopt("cephfs", report).shut == shut
        assert keys.adopt("cephfs", report).shut == (), "it changes nothing"
    assert keys.adopt("nosuch", report).shut == ()


def test_health_tells_of_keys_that_expire_and_drills_that_are_late(keys: Keys):
    for name, expires, drill_due, state in (
        ("late", NOW - 1, NOW - 1, "active"),
        ("soon", NOW + 86400, NOW + 1, "active"),
        ("later", NOW + 31 * 86400, 0, "active"),
        ("gone", NOW - 1, NOW - 1, "destroyed"),
    ):
        facts = replace(
            FACTS,
            identifier=name.encode().hex().ljust(32, "0"),
            name=name,
            expires=expires,
            drill_due=drill_due,
            state=state,
        )
        keys.adopt("cephfs", facts.encode())
    page = keys.due(AHEAD).answer
    assert isinstance(page, KeyPage)
    assert [line.name for line in page.keys] == ["late", "soon"], "and no others are read"
    checks = key_checks(page.keys, NOW)
    assert {code: check["count"] for code, check in checks.items()} == {EXPIRING: 2, UNTESTED: 1}
    assert "key late of acme on cephfs" in checks[UNTESTED]["detail"][0]
    assert key_checks((), NOW) == {}
