"""`subtree ls` with filters, and `subtree show`."""

import errno
from collections.abc import Iterator
from contextlib import closing

import pytest

from mgr_fscrypt.control import FileSystem, Keys, Result, SubtreeDetail, SubtreePage, Subtrees
from mgr_fscrypt.messages import KeyFacts, Policy, SubtreeFacts
from mgr_fscrypt.store import KeyTable, LocalDatabase, SubtreeTable
from mgr_fscrypt.store import subtrees as pages

KEYS = {"payroll": "00" * 16, "mail": "11" * 16, "gone": "22" * 16}
NOW = 1_900_000_000


class Cluster:
    def file_systems(self) -> list[FileSystem]:
        return [FileSystem(1, "cephfs"), FileSystem(2, "scratch")]


@pytest.fixture
def subtrees() -> Iterator[Subtrees]:
    with closing(LocalDatabase()) as database:
        keys = Keys(store=KeyTable(database), cluster=Cluster(), clock=lambda: NOW)
        made = Subtrees(store=SubtreeTable(database), cluster=Cluster(), clock=lambda: NOW, key=keys.line)
        for number, (name, key) in enumerate(KEYS.items(), 1):
            policy = Policy("AES-256-XTS", "AES-256-CBC-CTS", 32, key)
            for path in (f"/{name}/1", f"/{name}/2"):
                inode = 10 * number + int(path[-1])
                report = SubtreeFacts(inode, "kernel" if path.endswith("2") else "engine", policy).encode()
                assert made.adopt("cephfs", path, report).success
            if name != "gone":
                tenant, state = ("acme", "active") if name == "payroll" else ("other", "disabled")
                facts = KeyFacts(key, name, tenant, state, 1, NOW, 0, 0, 0, ())
                assert keys.adopt("cephfs", facts.encode()).success
        yield made


def listed(result: Result) -> list[str]:
    assert isinstance(result.answer, SubtreePage), result
    return [line.path for line in result.answer.subtrees]


@pytest.mark.parametrize(
    ("filters", "paths"),
    [
        ({}, ["/gone/1", "/gone/2", "/mail/1", "/mail/2", "/payroll/1", "/payroll/2"]),
        ({"mode": "kernel"}, ["/gone/2", "/mail/2", "/payroll/2"]),
        ({"master-key": "payroll"}, ["/payroll/1", "/payroll/2"]),
        ({"master-key": KEYS["gone"]}, ["/gone/1", "/gone/2"]),
        ({"tenant": "other", "mode": "engine"}, ["/mail/1"]),
        ({"state": "active"}, ["/payroll/1", "/payroll/2"]),
        ({"below": "//mail/./"}, ["/mail/1", "/mail/2"]),
        ({"text": "l/1"}, ["/mail/1", "/payroll/1"]),
        ({"tenant": "nobody"}, []),
    ],
)
def test_filters(subtrees: Subtrees, filters: dict[str, str | None], paths: list[str]):
    everything = dict.fromkeys(("mode", "master-key", "tenant", "state", "below", "text"))
    assert listed(subtrees.listing(filters=everything | filters)) == paths
    assert listed(subtrees.listing("scratch", filters=filters)) == []


def test_the_next_page_of_a_list_by_key(subtrees: Subtrees):
    first = subtrees.listing("cephfs", limit=1, filters={"tenant": "acme"})
    assert listed(first) == ["/payroll/1"]
    assert isinstance(first.answer, SubtreePage)
    following = first.answer.following
    assert following == f"1:{KEYS['payroll']}:/payroll/1"
    assert listed(subtrees.listing("cephfs", following, 1, filters={"tenant": "acme"})) == ["/payroll/2"]
    other = subtrees.listing("cephfs", "1:/payroll/1", 1, filters={"tenant": "acme"})
    assert (other.code, "keep its filters" in other.status) == (errno.EINVAL, True)


def test_what_is_empty_says_why(subtrees: Subtrees, monkeypatch: pytest.MonkeyPatch):
    assert subtrees.listing(filters={"tenant": "x"}).rendered("plain")[1] == "No registered subtree fits."
    assert subtrees.listing("scratch").rendered("plain")[1] == "No subtree is registered."
    monkeypatch.setattr(pages, "LOOKED_THROUGH", 2)
    shown = subtrees.listing(filters={"text": "payroll"}).rendered("plain")[1]
    assert shown == "None so far.\nThere are more: add `--after 1:/gone/2`."


@pytest.mark.parametrize(
    ("filters", "says"),
    [
        ({"mode": "both"}, 'there is no mode "both"; use one of engine, kernel'),
        ({"state": "lively"}, "use one of active, disabled, destroying, destroyed"),
        ({"below": "mail"}, "does not begin with /"),
        ({"tenant": ""}, "--tenant must be text"),
        ({"text": "\udcff"}, "--text must be text"),
    ],
)
def test_filters_that_are_none(subtrees: Subtrees, filters: dict[str, str | None], says: str):
    refused = subtrees.listing(filters=filters)
    assert refused.code == errno.EINVAL
    assert says in refused.status


def test_show(subtrees: Subtrees):
    shown = subtrees.show("cephfs", "/mail/1/")
    assert isinstance(shown.answer, SubtreeDetail)
    assert SubtreeDetail.restored(shown.answer.simplified()) == shown.answer
    text = shown.rendered("plain")[1]
    assert text.startswith("subtree /mail/1 of cephfs\nmode        engine\n")
    assert text.endswith(f"key         {KEYS['mail']}\n            mail of other, disabled")
    unknown = subtrees.show("cephfs", "/gone/1")
    assert isinstance(unknown.answer, SubtreeDetail)
    assert SubtreeDetail.restored(unknown.answer.simplified()) == unknown.answer
    assert "key rescan" in unknown.rendered("plain")[1]
    assert 'did you mean "/mail/1"?' in subtrees.show("cephfs", "/mail/11").status
    assert subtrees.show("cefs", "/mail/1").code == errno.ENOENT
