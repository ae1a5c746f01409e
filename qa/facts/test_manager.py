"""M1 to M6, M11 to M13: what ceph-mgr does to a module. The module `factprobe` beside this file answers.

On 18.2.7 only what needs no running module is asserted: Debian's ceph-mgr of that release is broken (M1).
"""

import ast
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qa.facts.tree import until

if TYPE_CHECKING:
    from qa.lab.cluster import Cluster

MGR_MODULE = Path("/usr/share/ceph/mgr/mgr_module.py")
STORE_LIMIT = 65_536
"""Bytes of a value that the mon keeps."""
WAIT = 60.0


@pytest.fixture(scope="module")
def probe(cluster: "Cluster") -> Iterator["Cluster"]:
    """The cluster with the probe enabled."""
    cluster.enable_module("factprobe")
    until(lambda: answers(cluster), "an answer of factprobe", WAIT)
    yield cluster
    with mgr_starts_anew(cluster):
        cluster.ceph("mgr", "module", "disable", "factprobe")


def answers(cluster: "Cluster") -> bool:
    words = ["ceph", "factprobe", "option"]
    return subprocess.run(words, capture_output=True, timeout=WAIT, check=False).returncode == 0


def ask(cluster: "Cluster", *words: str) -> str:
    return cluster.ceph("factprobe", *words).strip()


def instance(cluster: "Cluster") -> int:
    number: int = cluster.ceph_json("mgr", "dump")["active_gid"]
    return number


def sessions_of_mgr(cluster: "Cluster") -> set[int]:
    """The CephFS sessions of the mgr's own modules (volumes)."""
    pid = str(cluster.pid("mgr", "x"))
    sessions = cluster.ceph_json("tell", "mds.cephfs:0", "session", "ls")
    return {one["id"] for one in sessions if one["client_metadata"].get("pid") == pid}


@contextmanager
def mgr_starts_anew(cluster: "Cluster") -> Iterator[None]:
    """Wait until what is done in the block has led to another mgr.

    The old one does not unmount what its modules had mounted: those sessions would block others for 60 s (F14).
    """
    before, mounted = instance(cluster), sessions_of_mgr(cluster)
    yield
    until(lambda: instance(cluster) not in (0, before), "another mgr", WAIT)
    for session in mounted & {
        one["id"] for one in cluster.ceph_json("tell", "mds.cephfs:0", "session", "ls")
    }:
        cluster.ceph("tell", "mds.cephfs:0", "client", "evict", f"id={session}")


def fail_mgr(cluster: "Cluster") -> None:
    """Let the mgr start anew, and wait until the probe answers again."""
    with mgr_starts_anew(cluster):
        cluster.ceph("mgr", "fail")
    until(lambda: answers(cluster), "factprobe after the mgr's failure", WAIT)


def test_m1_crypto_extensions_do_not_load_in_a_sub_interpreter(cluster: "Cluster") -> None:
    """18.2.7 runs every module in one, so none loads without a shim; 20.2.4 runs all modules in the main one."""
    if cluster.release == "tentacle":
        assert cluster.ceph("config", "get", "mgr", "mgr_subinterpreter_modules").strip() == ""
    interpreters = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
    program = f"import {interpreters} as i; print(i.run_string(i.create(), 'import cryptography.exceptions'))"
    said = subprocess.run(
        ["/usr/bin/python3", "-c", program], capture_output=True, text=True, timeout=WAIT, check=False
    )
    assert "does not support loading in subinterpreters" in said.stdout + said.stderr or (
        "may only be initialized once per interpreter process" in said.stdout + said.stderr
    )


def test_m2_a_module_that_the_mgr_does_not_know_cannot_be_enabled(cluster: "Cluster") -> None:
    with pytest.raises(Exception, match="ENOENT"):
        cluster.ceph("mgr", "module", "enable", "factnone")


def test_m3_the_releases_name_the_command_decorator_differently(cluster: "Cluster") -> None:
    body = ast.parse(MGR_MODULE.read_text()).body
    classes = {node.name: node for node in body if isinstance(node, ast.ClassDef)}
    assert ("CLICommandBase" in classes) == (cluster.release == "tentacle")
    assert ("CLICommand" in classes) == (cluster.release == "reef")
    if cluster.release == "tentacle":
        methods = {node.name for node in classes["CLICommandBase"].body if isinstance(node, ast.FunctionDef)}
        assert "make_registry_subtype" in methods


@pytest.mark.tentacle
def test_m4_a_large_value_is_not_kept_though_it_seems_to_be(probe: "Cluster") -> None:
    assert ask(probe, "store-set", str(STORE_LIMIT)) == str(STORE_LIMIT)
    fail_mgr(probe)
    assert ask(probe, "store-size") == str(STORE_LIMIT)
    assert ask(probe, "store-set", str(STORE_LIMIT + 1)) == str(STORE_LIMIT + 1)
    fail_mgr(probe)
    assert ask(probe, "store-size") != str(STORE_LIMIT + 1)


@pytest.mark.tentacle
def test_m4_the_database_keeps_a_transaction_and_is_quick(probe: "Cluster") -> None:
    count = 20_000
    before = int(ask(probe, "rows-count"))
    seconds = float(ask(probe, "rows-insert", str(count)))
    print(f"sampled: M4 {count} rows in one transaction, {seconds:.2f} s")
    fail_mgr(probe)
    assert int(ask(probe, "rows-count")) == before + count


@pytest.mark.tentacle
def test_m5_health_checks_vanish_with_the_mgr(probe: "Cluster") -> None:
    def raised() -> bool:
        return "FACTPROBE" in probe.ceph_json("health")["checks"]

    ask(probe, "check-set")
    until(raised, "the health check", WAIT)
    fail_mgr(probe)
    until(lambda: not raised(), "the health check gone", WAIT)


@pytest.mark.tentacle
def test_m5_what_a_module_can_use(probe: "Cluster") -> None:
    # the default comes as it was written down, here an int
    assert ask(probe, "option") == "int"
    probe.ceph("config", "set", "mgr", "mgr/factprobe/pause", "30")
    until(lambda: ask(probe, "option") == "float", "the option that was set, as a float", WAIT)
    probe.ceph("config", "rm", "mgr", "mgr/factprobe/pause")
    assert ask(probe, "attributes") == "'' False"
    ask(probe, "progress")
    until(lambda: "factprobe at work" in probe.ceph("progress"), "the progress event", WAIT)


@pytest.mark.tentacle
def test_m6_m12_a_handler_gets_arguments_and_inbuf_and_not_the_caller(
    probe: "Cluster", tmp_path: Path
) -> None:
    (tmp_path / "input").write_text("from-a-file")
    word = f"argument-{time.time_ns()}"
    said = ask(probe, "received", word, "-i", str(tmp_path / "input"))
    assert said == "'from-a-file' ['prefix', 'target', 'word']"

    def log() -> str:
        return probe.ceph("log", "last", "500", "debug", "audit")

    until(lambda: word in log(), "the command in the audit log", WAIT)
    assert "from-a-file" not in log()


@pytest.mark.tentacle
def test_m11_plain_children_outlive_the_mgr(probe: "Cluster") -> None:
    def runs(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
        except FileNotFoundError:
            return False

    plain, reader, bound = map(int, ask(probe, "children").split())
    try:
        assert runs(plain)
        assert runs(reader)
        assert runs(bound)
        fail_mgr(probe)
        until(lambda: not runs(reader) and not runs(bound), "the end of the careful children", WAIT)
        assert runs(plain)
    finally:
        os.kill(plain, signal.SIGKILL)
