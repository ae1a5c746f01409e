import errno
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from mgr_fscrypt.control import FileSystem, Overview, Result, SubtreePage, Subtrees
from mgr_fscrypt.messages import Policy, SubtreeFacts
from mgr_fscrypt.store import LocalDatabase, SubtreeTable

KEY = "00112233445566778899aabbccddeeff"
FACTS = SubtreeFacts(inode=10, mode="engine", policy=Policy("AES-256-XTS", "AES-256-CBC-CTS", 32, KEY))
NOW = 1_700_000_000


class Cluster:
    """File systems that a test adds and removes."""

    def __init__(self) -> None:
        self.present = [FileSystem(1, "cephfs"), FileSystem(2, "scratch")]

    def file_systems(self) -> list[FileSystem]:
        return self.present


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def subtrees(cluster: Cluster) -> Iterator[Subtrees]:
    with closing(LocalDatabase()) as database:
        yield Subtrees(store=SubtreeTable(database), cluster=cluster, clock=lambda: NOW + 0.5)


def listed(subtrees: Subtrees) -> list[tuple[str, str, str]]:
    answer = subtrees.listing().answer
    assert isinstance(answer, SubtreePage)
    return [(line.fs_name, line.path, line.mode) for line in answer.subtrees]


def refused(result: Result, code: int, *says: str) -> None:
    assert (result.code, result.success, result.answer) == (code, False, None)
    assert "\n" not in result.status
    for part in says:
        assert part in result.status


def test_adopt_registers(subtrees: Subtrees):
    result = subtrees.adopt("cephfs", "//a/./b/", FACTS.encode())
    assert result.success
    assert result.status == f"registered subtree /a/b of cephfs, engine mode, key {KEY}"
    answer = subtrees.listing().answer
    assert answer is not None
    assert answer.simplified() == {
        "subtrees": [
            {
                "fs_name": "cephfs",
                "present": True,
                "path": "/a/b",
                "inode": 10,
                "mode": "engine",
                "contents": "AES-256-XTS",
                "names": "AES-256-CBC-CTS",
                "padding": 32,
                "key_identifier": KEY,
                "registered": NOW,
            }
        ],
        "following": None,
    }


def test_adopt_twice_is_once(subtrees: Subtrees):
    subtrees.adopt("cephfs", "/a", FACTS.encode())
    again = subtrees.adopt("cephfs", "/a", FACTS.encode())
    assert again.success
    assert "registered already" in again.status
    assert listed(subtrees) == [("cephfs", "/a", "engine")]


def test_adopt_tells_a_change_of_mode(subtrees: Subtrees):
    subtrees.adopt("cephfs", "/a", FACTS.encode())
    result = subtrees.adopt("cephfs", "/a", replace(FACTS, mode="kernel").encode())
    assert result.status.startswith("updated subtree /a of cephfs, kernel mode")
    assert listed(subtrees) == [("cephfs", "/a", "kernel")]


def test_dry_runs_change_nothing_and_say_what_would_be(subtrees: Subtrees):
    result = subtrees.adopt("cephfs", "/a", FACTS.encode(), dry_run=True)
    assert result.status == f"would register subtree /a of cephfs, engine mode, key {KEY}"
    assert listed(subtrees) == []
    subtrees.adopt("cephfs", "/a", FACTS.encode())
    changed = subtrees.adopt("cephfs", "/a", replace(FACTS, mode="kernel").encode(), dry_run=True)
    assert changed.status.startswith("would update subtree /a of cephfs, kernel mode")
    forgotten = subtrees.forget("cephfs", "/a", dry_run=True)
    assert forgotten.status.startswith("would forget subtree /a of cephfs")
    assert listed(subtrees) == [("cephfs", "/a", "engine")]


@pytest.mark.parametrize(
    ("name", "hint"), [("cehpfs", 'did you mean "cephfs"?'), ("x", "there is cephfs, scratch")]
)
def test_an_unknown_file_system(subtrees: Subtrees, name: str, hint: str):
    for result in (
        subtrees.adopt(name, "/a", FACTS.encode()),
        subtrees.forget(name, "/a"),
        subtrees.listing(name),
    ):
        refused(result, errno.ENOENT, f'file system "{name}" does not exist', "nothing was changed", hint)


