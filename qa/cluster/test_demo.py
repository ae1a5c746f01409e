"""The demo on a small tree: every promise that it shows is checked, on both releases."""

import json
import subprocess
import sys
from pathlib import Path

import cephfs
import pytest

from qa.lab.cluster import Cluster


@pytest.mark.usefixtures("settled_manager")
def test_the_main_job_as_the_demo_shows_it(cluster: Cluster) -> None:
    tree = Path(json.__file__).parent
    told = subprocess.run(
        [sys.executable, "-m", "qa.demo", str(tree)], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr
    files = sum(path.is_file() for path in tree.rglob("*"))
    print(f"sampled: demo with {files} files")
    assert f"{files} files" in told.stdout.partition("== Summary")[2]
    assert "/demo/vault" in told.stdout
    mount = cephfs.LibCephFS(conffile=str(cluster.directory / "ceph.conf"))
    mount.mount()
    mount.rename("/demo", f"/demo-{cluster.release}-shown")
    mount.shutdown()
