"""What the manager and the service say to each other: all of it survives the way, and nothing else is read."""

import json
from dataclasses import replace
from typing import Any

import pytest

from mgr_fscrypt.messages import KeyFacts, MessageError, Policy, ProtectorFacts, TenantFacts
from mgr_fscrypt.messages.exchange import Answer, Request
from mgr_fscrypt.messages.job import (
    MOST_IN_STATUS,
    JobError,
    JobPage,
    Jobs,
    JobState,
    JobWish,
    brief,
    result_text,
)
from mgr_fscrypt.messages.kms import KmsFacts
from mgr_fscrypt.messages.lines import LONGEST, Lines, line_of
from mgr_fscrypt.messages.scan import FoundSubtree, Mixture, ScanPage, ScanQuestion
from mgr_fscrypt.messages.service import (
    ANSWERS,
    ASKS,
    Ask,
    BackendState,
    Bundled,
    BundleQuestion,
    CancelJob,
    Done,
    ForgetJob,
    Greeting,
    Hello,
    JobQuestion,
    JobsQuestion,
    Kept,
    KeptQuestion,
    KeyState,
    KnownManager,
    Lock,
    Managers,
    ManagersQuestion,
    PauseJob,
    Rescan,
    ResumeJob,
    RotationState,
    Said,
    ServiceStatus,
    Shutdown,
    Sizes,
    SizesQuestion,
    StartJob,
    StatusQuestion,
    TenantKeyState,
    Trouble,
    TryManager,
    Unlock,
    Wipe,
)

KEY = "00112233445566778899aabbccddeeff"
WISH = JobWish(KEY, "verify", 1, "/a", {"rate": 5, "share": 0.5, "deep": True, "name": "b"})
JOB = JobState(
    wish=WISH,
    state="running",
    why="",
    since=1.5,
    done=5,
    total=10,
    unit="entries",
    rate=0.5,
    eta=7.5,
    errors=(JobError("odd-size", 2, ("/a/b", "/a/c")),),
    result=result_text({"found": [1, "two"]}),
    code=None,
    created=0.5,
    started=1.0,
    ended=None,
)
MET = BackendState("vault", False, 1.0, "KmsUnreachableError", 2.5, None)
VAULT = KmsFacts("vault", "vault", "https://a:8200", "k", "vault.json", ("mount=transit",))
STATUS = ServiceStatus(
    release="0.1.0",
    pid=7,
    host="a",
    started=1.5,
    state="standby",
    since=2.5,
    epoch=None,
    holder="process 8 on b",
    trouble="",
    longest=600.0,
    keys=(KeyState(KEY, "unlocked", 2, 3.5, ""), KeyState(KEY, "unlocking", 0, None, "KmsUnreachableError")),
    tenant_keys=(TenantKeyState("acme", 2, 7),),
    backends=(MET,),
    rotations=(RotationState(1, TenantFacts("acme", 2, 3, 4, ("vault",), ()), "KmsUnreachableError", 5.5),),
    jobs=Jobs(1, 0, 2, (brief(JOB), brief(replace(JOB, total=None, eta=None)))),
)
REQUESTS = [
    Hello("0.1.0"),
    StatusQuestion(),
    Unlock(KEY, 60.0),
    Lock(KEY),
    Wipe(KEY),
    ManagersQuestion(),
    TryManager("vault"),
    Rescan(),
    KeptQuestion("17"),
    BundleQuestion(1, KEY, "0a" * 16),
    Shutdown(),
    StartJob(WISH),
    PauseJob(KEY),
    ResumeJob(KEY),
    CancelJob(KEY),
    ForgetJob(KEY),
    JobQuestion(KEY),
    JobsQuestion(None, 100),
    JobsQuestion(KEY, 1),
    ScanQuestion(KEY, "", 200),
    ScanQuestion(KEY, "/a", 1),
    SizesQuestion(("/a", "/b")),
]
FOUND = FoundSubtree(
    "/a",
    7,
    "kernel",
    Policy("AES-256-XTS", "AES-256-CBC-CTS", 32, KEY),
    3,
    (Mixture("plain", 2, "/a/x"),),
)
ANSWERED = [
    Greeting("0.1.0", 7, None, "a"),
    Greeting("0.1.0", 7, 3, "a"),
    STATUS,
    KeyState(KEY, "failed", 0, None, "KmsRefusedError"),
    JOB,
    JobPage((JOB,), KEY),
    JobPage((), None),
    ScanPage((FOUND,), "/a"),
    Bundled("reading"),
    Bundled("read", "", "{}", (KmsFacts("vault", "vault", "https://a:8200", "k", "f", ("ca=x",)),)),
    ScanPage((), None),
    Managers(None, None, "no cluster", ()),
    Managers(1, 2.5, "", (KnownManager(VAULT, MET, testing=True), KnownManager(VAULT, None, testing=False))),
    Kept("reading", None, "", 0, (), (), ""),
    Kept(
        "read",
        1,
        "",
        2,
        (KeyFacts(KEY, "k", "acme", "active", 1, 2, 3, 4, 5, (ProtectorFacts("a", "kms", 6, 7),)),),
        (TenantFacts("acme", 2, 3, 4, ("vault",), ()),),
        "17",
    ),
    Sizes(seen=False, bytes=()),
    Sizes(seen=True, bytes=(5, None, 0)),
    Done(),
    Trouble("refused", "no", "ask"),
]