def test_no_file_system_at_all(subtrees: Subtrees, cluster: Cluster):
    cluster.present = []
    refused(subtrees.listing("a"), errno.ENOENT, "ceph fs volume create")
    assert (
        subtrees.overview(version="1", ceph="ceph 20")
        .rendered("plain")[1]
        .endswith("There is no file system.")
    )


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("a", "does not begin with /"),
        ("", "does not begin with /"),
        ("/a/../b", "has .. in it"),
        ("/a\0b", "NUL"),
        ("/" + "é" * 128, "too long"),
        ("/" + "/".join(["a" * 250] * 17), "too long"),
        ("/\udcff", "not UTF-8"),
    ],
)
def test_paths_that_are_none(subtrees: Subtrees, path: str, says: str):
    refused(subtrees.adopt("cephfs", path, FACTS.encode()), errno.EINVAL, says, "nothing was changed")
    refused(subtrees.forget("cephfs", path), errno.EINVAL, says, "nothing was changed")


def test_reports_that_are_none(subtrees: Subtrees):
    refused(subtrees.adopt("cephfs", "/a", None), errno.EINVAL, "--report or -i FILE")
    refused(subtrees.adopt("cephfs", "/a", "{}"), errno.EINVAL, "not one of a subtree", "nothing was changed")
    assert listed(subtrees) == []


def test_a_report_that_contradicts_the_register(subtrees: Subtrees):
    subtrees.adopt("cephfs", "/a", FACTS.encode())
    other_key = replace(FACTS, policy=replace(FACTS.policy, key_identifier="ff" * 16))
    for facts in (replace(FACTS, inode=11), other_key):
        refused(
            subtrees.adopt("cephfs", "/a", facts.encode()),
            errno.EEXIST,
            f"registered with inode 10 and key {KEY}",
            "`ceph fscrypt subtree forget cephfs /a` first",
        )
    assert listed(subtrees) == [("cephfs", "/a", "engine")]


def test_an_inode_that_moved(subtrees: Subtrees):
    subtrees.adopt("cephfs", "/a", FACTS.encode())
    refused(
        subtrees.adopt("cephfs", "/b", FACTS.encode()),
        errno.EEXIST,
        "inode 10 is registered as subtree /a of cephfs",
        "`ceph fscrypt subtree forget cephfs /a` first",
    )


@pytest.mark.parametrize(("first", "second"), [("/a", "/a/b/c"), ("/a/b/c", "/a"), ("/", "/a"), ("/a", "/")])
def test_subtrees_do_not_nest(subtrees: Subtrees, first: str, second: str):
    subtrees.adopt("cephfs", first, FACTS.encode())
    inner = replace(FACTS, inode=11).encode()
    refused(
        subtrees.adopt("cephfs", second, inner),
        errno.EEXIST,
        "lie one in the other",
        f"cephfs {first}` first",
    )
    assert subtrees.adopt("scratch", second, inner).success


def test_neighbours_are_no_nesting(subtrees: Subtrees):
    for inode, path in enumerate(("/a", "/a.b", "/a b", "/ab"), 20):
        assert subtrees.adopt("cephfs", path, replace(FACTS, inode=inode).encode()).success


def test_forget(subtrees: Subtrees):
    subtrees.adopt("cephfs", "/secret", FACTS.encode())
    refused(
        subtrees.forget("cephfs", "/secrets"), errno.ENOENT, 'did you mean "/secret"?', "nothing was changed"
    )
    refused(subtrees.forget("cephfs", "/q"), errno.ENOENT, "`ceph fscrypt subtree ls cephfs`")
    refused(
        subtrees.forget("scratch", "/secret"), errno.ENOENT, "no subtree /secret is registered on scratch"
    )
    assert subtrees.forget("cephfs", "/secret/").success
    assert listed(subtrees) == []


def test_pages(subtrees: Subtrees):
    for inode in range(1, 8):
        subtrees.adopt(
            "cephfs" if inode < 5 else "scratch", f"/{inode}", replace(FACTS, inode=inode).encode()
        )
    after, seen = None, []
    for _ in range(3):
        answer = subtrees.listing(after=after, limit=3).answer
        assert isinstance(answer, SubtreePage)
        seen += [line.path for line in answer.subtrees]
        after = answer.following
    assert (seen, after) == ([f"/{inode}" for inode in range(1, 8)], None)
    assert "There are more: add `--after 1:/3`." in subtrees.listing(limit=3).rendered("plain")[1]
    exact = subtrees.listing("cephfs", limit=4).answer
    assert isinstance(exact, SubtreePage)
    assert exact.following is None


@pytest.mark.parametrize("limit", [0, -1, 5_001])
def test_limits(subtrees: Subtrees, limit: int):
    refused(subtrees.listing(limit=limit), errno.EINVAL, "limit must be from 1 to 5000")


@pytest.mark.parametrize("after", ["", "1", "/a", "x:/a", "-1:/a", "²:/a", "9" * 40 + ":/a"])
def test_places_that_are_none(subtrees: Subtrees, after: str):
    refused(subtrees.listing(after=after), errno.EINVAL, "is not a place in the list")


