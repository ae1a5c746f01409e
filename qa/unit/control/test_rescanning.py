"""The index of keys made anew: by pages, with a service that fails, changes and goes on later."""

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace

import pytest

from mgr_fscrypt.control import FileSystem, KeyPage, Keys, RefusalError, Result, TenantPage, Tenants
from mgr_fscrypt.control.rescanning import COMMAND, Rescans
from mgr_fscrypt.messages import KeyFacts, TenantFacts
from mgr_fscrypt.messages.service import Ask, Done, Kept, KeptQuestion, Managers, Rescan, RotationState, Said
from mgr_fscrypt.store import KeyTable, LocalDatabase, TenantTable

FACTS = KeyFacts("00" * 16, "payroll", "acme", "active", 1, 1, 0, 0, 0, ())
OTHER = replace(FACTS, identifier="11" * 16, name="other", state="disabled")
TENANT = TenantFacts("acme", 1, 1, 0, ("vault",), ())
FIRST = Kept("read", 1, "", 1, (FACTS,), (), "1")
LAST = Kept("read", 1, "", 1, (OTHER,), (TENANT,), "")
READING = Kept("reading", None, "", 0, (), (), "")


class Stage:
    """A manager, and a service whose answers are set."""

    def __init__(self, database: LocalDatabase) -> None:
        self.keys = Keys(store=KeyTable(database), cluster=self, clock=lambda: 7)
        self.tenants = Tenants(store=TenantTable(database), cluster=self, clock=lambda: 7)
        self.asked: list[Ask] = []
        self.pages: dict[str, Said | RefusalError] = {}
        self.fscid: int | None = 1
        self.reachable = True
        self.acts: list[tuple[str, str, Result]] = []
        self.shut: list[str] = []
        self.rescans = Rescans(
            ask=self.ask,
            managers=self.managers,
            keys=self.keys,
            tenants=self.tenants,
            cluster=self,
            answer=lambda work: work() if self.reachable else Result.failed(errno.EAGAIN, "no database"),
            recorded=self.recorded,
            wiped=self.wiped,
        )

    def file_systems(self) -> list[FileSystem]:
        return [FileSystem(1, "cephfs"), FileSystem(2, "scratch")]

    def managers(self) -> Managers:
        if self.fscid is None:
            raise RefusalError(errno.EAGAIN, "there is no engine service")
        return Managers(self.fscid, 1.0, "", ())

    def ask(self, question: Callable[[], Ask]) -> Said:
        ask = question()
        self.asked.append(ask)
        page = self.pages[ask.after] if isinstance(ask, KeptQuestion) else Done()
        if isinstance(page, RefusalError):
            raise page
        return page

    def recorded(self, command: str, about: Sequence[str], work: Callable[[], Result]) -> Result:
        result = work()
        self.acts.append((command, " ".join(about), result))
        return result

    def wiped(self, result: Result) -> Result:
        self.shut += result.shut
        return result

    def known(self) -> list[str]:
        page, tenants = self.keys.listing().answer, self.tenants.listing().answer
        assert isinstance(page, KeyPage)
        assert isinstance(tenants, TenantPage)
        return [each.name for each in page.keys] + [each.tenant for each in tenants.tenants]


@pytest.fixture
def stage() -> Iterator[Stage]:
    with closing(LocalDatabase()) as database:
        yield Stage(database)


def test_nothing_is_asked_until_somebody_wants_it(stage: Stage):
    stage.rescans.step()
    assert stage.asked == []


