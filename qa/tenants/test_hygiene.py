"""No secret of a key manager lies where it must not: neither what opens it, nor what it wraps."""

from pathlib import Path

import pytest

from qa.cluster.test_manager import forget
from qa.hygiene.managed import prove_managed
from qa.kms.bao import Bao
from qa.lab.cluster import Cluster


# some 25 commands, and another service of the manager's
@pytest.mark.timeout(900)
def test_the_secrets_are_nowhere(cluster: Cluster, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory):
    cluster.enable_module("fscrypt")
    for directory in (tmp_path.parent.parent, tmp_path.parent, tmp_path):
        # the manager's service starts there
        directory.chmod(0o755)
    bao = Bao(tmp_path_factory.mktemp("bao"))
    try:
        results = prove_managed(tmp_path, cluster, bao)
    finally:
        bao.stop()
        forget(cluster, "--text", "/hygiene-")
    print(f"sampled: hygiene with a key manager: {'; '.join(map(str, results))}")
    assert [leak for one in results for leak in one.leaks] == []
