"""Metrics, and alert rules and the dashboard as Prometheus reads them: promtool is beside 20.2 only."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from qa.cluster.test_manager import answered
from qa.lab.cluster import Cluster

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "mgr_fscrypt/monitoring/alerts.yml"


def promtool(*words: str | Path, stdin: str = "") -> str:
    done = subprocess.run(
        ["promtool", *map(str, words)], input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_cluster_is_measured(cluster: Cluster):
    cluster.enable_module("fscrypt")
    told = answered(cluster, "metrics")
    assert "\nceph_fscrypt_database_up 1\n" in told
    assert '\nceph_fscrypt_subtrees{fs="cephfs",mode="engine"} ' in told
    again = json.loads(answered(cluster, "metrics", "--format", "json"))["metrics"]
    assert {each["type"] for each in again} == {"gauge", "counter"}


@pytest.mark.tentacle
def test_prometheus_reads_what_is_measured(cluster: Cluster):
    cluster.enable_module("fscrypt")
    # what it warns of is on its standard error, and there is nothing
    assert promtool("check", "metrics", stdin=answered(cluster, "metrics")) == ""


@pytest.mark.tentacle
def test_alert_rules_are_raised_when_they_are_to_be():
    assert "SUCCESS: 16 rules found" in promtool("check", "rules", ALERTS)
    assert "SUCCESS" in promtool("test", "rules", ROOT / "qa/vectors/monitoring/alerts.test.yml")


@pytest.mark.tentacle
def test_what_the_dashboard_asks_can_be_asked(tmp_path: Path):
    dashboard = json.loads((ROOT / "mgr_fscrypt/monitoring/dashboard.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = [{"record": f"asked:{number}", "expr": text} for number, text in enumerate(asked)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"SUCCESS: {len(asked)} rules found" in promtool("check", "rules", file)