def test_a_file_system_that_was_renamed(subtrees: Subtrees, cluster: Cluster):
    subtrees.adopt("cephfs", "/a", FACTS.encode())
    cluster.present = [FileSystem(1, "renamed"), FileSystem(2, "scratch")]
    assert listed(subtrees) == [("renamed", "/a", "engine")]
    refused(subtrees.listing("cephfs"), errno.ENOENT)
    assert subtrees.forget("renamed", "/a").success


def test_a_file_system_that_was_removed_can_be_forgotten(subtrees: Subtrees, cluster: Cluster):
    subtrees.adopt("cephfs", "/a", FACTS.encode())
    cluster.present = [FileSystem(2, "scratch")]
    assert "cephfs (removed)  /a" in subtrees.listing("cephfs").rendered("plain")[1]
    overview = subtrees.overview(version="1", ceph="ceph 20").answer
    assert isinstance(overview, Overview)
    assert [(each.name, each.present, each.engine) for each in overview.file_systems] == [
        ("cephfs", False, 1),
        ("scratch", True, 0),
    ]
    assert subtrees.forget("cephfs", "/a").success
    assert listed(subtrees) == []


def test_a_new_file_system_with_an_old_name_has_none_of_its_subtrees(subtrees: Subtrees, cluster: Cluster):
    subtrees.adopt("cephfs", "/a", FACTS.encode())
    cluster.present = [FileSystem(3, "cephfs")]
    answer = subtrees.listing("cephfs").answer
    assert isinstance(answer, SubtreePage)
    assert answer.subtrees == ()


def test_overview_as_text_and_json(subtrees: Subtrees):
    subtrees.adopt("cephfs", "/a", FACTS.encode())
    subtrees.adopt("cephfs", "/b", replace(FACTS, inode=11, mode="kernel").encode())
    result = subtrees.overview(version="1.2", ceph="ceph 20.2.4")
    assert result.rendered("plain") == (
        0,
        "fscrypt 1.2, ceph 20.2.4\n"
        "\n"
        "FILE SYSTEM  SUBTREES  ENGINE MODE  KERNEL MODE\n"
        "cephfs              2            1            1\n"
        "scratch             0            0            0",
        "",
    )
    assert json.loads(result.rendered("json")[1]) == {
        "version": "1.2",
        "ceph": "ceph 20.2.4",
        "file_systems": [
            {"fscid": 1, "name": "cephfs", "present": True, "engine": 1, "kernel": 1},
            {"fscid": 2, "name": "scratch", "present": True, "engine": 0, "kernel": 0},
        ],
    }


def test_a_path_cannot_move_the_terminals_cursor(subtrees: Subtrees):
    result = subtrees.adopt("cephfs", "/a\x1b[2J\nb", FACTS.encode())
    assert "\x1b" not in result.status + subtrees.listing().rendered("plain")[1]
    assert "\n" not in result.status
    assert "/a\\x1b[2J\\nb" in subtrees.listing().rendered("plain")[1]


def test_advice_can_be_pasted_into_a_shell(subtrees: Subtrees):
    """Whoever registers a path must not choose what an administrator runs."""
    bait = "/a; reboot #"
    assert subtrees.adopt("cephfs", bait, FACTS.encode()).success
    for path in (bait + "/below", "/moved"):
        result = subtrees.adopt("cephfs", path, FACTS.encode())
        assert "`ceph fscrypt subtree forget cephfs '/a; reboot #'` first" in result.status
    other = SubtreeFacts(inode=11, mode="engine", policy=FACTS.policy)
    assert subtrees.adopt("cephfs", "/z", other.encode()).success
    assert "add `--after '1:/a; reboot #'`." in subtrees.listing(limit=1).rendered("plain")[1]


@pytest.mark.parametrize("text", ["\udcff", "\ud800x"])
def test_arguments_that_are_no_unicode(subtrees: Subtrees, text: str):
    """A shell's argument of other bytes than UTF-8 arrives like this."""
    for result in (
        subtrees.listing(text),
        subtrees.listing(after=f"1:{text}"),
        subtrees.forget(text, "/a"),
        subtrees.forget("cephfs", f"/{text}"),
        subtrees.adopt(text, "/a", FACTS.encode()),
        subtrees.adopt("cephfs", f"/{text}", FACTS.encode()),
        subtrees.adopt("cephfs", "/a", text),
    ):
        code, _, status = result.rendered("plain")
        assert code < 0
        status.encode()


def test_a_report_of_a_megabyte(subtrees: Subtrees):
    refused(subtrees.adopt("cephfs", "/a", "x" * 2**20), errno.EINVAL, "at most 4096 characters")
