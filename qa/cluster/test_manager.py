"""The module in a real ceph-mgr. 18.2.7's mgr crashes by itself now and then (doc/facts.md M1): what is asked of
it here starts it again."""

import json
import subprocess
import time
from collections.abc import Iterator

import pytest
import yaml

from mgr_fscrypt.control import ActPage, Overview, SubtreePage
from mgr_fscrypt.messages import RELEASE, Policy, SubtreeFacts
from qa.lab.cluster import Cluster, ClusterError
from qa.load.promptness import prompt

KEY = "00112233445566778899aabbccddeeff"
# inode numbers that the MDS gives to no directory of these tests
FACTS = SubtreeFacts(
    inode=0x7FFF_0000_0001, mode="engine", policy=Policy("AES-256-XTS", "AES-256-CBC-CTS", 32, KEY)
)
PATH = "/test-manager/a"
TENANT = "{kind: fscrypt.tenant, version: 1, fs: cephfs, name: acme, kms: vault}"


def answered(cluster: Cluster, *command: str, report: str | None = None) -> str:
    """What a command answers, once the module is there again."""
    given = ("-i", "-") if report is not None else ()
    found: list[str] = []

    def ask() -> bool:
        # 18.2.7's mgr crashes by itself (M1); one that runs is left alone
        cluster.start("mgr", "x")
        found.append(cluster.ceph("fscrypt", *command, *given, stdin=report, timeout=20))
        return True

    cluster.wait(f"ceph fscrypt {' '.join(command)}", ask, timeout=90)
    return found[0]


def listed(cluster: Cluster) -> list[tuple[str, str]]:
    page = SubtreePage.restored(json.loads(answered(cluster, "subtree", "ls", "cephfs", "--format", "json")))
    return [(line.path, line.mode) for line in page.subtrees if line.path.startswith("/test-manager")]


def forget(cluster: Cluster, *filters: str) -> None:
    """Have the manager forget subtrees that a test leaves behind: its health tells of their keys."""
    page = json.loads(answered(cluster, "subtree", "ls", "cephfs", *filters, "--format", "json"))
    for line in page["subtrees"]:
        answered(cluster, "subtree", "forget", "cephfs", line["path"])


def refused(cluster: Cluster, *command: str, report: str | None = None) -> tuple[int, str]:
    """The exit code and the words of a command that is refused."""
    given = ["-i", "-"] if report is not None else []
    done = subprocess.run(
        ["ceph", "fscrypt", *command, *given],
        input=report,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", "CEPH_CONF": str(cluster.directory / "ceph.conf")},
    )
    return done.returncode, done.stderr.strip()


@pytest.fixture(scope="module", autouse=True)
def enabled(cluster: Cluster) -> None:
    cluster.enable_module("fscrypt")


@pytest.fixture
def registered(cluster: Cluster) -> Iterator[None]:
    answered(cluster, "subtree", "adopt", "cephfs", PATH, report=FACTS.encode())
    yield
    answered(cluster, "subtree", "forget", "cephfs", PATH)


def test_status_answers(cluster: Cluster):
    assert answered(cluster, "status").startswith(f"fscrypt {RELEASE}, ceph ")
    overview = Overview.restored(json.loads(answered(cluster, "status", "--format", "json")))
    assert (overview.version, [each.name for each in overview.file_systems]) == (RELEASE, ["cephfs"])


@pytest.mark.usefixtures("registered")
def test_an_adopted_subtree_is_listed(cluster: Cluster):
    assert listed(cluster) == [(PATH, "engine")]
    assert PATH in answered(cluster, "subtree", "ls")
    answered(cluster, "subtree", "adopt", "cephfs", PATH, "--dry-run", report=FACTS.encode())
    pretty = answered(cluster, "subtree", "ls", "--format", "json-pretty")
    assert KEY in pretty
    assert "\n  " in pretty


@pytest.mark.usefixtures("registered")
def test_filters_and_yaml(cluster: Cluster):
    # `--key` would be ceph's own
    for filters in (
        # others have left subtrees in engine mode
        ("--mode", "engine", "--below", "/test-manager"),
        ("--master-key", KEY),
        ("--below", "/test-manager"),
        ("--text", "manager/a"),
    ):
        answer = yaml.safe_load(answered(cluster, "subtree", "ls", *filters, "--format", "yaml"))
        assert [line["path"] for line in answer["subtrees"]] == [PATH], filters
    assert f"subtree {PATH} of cephfs" in answered(cluster, "subtree", "show", "cephfs", PATH)


@pytest.mark.usefixtures("registered")
def test_what_is_shown_can_be_applied(cluster: Cluster):
    document = answered(cluster, "show", "cephfs")
    (resource,) = [each for each in yaml.safe_load(document)["resources"] if each.get("path") == PATH]
    answered(cluster, "subtree", "forget", "cephfs", PATH)
    assert "would change" in answered(cluster, "apply", "--dry-run", report=document)
    assert "changed" in answered(cluster, "apply", report=document)
    assert listed(cluster) == [(PATH, "engine")]
    outcomes = json.loads(answered(cluster, "apply", "--format", "json", report=json.dumps(resource)))[
        "outcomes"
    ]
    assert [each["outcome"] for each in outcomes] == ["unchanged"]