def test_all_pages_are_taken_over_once_they_are_read(stage: Stage):
    begun = stage.rescans.begin("cephfs")
    assert (begun.success, COMMAND in begun.status, stage.asked) == (True, True, [Rescan()])
    stage.pages = {"": READING}
    stage.rescans.step()
    assert (stage.rescans.wanted, stage.known()) == (True, [])
    stage.pages = {"": FIRST, "1": LAST}
    stage.rescans.step()
    assert (stage.rescans.wanted, stage.known()) == (False, ["payroll", "other", "acme"])
    assert [(command, about, result.status) for command, about, result in stage.acts] == [
        (
            COMMAND,
            "cephfs",
            "read 1 keys and 0 tenants, 1 were news; 1 are damaged: see `cephfs-fscrypt key ls`; there are more",
        ),
        (
            COMMAND,
            "cephfs",
            "read 1 keys and 1 tenants, 2 were news; 1 are damaged: see `cephfs-fscrypt key ls`",
        ),
    ]
    assert stage.shut == [OTHER.identifier]
    stage.rescans.begin("cephfs")
    stage.rescans.step()
    assert [result.changed for *_, result in stage.acts] == [True, True, False, False]


def test_what_the_service_rotated_is_read_again(stage: Stage):
    done = RotationState(1, replace(TENANT, version=2), "", 1.0)
    failed = RotationState(1, replace(TENANT, tenant="blue"), "KmsUnreachableError", 1.0)
    stage.rescans.rotated((failed,))
    assert not stage.rescans.wanted, "its keys are as they were"
    stage.rescans.rotated((failed, done))
    assert (stage.rescans.wanted, stage.asked) == (True, []), "it waits for no service"
    stage.pages = {"": READING}
    stage.rescans.step()
    stage.rescans.step()
    assert stage.asked.count(Rescan()) == 1
    stage.pages = {"": FIRST, "1": LAST}
    stage.rescans.step()
    assert (stage.rescans.wanted, stage.known()) == (False, ["payroll", "other", "acme"])
    stage.rescans.rotated((failed, done))
    assert not stage.rescans.wanted, "it is told of again and again"
    stage.rescans.rotated((replace(failed, error=""), done))
    assert stage.rescans.wanted, "what failed may have been gone on with"


def test_another_service_is_asked_anew(stage: Stage):
    stage.rescans.begin("cephfs")
    for silent in (RefusalError(errno.EAGAIN, "it is gone"), replace(READING, state="none"), Done()):
        stage.pages = {"": silent}
        stage.rescans.step()
        assert stage.rescans.wanted
    assert stage.asked.count(Rescan()) == 2
    stage.pages = {"": FIRST, "1": RefusalError(errno.EAGAIN, "it is gone")}
    stage.rescans.step()
    assert stage.rescans.wanted, "half of it is not all"
    stage.pages = {"": FIRST, "1": LAST}
    stage.rescans.step()
    assert not stage.rescans.wanted


def test_a_database_that_does_not_answer_is_tried_again(stage: Stage):
    stage.rescans.begin("cephfs")
    stage.pages, stage.reachable = {"": LAST}, False
    stage.rescans.step()
    assert (stage.rescans.wanted, stage.known()) == (True, [])
    stage.reachable = True
    stage.rescans.step()
    assert (stage.rescans.wanted, len(stage.known())) == (False, 2)


def test_what_is_refused_is_told_once(stage: Stage):
    stage.rescans.begin("cephfs")
    # its file system was removed meanwhile
    stage.pages = {"": replace(FIRST, fscid=3)}
    for _ in range(3):
        stage.rescans.step()
    assert [result.code for _, _, result in stage.acts] == [errno.ENOENT]
    assert not stage.rescans.wanted


def test_a_failure_is_told_and_over(stage: Stage):
    stage.rescans.begin("cephfs")
    stage.pages = {"": replace(READING, state="failed", error="the cluster does not answer")}
    stage.rescans.step()
    ((_, _, result),) = stage.acts
    assert (result.code, "does not answer; nothing was changed" in result.status) == (errno.EAGAIN, True)
    assert not stage.rescans.wanted


def test_what_cannot_begin(stage: Stage):
    other = stage.rescans.begin("scratch")
    assert (other.code, "cephfs-fscrypt key rescan --fs scratch" in other.status) == (errno.EOPNOTSUPP, True)
    assert stage.rescans.begin("cepfs").code == errno.ENOENT
    stage.fscid = None
    assert stage.rescans.begin("cephfs").code == errno.EAGAIN
    assert (stage.asked, stage.rescans.wanted) == ([], False)
