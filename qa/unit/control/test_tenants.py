import errno
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from mgr_fscrypt.control import FileSystem, TenantLine, TenantPage, Tenants
from mgr_fscrypt.control.health import LATE, ROTATION, rotation_checks
from mgr_fscrypt.messages import MessageError, TenantFacts
from mgr_fscrypt.messages.service import RotationState
from mgr_fscrypt.store import LocalDatabase, TenantTable

NOW = 1_900_000_000
DAY = 86400
FACTS = TenantFacts("acme", 3, NOW - 40 * DAY, 30 * DAY, ("vault",), ())


class Cluster:
    def file_systems(self) -> list[FileSystem]:
        return [FileSystem(1, "cephfs"), FileSystem(2, "scratch")]


@pytest.fixture
def tenants() -> Iterator[Tenants]:
    with closing(LocalDatabase()) as database:
        yield Tenants(store=TenantTable(database), cluster=Cluster(), clock=lambda: NOW + 0.5)


def listed(tenants: Tenants, fs: str | None = None) -> tuple[TenantLine, ...]:
    page = tenants.listing(fs).answer
    assert isinstance(page, TenantPage)
    assert TenantPage.restored(page.simplified()) == page
    return page.tenants


def late(tenants: Tenants) -> tuple[TenantLine, ...]:
    page = tenants.due(LATE).answer
    assert isinstance(page, TenantPage)
    return page.tenants


def test_what_is_reported_is_listed(tenants: Tenants):
    assert "No tenant was reported" in tenants.listing().answer.plain()  # type: ignore[union-attr]
    said = "tenant acme of cephfs, version 3 of its key"
    assert tenants.adopt("cephfs", FACTS.encode(), dry_run=True).status == f"would record {said}"
    assert listed(tenants) == ()
    assert tenants.adopt("cephfs", FACTS.encode()).status == f"recorded {said}"
    assert "nothing to do" in tenants.adopt("cephfs", FACTS.encode()).status
    (line,) = listed(tenants)
    assert (line.tenant, line.version, line.managers, line.due) == ("acme", 3, ("vault",), NOW - 10 * DAY)
    shown = tenants.listing().answer
    assert "2030-03-07" in shown.plain()  # type: ignore[union-attr]


def test_an_older_report_changes_nothing(tenants: Tenants):
    tenants.adopt("cephfs", FACTS.encode())
    older = replace(FACTS, version=2, rotated=FACTS.rotated - 1)
    assert "nothing to do" in tenants.adopt("cephfs", older.encode()).status
    tenants.adopt("cephfs", replace(FACTS, rotate_every=0).encode())
    assert listed(tenants)[0].due == 0


def test_tenants_are_listed_in_pages(tenants: Tenants):
    for number in range(5):
        tenants.adopt("cephfs", replace(FACTS, tenant=f"t{number}").encode())
    tenants.adopt("scratch", FACTS.encode())
    seen, after = [], None
    while True:
        page = tenants.listing(None, after, 2).answer
        assert isinstance(page, TenantPage)
        seen += [line.tenant for line in page.tenants]
        after = page.following
        if after is None:
            break
    assert seen == ["t0", "t1", "t2", "t3", "t4", "acme"]
    assert [line.tenant for line in listed(tenants, "scratch")] == ["acme"]
    assert tenants.listing("cephfz").code == errno.ENOENT
    assert tenants.listing(None, "nonsense").code == errno.EINVAL


@pytest.mark.parametrize("report", [None, "", "{}", "[]", FACTS.encode().replace("3", "true", 1)])
def test_what_is_no_report_is_refused(tenants: Tenants, report: str | None):
    refused = tenants.adopt("cephfs", report)
    assert refused.code == errno.EINVAL
    assert "nothing was changed" in refused.status


def test_a_report_is_what_it_was():
    assert TenantFacts.decode(FACTS.encode()) == FACTS
    with pytest.raises(MessageError):
        TenantFacts.decode(FACTS.encode().replace('"acme"', '""'))


def test_health_tells_what_to_run_when_a_rotation_is_overdue(tenants: Tenants):
    due = NOW - 30 * DAY
    for name, facts in {
        "soon": replace(FACTS, rotated=due),
        "just": replace(FACTS, rotated=due - LATE + 1),
        "never": replace(FACTS, rotate_every=0),
        "late": replace(FACTS, rotated=due - LATE),
        "down": FACTS,
        "mixed": replace(FACTS, others=("company",)),
        "people": replace(FACTS, managers=(), others=("company",)),
    }.items():
        tenants.adopt("cephfs", replace(facts, tenant=name).encode())
    states = (
        RotationState(1, replace(FACTS, tenant="down"), "KmsUnreachableError", NOW - DAY),
        RotationState(2, replace(FACTS, tenant="late"), "KmsRefusedError", NOW - DAY),
    )
    check = rotation_checks(late(tenants), states)[ROTATION]
    assert (check["severity"], check["count"]) == ("warning", 4)
    down, overdue, mixed, people = check["detail"]
    assert "since 2030-03-07" in down
    assert "the engine service could not since 2030-03-16 17:46:40 UTC: KmsUnreachableError" in down
    assert "no engine service has done it" in overdue
    assert "company must be given by people" in mixed
    assert people.endswith(
        "no key manager opens it, so the engine service cannot; "
        "run `cephfs-fscrypt tenant rotate people --fs cephfs`"
    )
    assert rotation_checks((), states) == {}


def test_what_the_service_did_ends_the_warning(tenants: Tenants):
    tenants.adopt("cephfs", FACTS.encode())
    assert [line.tenant for line in late(tenants)] == ["acme"]
    state = RotationState(1, replace(FACTS, version=4, rotated=NOW), "", NOW)
    assert tenants.learn((state,)).status == "recorded 1 tenants"
    assert late(tenants) == ()
    assert tenants.learn((state,)).status == "recorded 0 tenants", "and is not written again and again"
    assert tenants.learn((replace(state, since=NOW + 1.0),)).status == "recorded 0 tenants"