def test_acts_are_recorded_and_told_to_the_clusters_log(cluster: Cluster):
    answered(cluster, "subtree", "adopt", "cephfs", PATH, report=FACTS.encode())
    answered(cluster, "subtree", "forget", "cephfs", PATH)
    page = ActPage.restored(json.loads(answered(cluster, "audit", "ls", "--limit", "20", "--format", "json")))
    # a command may have been given twice, since an answer may be lost with a manager
    newest = [
        next(act for act in page.acts if (act.command, act.about) == (f"subtree {verb}", f"cephfs {PATH}"))
        for verb in ("forget", "adopt")
    ]
    assert {act.code for act in newest} == {0}
    told = [f"fscrypt audit {act.number}:{act.digest}" for act in newest]
    cluster.wait(
        "our lines in the cluster's log",
        lambda: all(line in cluster.ceph("log", "last", "500", "info", "audit") for line in told),
    )
    assert "are whole" in answered(
        cluster, "audit", "verify", "--after", f"{newest[1].number}:{newest[1].digest}"
    )


@pytest.mark.usefixtures("registered")
def test_pages(cluster: Cluster):
    other = SubtreeFacts(inode=FACTS.inode + 1, mode="kernel", policy=FACTS.policy)
    answered(cluster, "subtree", "adopt", "cephfs", "/test-manager/b", report=other.encode())
    first = json.loads(answered(cluster, "subtree", "ls", "--limit", "1", "--format", "json"))
    seen = [line["path"] for line in first["subtrees"]]
    while first["following"]:
        question = ("subtree", "ls", "--limit", "1", "--after", first["following"], "--format", "json")
        first = json.loads(answered(cluster, *question))
        seen += [line["path"] for line in first["subtrees"]]
    answered(cluster, "subtree", "forget", "cephfs", "/test-manager/b")
    assert [path for path in seen if path.startswith("/test-manager")] == [PATH, "/test-manager/b"]


@pytest.mark.usefixtures("registered")
def test_the_register_survives_a_failover_of_the_manager(cluster: Cluster):
    before = cluster.ceph_json("mgr", "dump")["active_gid"]
    cluster.ceph("mgr", "fail")
    cluster.wait("a new mgr", lambda: cluster.ceph_json("mgr", "dump")["active_gid"] not in (before, 0))
    assert listed(cluster) == [(PATH, "engine")]


@pytest.mark.usefixtures("registered")
def test_the_register_survives_being_disabled(cluster: Cluster):
    cluster.ceph("mgr", "module", "disable", "fscrypt")
    cluster.enable_module("fscrypt")
    assert listed(cluster) == [(PATH, "engine")]


def test_health_says_nothing_about_us(cluster: Cluster):
    answered(cluster, "status")

    def says_nothing() -> bool:
        checks = cluster.ceph_json("health", "detail")["checks"]
        return not [name for name in checks if name.startswith(("FSCRYPT", "MGR_MODULE"))]

    # of clients that are gone it tells until its next look
    cluster.wait("health without us", says_nothing)


@pytest.mark.tentacle
@pytest.mark.parametrize(
    ("command", "report", "code", "says"),
    [
        (("subtree", "ls", "cepfs"), None, 2, 'did you mean "cephfs"?'),
        (("subtree", "forget", "cephfs", "/none"), None, 2, "no subtree /none is registered"),
        (("subtree", "adopt", "cephfs", PATH), "{}", 22, "not one of a subtree"),
        (("subtree", "adopt", "cephfs", "relative"), FACTS.encode(), 22, "does not begin with /"),
        (("status", "--format", "xml"), None, 22, 'there is no format "xml"'),
        (("subtree", "ls", "--mode", "both"), None, 22, 'there is no mode "both"'),
        (("apply",), "- kind: fscrypt.file", 22, "resource 1: kind must be one of"),
        (("apply",), TENANT, 95, "1 for a client to do"),
    ],
)
def test_refusals(cluster: Cluster, command: tuple[str, ...], report: str | None, code: int, says: str):
    answered(cluster, "status")
    assert refused(cluster, *command, report=report)[0] == code
    assert says in refused(cluster, *command, report=report)[1]
    assert listed(cluster) == []


@pytest.mark.tentacle
def test_a_database_that_does_not_answer_holds_nobody_up(cluster: Cluster):
    answered(cluster, "status")
    # without its OSD every statement on the database waits
    cluster.stop("osd", "0")
    try:
        begun = time.monotonic()
        code, words = refused(cluster, "subtree", "adopt", "cephfs", PATH, report=FACTS.encode())
        prompt(time.monotonic() - begun, 20)
        assert (code, "the manager's database did not answer in 5 s" in words) == (11, True), words
        cluster.ceph("mgr", "module", "ls", timeout=20)
    finally:
        cluster.start("osd", "0")
    cluster.wait("the OSD", lambda: cluster.ceph_json("osd", "stat")["num_up_osds"] == 1)
    answered(cluster, "subtree", "adopt", "cephfs", PATH, report=FACTS.encode())
    assert listed(cluster) == [(PATH, "engine")]
    answered(cluster, "subtree", "forget", "cephfs", PATH)


@pytest.mark.tentacle
def test_a_module_that_is_not_enabled_answers_nothing(cluster: Cluster):
    cluster.ceph("mgr", "module", "disable", "fscrypt")
    try:
        with pytest.raises(ClusterError, match="fscrypt"):
            cluster.ceph("fscrypt", "status")
    finally:
        cluster.enable_module("fscrypt")
