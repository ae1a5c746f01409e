"""Signatures of the audit: made, checked, and what they show when somebody writes the records anew."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from mgr_fscrypt.keys.audit import Record
from mgr_fscrypt.keys.errors import ContainerError, KmsUnreachableError, NoSuchKeyError, RefusedError
from mgr_fscrypt.keys.managed import Managed
from mgr_fscrypt.keys.signatures import Signatures, Verdict
from qa.fakes.key_cases import FSID, Desk
from qa.fakes.kms import FakeKms
from qa.fakes.objects import FakeObjects


class Stage:
    def __init__(self) -> None:
        self.objects = FakeObjects()
        self.desk = Desk(self.objects)
        self.kms = FakeKms()
        self.signatures = Signatures(self.desk.audit, FSID, 1)

    def manager(self, name: str) -> Managed:
        if name != "vault":
            raise NoSuchKeyError(f"there is no key manager {name}")
        return Managed(name, self.kms)

    def verdicts(self) -> list[tuple[int, Verdict]]:
        found = self.signatures.checked(self.desk.audit.records(), self.manager)
        return [(checked.upto, checked.verdict) for _, checked in found if checked is not None]

    def written_anew(self, change: Callable[[Record], Record]) -> None:
        """By somebody who may write the namespace: the chain is right again."""
        records = list(self.desk.audit.records())
        self.objects.stored.clear()
        for old in records:
            new = change(old)
            self.desk.now = new.at
            self.desk.audit.record(new.act, new.key, new.result)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_signature_is_checked_with_all_that_is_before_it(stage: Stage):
    for number in range(450):
        stage.desk.audit.record("create", f"k{number}")
    record = stage.signatures.sign(stage.manager("vault"))
    assert (record.number, record.act) == (451, "sign")
    stage.desk.audit.record("create", "later")
    stage.signatures.sign(stage.manager("vault"))
    assert stage.verdicts() == [(450, Verdict.GOOD), (452, Verdict.GOOD)]


def test_an_audit_without_a_record_is_signed(stage: Stage):
    stage.signatures.sign(stage.manager("vault"))
    assert stage.verdicts() == [(0, Verdict.GOOD)]


def test_a_chain_that_was_written_anew_is_not_the_one_that_was_signed(stage: Stage):
    stage.desk.audit.record("create", "k")
    stage.desk.audit.record("destroy", "k")
    stage.signatures.sign(stage.manager("vault"))
    stage.written_anew(lambda record: replace(record, act=record.act.replace("destroy", "test")))
    assert stage.verdicts() == [(2, Verdict.WRONG)]


def test_a_signature_that_was_adapted_to_another_chain_is_wrong(stage: Stage):
    stage.desk.audit.record("create", "k")
    stage.signatures.sign(stage.manager("vault"))
    signed = list(stage.desk.audit.records())[-1]
    stage.objects.stored.clear()
    forged = stage.desk.audit.record("create", "other")
    stage.desk.audit.record("sign", f"records up to 1 ({forged.digest})", signed.result)
    assert stage.verdicts() == [(1, Verdict.WRONG)]


@pytest.mark.parametrize("place", [("0" * 8 + FSID[8:], 1), (FSID, 2)])
def test_a_signature_of_elsewhere_is_wrong(stage: Stage, place: tuple[str, int]):
    stage.desk.audit.record("create", "k")
    Signatures(stage.desk.audit, *place).sign(stage.manager("vault"))
    assert stage.verdicts() == [(1, Verdict.WRONG)]


@pytest.mark.parametrize(
    ("key", "result"),
    [
        ("records", "signed by vault: AAAA"),
        ("records up to 0 (x)", "signed by vault: AAAA"),
        (f"records up to 0 ({'0' * 64})", "refused: no"),
        (f"records up to 0 ({'0' * 64})", "signed by vault: A"),
        (f"records up to 0 ({'0' * 64})", "signed by vault: AAAA"),
        (f"records up to 5 ({'0' * 64})", "signed by vault: AAAA"),
    ],
)
def test_what_only_looks_like_a_signature_is_wrong(stage: Stage, key: str, result: str):
    stage.desk.audit.record("sign", key, result)
    assert [verdict for _, verdict in stage.verdicts()] == [Verdict.WRONG]


def test_who_does_not_answer_leaves_signatures_unchecked_and_is_asked_once(stage: Stage):
    for _ in range(3):
        stage.signatures.sign(stage.manager("vault"))
    stage.kms.down = True
    stage.kms.calls = 0
    assert [verdict for _, verdict in stage.verdicts()] == [Verdict.UNCHECKED] * 3
    assert stage.kms.calls == 1
    stage.desk.audit.record("sign", f"records up to 0 ({'0' * 64})", "signed by other: AAAA")
    assert stage.verdicts()[-1] == (0, Verdict.UNCHECKED)


def test_who_cannot_sign_signs_nothing(stage: Stage):
    stage.kms.can_sign = False
    with pytest.raises(RefusedError, match="vault has no key that signs"):
        stage.signatures.sign(stage.manager("vault"))
    stage.kms.can_sign, stage.kms.down = True, True
    with pytest.raises(KmsUnreachableError):
        stage.signatures.sign(stage.manager("vault"))
    assert stage.desk.told() == []
    assert stage.objects.create("audit", b"no audit")
    with pytest.raises(ContainerError):
        stage.signatures.sign(stage.manager("vault"))