@pytest.mark.parametrize("ask", REQUESTS)
def test_requests_come_as_they_went(ask: Ask):
    assert Request.decode(Request(5, ask).encode()) == Request(5, ask)


@pytest.mark.parametrize("said", ANSWERED)
def test_answers_come_as_they_went(said: Said):
    assert Answer.decode(Answer(5, said).encode()) == Answer(5, said)


def test_each_kind_is_tested_here():
    assert {type(ask) for ask in REQUESTS} == set(ASKS.values())
    assert {type(said) for said in ANSWERED} == set(ANSWERS.values())


def test_a_whole_number_is_a_time_too():
    text = Request(1, Unlock(KEY, 60.0)).encode().replace("60.0", "60")
    assert Request.decode(text) == Request(1, Unlock(KEY, 60.0))


def changed(**fields: Any) -> str:
    return json.dumps(json.loads(Request(1, Unlock(KEY, 60.0)).encode()) | fields)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "must be a JSON object"),
        ("x" * (LONGEST + 1), "at most"),
        (Answer(1, Done()).encode(), "kind must be fscrypt.service.request"),
        (changed(version=2), "version must be 1"),
        (changed(version=True), "version must be 1"),
        (changed(id="1"), "id must be"),
        (changed(id=-1), "id must be"),
        (changed(id=2**63), "id must be"),
        (changed(says="run"), "says must be one of"),
        (changed(says=["unlock"]), "says must be one of"),
        (changed(says="hello"), "missing"),
        (changed(key_bytes="x"), "unknown field key_bytes"),
        (
            changed(content={"key_identifier": KEY, "seconds": 1.0, "passphrase": "x"}),
            "unknown field passphrase",
        ),
        (changed(content={"key_identifier": KEY}), "seconds missing"),
        (
            changed(content={"key_identifier": KEY, "seconds": "1"}),
            "content.seconds must be of the type float",
        ),
        (
            changed(content={"key_identifier": KEY, "seconds": True}),
            "content.seconds must be of the type float",
        ),
        (changed(content={"key_identifier": KEY, "seconds": 0}), "more than 0"),
        (changed(content={"key_identifier": KEY, "seconds": float("nan")}), "more than 0"),
        (changed(content={"key_identifier": KEY.upper(), "seconds": 1}), "32 lower-case"),
        (changed(content={"key_identifier": "00" * 64, "seconds": 1}), "32 lower-case"),
    ],
)
def test_other_requests_are_refused(text: str, says: str):
    with pytest.raises(MessageError, match=says):
        Request.decode(text)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("keys", {}, "content.keys must be a list"),
        ("keys", [1], r"content.keys\[\] must be a JSON object"),
        ("keys", [{"key_identifier": KEY}], r"content.keys\[\] must be complete"),
        ("epoch", "1", "content.epoch must be of the type int"),
        ("epoch", True, "content.epoch must be of the type int"),
        ("state", "asleep", "state must be"),
        ("backends", [vars(MET) | {"last": "now"}], r"content.backends\[\].last must be of the type float"),
        ("host", None, "content.host must be of the type str"),
    ],
)
def test_other_answers_are_refused(field: str, value: object, says: str):
    message = json.loads(Answer(1, STATUS).encode())
    message["content"][field] = value
    with pytest.raises(MessageError, match=says):
        Answer.decode(json.dumps(message))


def test_lines_come_in_any_pieces():
    data = b"".join(line_of(text) for text in ("one", "zw\N{LATIN SMALL LETTER O WITH DIAERESIS}lf", ""))
    for size in (1, 2, 3, len(data)):
        lines = Lines()
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        assert [line for piece in pieces for line in lines.feed(piece)] == ["one", "zw\xf6lf", ""]


def test_a_line_has_a_bound():
    lines = Lines()
    assert list(lines.feed(b"x" * LONGEST)) == []
    with pytest.raises(MessageError, match="at most"):
        list(lines.feed(b"x"))
    with pytest.raises(MessageError, match="at most"):
        list(Lines().feed(b"x" * (LONGEST + 1) + b"\n"))
    with pytest.raises(MessageError, match="at most"):
        line_of("x" * (LONGEST + 1))


def test_a_line_is_text():
    with pytest.raises(MessageError, match="UTF-8"):
        list(Lines().feed(b"\xff\n"))


def test_a_status_of_a_thousand_keys_is_a_line():
    key = KeyState(KEY, "unlocked", 1000, 1_700_000_000.123456, "SomeVeryLongNameOfAnError")
    # the widest character that JSON has
    job = brief(replace(JOB, wish=replace(WISH, path="/" + "\N{LOCK}" * 1000), why="\N{LOCK}" * 2048))
    full = replace(STATUS, keys=(key,) * 1024, jobs=Jobs(1, 2, 3, (job,) * 3 * MOST_IN_STATUS))
    assert len(line_of(Answer(1, full).encode())) < LONGEST
