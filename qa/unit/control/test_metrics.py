"""Metrics and what reads them: the exposition, the dashboard, the alert rules, and the page that lists them."""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mgr_fscrypt.control import Result
from mgr_fscrypt.control.exposition import Exposition, Family, Sample
from mgr_fscrypt.control.metrics import FAMILIES
from mgr_fscrypt.messages import KeyFacts, Policy, SubtreeFacts
from mgr_fscrypt.messages.job import Jobs, JobState, JobWish, brief
from mgr_fscrypt.messages.service import BackendState, KeyState, ServiceStatus
from qa.fakes.manager import Loaded, loaded
from qa.fakes.servers import FakeServers, session

ROOT = Path(__file__).resolve().parents[3]
MONITORING = ROOT / "mgr_fscrypt/monitoring"
KEY = "00" * 16
SUBTREE = SubtreeFacts(7, "engine", Policy("AES-256-XTS", "AES-256-CBC-CTS", 32, KEY)).encode()
BY_NAME = {each.name: each for each in FAMILIES}


@pytest.fixture
def manager() -> Iterator[Loaded]:
    with loaded() as found:
        yield found


def measured(manager: Loaded) -> dict[str, float]:
    """Each line of the text that is no comment."""
    lines = manager.run("metrics").stdout.splitlines()
    return {
        name: float(value) for name, _, value in (each.rpartition(" ") for each in lines if each[0] != "#")
    }


def test_the_text_is_what_prometheus_reads():
    family = Family("a_total", "counter", 'back\\slash\nand "quotes"', ("x", "y"))
    other = Family("b", "gauge", "b.")
    shown = Exposition(
        (Sample(family, 1, ('q"\\\n', "\udcff")), Sample(other, 0.25), Sample(family, 2.0, ("", "z")))
    )
    assert shown.plain() == (
        '# HELP a_total back\\\\slash\\nand "quotes"\n'
        "# TYPE a_total counter\n"
        'a_total{x="q\\"\\\\\\n",y="\\\\udcff"} 1\n'
        'a_total{x="",y="z"} 2\n'
        "# HELP b b.\n"
        "# TYPE b gauge\n"
        "b 0.25\n"
    )
    assert json.loads(json.dumps(shown.simplified()))["metrics"][1] == {
        "name": "b",
        "type": "gauge",
        "help": "b.",
        "samples": [{"labels": {}, "value": 0.25}],
    }


@pytest.mark.parametrize("family", FAMILIES, ids=lambda each: each.name)
def test_names_and_labels(family: Family):
    assert re.fullmatch(r"ceph_fscrypt_[a-z_]+", family.name)
    assert family.name.endswith("_total") == (family.kind == "counter")
    assert family.help.endswith(".")
    assert set(family.labels) <= {
        "fs",
        "mode",
        "state",
        "verdict",
        "rung",
        "kms",
        "kind",
        "direction",
        "what",
        "where",
        "name",
        "severity",
        "release",
    }


def test_everything_is_counted(manager: Loaded):
    module = manager.module
    manager.run("subtree adopt", "cephfs", "/a", report=SUBTREE)
    key = KeyFacts(KEY, "k", "acme", "active", 1, 1, 5, 0, 5, ())
    manager.run("key adopt", "cephfs", report=key.encode())
    servers = FakeServers()
    servers.listed["cephfs", 0] = [session(1), session(2, fscrypt_engine="1")]
    module.observer._servers = servers
    module.observer.look()
    assert manager.run("gate set", "cephfs", "/", "require").retval == 0
    told = measured(manager)
    assert told['ceph_fscrypt_subtrees{fs="cephfs",mode="engine"}'] == 1
    assert told['ceph_fscrypt_subtrees{fs="scratch",mode="kernel"}'] == 0
    assert told['ceph_fscrypt_keys{fs="cephfs",state="active"}'] == 1
    assert told['ceph_fscrypt_keys_expiring{fs="cephfs"}'] == 1
    assert told['ceph_fscrypt_keys_untested{fs="cephfs"}'] == 1
    assert told['ceph_fscrypt_rotations_overdue{fs="scratch"}'] == 0
    assert told['ceph_fscrypt_clients{fs="cephfs",verdict="harmful"}'] == 1
    assert told['ceph_fscrypt_clients{fs="cephfs",verdict="harmless"}'] == 1
    assert told['ceph_fscrypt_gates{fs="cephfs",rung="require",state="wanted"}'] == 1
    assert told["ceph_fscrypt_audit_records_total"] == 3
    assert told["ceph_fscrypt_last_look_timestamp_seconds"] > 1e9
    assert (told["ceph_fscrypt_database_up"], told['ceph_fscrypt_service{state="down"}']) == (1, 1)


