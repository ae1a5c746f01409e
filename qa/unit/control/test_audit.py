"""The chain of acts: each change to it is found, at the record where it is."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from mgr_fscrypt.control import ActPage, Audit, AuditWatch, Result, Verdict
from mgr_fscrypt.control import audit as audits
from mgr_fscrypt.control.audit import BROKEN
from mgr_fscrypt.store import ActTable, Joined, LocalDatabase

NOW = 1_900_000_000


@pytest.fixture
def database() -> Iterator[LocalDatabase]:
    with closing(LocalDatabase()) as found:
        yield found


@pytest.fixture
def audit(database: LocalDatabase) -> Audit:
    told: list[str] = []
    return Audit(store=ActTable(Joined(database)), clock=lambda: NOW, manager="mgr.x", tell=told.append)


def acted(audit: Audit, count: int) -> None:
    for number in range(count):
        audit.recorded("subtree forget", ("cephfs", f"/{number}"), lambda: Result(status="forgot"))


def verdict(audit: Audit, after: str | None = None, most: int = audits.CHECKED) -> Verdict:
    answer = audit.verify(after, most).answer
    assert isinstance(answer, Verdict)
    return answer


def tampered(database: LocalDatabase, *statements: str) -> None:
    with database.transaction() as db:
        for trigger in ("ActsStay", "ActsRemain"):
            db.execute(f"DROP TRIGGER IF EXISTS {trigger}")
        for statement in statements:
            db.execute(statement)


def test_records_are_listed_newest_first_in_pages(audit: Audit):
    acted(audit, 5)
    seen: list[str] = []
    after = None
    while True:
        page = audit.listing(after, 2).answer
        assert isinstance(page, ActPage)
        assert ActPage.restored(page.simplified()) == page
        seen += [line.about for line in page.acts]
        after = page.following
        if after is None:
            break
    assert seen == [f"cephfs /{number}" for number in (4, 3, 2, 1, 0)]
    text = audit.listing(limit=1).rendered("plain")[1]
    assert "2030-03-17 17:46:40 UTC  cli  subtree forget cephfs /4  forgot" in text
    assert "add `--after 5`" in text
    assert audit.listing(0).code == errno.EINVAL
    assert audit.listing(2**70).code == errno.EINVAL


def test_an_empty_audit(audit: Audit):
    assert audit.listing().rendered("plain")[1] == "Nothing was done through the manager yet."
    assert audit.verify().rendered("plain")[:2] == (0, "There is no record to verify.")


def test_a_whole_chain_is_verified_in_parts(audit: Audit):
    acted(audit, 5)
    assert verdict(audit).following is None
    first = verdict(audit, most=2)
    assert (first.first, first.last) == (1, 2)
    second = verdict(audit, first.following, most=2)
    assert (second.first, second.last) == (3, 4)
    third = verdict(audit, second.following, most=2)
    assert (third.first, third.last, third.following, third.trouble) == (5, 5, None, "")
    assert third.digest == verdict(audit).digest
    assert verdict(audit, most=5).following is None


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        *(
            (f"UPDATE Act SET {change} WHERE number = 3", "record 3")  # noqa: S608 - our own words
            for change in (
                "at = 7",
                "code = 7",
                "who = 'x'",
                "manager = 'x'",
                "command = 'x'",
                "about = 'x'",
                "result = 'x'",
                "previous = 'x'",
                "digest = 'x'",
            )
        ),
        ("DELETE FROM Act WHERE number = 3", "record 3"),
        ("DELETE FROM Act WHERE number = 1", "record 1"),
        ("UPDATE Act SET number = number + 1 WHERE number = 5", "record 5"),
    ],
)
def test_whatever_is_changed_is_found(audit: Audit, database: LocalDatabase, statement: str, says: str):
    acted(audit, 5)
    tampered(database, statement)
    refused = audit.verify()
    assert refused.code == errno.EBADMSG
    assert says in refused.status
    assert "ceph fscrypt audit ls" in refused.status


def test_a_cut_is_found_by_who_kept_the_last_record(audit: Audit, database: LocalDatabase):
    acted(audit, 3)
    last = verdict(audit)
    known = f"{last.last}:{last.digest}"
    assert verdict(audit, known).trouble == ""
    tampered(database, "DELETE FROM Act WHERE number = 3")
    assert verdict(audit).trouble == ""
    assert "record 3 is not the one that is known" in verdict(audit, known).trouble
    audit.recorded("subtree forget", ("cephfs", "/other"), lambda: Result(status="forgot"))
    assert "record 3 is not the one that is known" in verdict(audit, known).trouble


@pytest.mark.parametrize("known", ["", "3", "0:" + "0" * 64, "x:" + "0" * 64, "3:abc"])
def test_what_is_no_record(audit: Audit, known: str):
    assert audit.verify(known).code == errno.EINVAL


def test_the_table_itself_refuses_mistakes(audit: Audit, database: LocalDatabase):
    acted(audit, 1)
    for statement in ("UPDATE Act SET at = 1", "DELETE FROM Act"):
        with pytest.raises(sqlite3.IntegrityError, match="never"), database.transaction() as db:
            db.execute(statement)


def test_the_watch_finds_changes_round_after_round(
    audit: Audit, database: LocalDatabase, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(audits, "WATCHED", 2)
    acted(audit, 5)
    watch = AuditWatch(audit)

    def round_of_checks() -> bool:
        for _ in range(4):
            watch.look()
        return BROKEN in watch.checks()

    assert not round_of_checks()
    acted(audit, 1)
    assert not round_of_checks()
    tampered(database, "UPDATE Act SET code = 7 WHERE number = 2")
    assert round_of_checks()
    assert "record 2" in watch.checks()[BROKEN]["detail"][0]
    tampered(database, "UPDATE Act SET code = 0 WHERE number = 2")
    assert not round_of_checks()


def test_the_watch_remembers_the_newest_record_that_it_saw(audit: Audit, database: LocalDatabase):
    acted(audit, 3)
    watch = AuditWatch(audit)
    watch.look()
    tampered(database, "DELETE FROM Act WHERE number = 3")
    watch.look()
    assert "record 3" in watch.checks()[BROKEN]["detail"][0]