def test_the_service_and_health(manager: Loaded):
    wish = JobWish(KEY, "scan", 1, "/", {})
    job = JobState(wish, "waiting", "", 1.0, 0, None, "", 0, None, (), "", None, 1.0, None, None)
    status = ServiceStatus(
        release="0.1.0",
        pid=7,
        host="a",
        started=1.0,
        state="serving",
        since=2.0,
        epoch=3,
        holder="",
        trouble="",
        longest=0.0,
        keys=(KeyState(KEY, "unlocked", 1, None, ""),),
        tenant_keys=(),
        backends=(BackendState("vault", False, 1.0, "Timeout", 1.0, None),),
        rotations=(),
        jobs=Jobs(3, 1, 4, (brief(job),)),
    )
    manager.module.service._tell("serving", service=status)
    manager.module._stopping.wait = lambda _seconds: manager.module._stopping.set()
    manager.module.service.run = lambda: None
    manager.module.serve()
    told = measured(manager)
    assert told['ceph_fscrypt_service{state="serving"}'] == 1
    assert told['ceph_fscrypt_service_keys{state="unlocked"}'] == 1
    assert [told[f'ceph_fscrypt_jobs{{state="{state}"}}'] for state in ("active", "waiting", "failed")] == [
        2,
        1,
        4,
    ]
    assert told['ceph_fscrypt_kms_reachable{kms="vault"}'] == 0
    assert told['ceph_fscrypt_job_kinds{kind="scan",state="waiting"}'] == 1
    assert told['ceph_fscrypt_health_check{name="FSCRYPT_KMS_UNREACHABLE",severity="warning"}'] == 1


def test_what_needs_no_database_is_told_without_it(manager: Loaded):
    manager.module._answer = lambda _work: Result.failed(11, "no database")
    manager.module.metrics._answer = manager.module._answer
    told = measured(manager)
    assert told["ceph_fscrypt_database_up"] == 0
    assert told['ceph_fscrypt_info{release="0.1.0"}'] == 1
    assert not any(name.startswith("ceph_fscrypt_subtrees") for name in told)


def test_the_page_lists_them_all():
    page = (ROOT / "doc/monitoring.md").read_text()
    rows = re.findall(r"^\| `(ceph_fscrypt_[a-z_]+)` \| (\w+) \|([^|]*)\|", page, re.MULTILINE)
    listed = {name: (kind, labels.replace("`", "").replace(" ", "")) for name, kind, labels in rows}
    assert listed == {each.name: (each.kind, ",".join(each.labels)) for each in FAMILIES}


def test_the_dashboard_queries_what_there_is():
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    panels = dashboard["panels"]
    assert len({each["id"] for each in panels}) == len(panels)
    places = [
        (x, y)
        for each in panels
        for x in range(each["gridPos"]["x"], each["gridPos"]["x"] + each["gridPos"]["w"])
        for y in range(each["gridPos"]["y"], each["gridPos"]["y"] + each["gridPos"]["h"])
    ]
    assert len(set(places)) == len(places), "panels lie on each other"
    assert max(x for x, _ in places) < 24
    queried = set()
    for each in panels:
        assert each["title"]
        assert each["description"]
        assert len({target["refId"] for target in each["targets"]}) == len(each["targets"])
        for target in each["targets"]:
            queried |= known(target["expr"])
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= labels_of(target["expr"])
    queried |= known(dashboard["templating"]["list"][1]["definition"])
    assert queried == set(BY_NAME) - {"ceph_fscrypt_info"}, "each metric is seen"


def test_alert_rules_ask_for_what_there_is():
    for name, rule in alerts().items():
        assert re.fullmatch(r"CephFscrypt\w+", name)
        assert known(rule["expr"]) or "ceph_health_detail" in rule["expr"]
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert {"summary", "description"} <= rule["annotations"].keys()


def test_every_alert_is_tested():
    """That each is raised in the end: promtool looks at the list (qa/cluster/test_monitoring.py)."""
    tests = yaml.safe_load((ROOT / "qa/vectors/monitoring/alerts.test.yml").read_text())["tests"]
    (last,) = tests[-1]["promql_expr_test"]
    fired = re.findall(r'alertname="(\w+)"', str(last["exp_samples"]))
    assert sorted(fired) == sorted(alerts())


def alerts() -> dict[str, Any]:
    groups = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def known(expression: str) -> set[str]:
    """Our metrics in an expression; each of them is one, and has the labels that it is asked for."""
    found = set(re.findall(r"ceph_fscrypt_[a-z_]+", expression))
    assert found <= BY_NAME.keys()
    asked = set(re.findall(r"(\w+)=~?\"", expression))
    asked |= {word for words in re.findall(r"by \(([\w, ]+)\)", expression) for word in words.split(", ")}
    if found:
        assert asked <= labels_of(expression)
    return found


def labels_of(expression: str) -> set[str]:
    names = set(re.findall(r"ceph_fscrypt_[a-z_]+", expression))
    return {label for name in names for label in BY_NAME[name].labels}


def test_nothing_is_logged_by_being_measured(manager: Loaded, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        manager.run("metrics")
    assert caplog.records == []
