"""No secret lies where it must not, after all that can be done with it; and the search would have found it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import rados

from qa.hygiene import proof
from qa.hygiene.flows import Scene
from qa.hygiene.forms import Needles, Secret
from qa.hygiene.objects import search_objects
from qa.hygiene.proof import prove
from qa.lab.cluster import Cluster

SECRET = Secret("planted", bytes(range(192, 256)))


@pytest.fixture(autouse=True)
def enabled(cluster: Cluster) -> None:
    cluster.enable_module("fscrypt")


@pytest.fixture
def client(cluster: Cluster) -> Iterator[rados.Rados]:
    with rados.Rados(conffile=str(cluster.directory / "ceph.conf")) as connected:
        yield connected


# some 40 commands, each of which starts an interpreter: on a busy machine that takes its time
@pytest.mark.timeout(900)
def test_the_key_is_nowhere(cluster: Cluster, tmp_path: Path):
    results = prove(tmp_path, cluster)
    print(f"sampled: hygiene, each flow once: {'; '.join(map(str, results))}")
    assert [leak for one in results for leak in one.leaks] == []


def test_a_flow_that_leaks_is_found(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def leaking(scene: Scene) -> None:
        shown = f"print({scene.key.read_bytes()!r})"
        for command in ("put", "ls", "mount"):
            scene.program(command, text=f"import time; time.sleep(0.2)\n{shown}")
        scene.program("subtree", "create", scene.subtree, "--make", *scene.ours())
        scene.program("put", scene.folder / "tree", scene.subtree, *scene.ours())
        scene.cache.mkdir()
        scene.mount_log.write_bytes(scene.key.read_bytes())
        cluster.ceph("log", scene.key.read_bytes().hex())

    monkeypatch.setattr(proof, "FLOWS", (leaking,))
    found = {one.kind: {leak.form for leak in one.leaks} for one in prove(tmp_path, cluster)}
    assert found == {
        # of `ceph log`, too
        "arguments and environment": {"hex", "repr"},
        "core dumps": set(),
        "what our programs said": {"repr"},
        "the mount's cache and log": {"raw"},
        "Ceph's logs": {"hex"},
        # the cluster log is kept there, too
        "the monitor's store": {"hex"},
        "objects": set(),
        "manager database": set(),
    }


@pytest.mark.parametrize("place", ["data", "omap key", "omap value", "attribute"])
@pytest.mark.parametrize("namespace", ["", "deep"])
def test_objects(client: rados.Rados, place: str, namespace: str):
    with client.open_ioctx("cephfs_meta") as ioctx:
        ioctx.set_namespace(namespace)
        ioctx.write_full("planted", b"fine")
        try:
            with rados.WriteOpCtx() as operation:
                match place:
                    case "data":
                        operation.write_full(b"\0" * 77 + SECRET.value)
                    case "omap key":
                        ioctx.set_omap(operation, (SECRET.value.hex(),), (b"",))
                    case "omap value":
                        ioctx.set_omap(operation, ("name",), (SECRET.value,))
                    case _:
                        operation.set_xattr("name", SECRET.value)
                ioctx.operate_write_op(operation, "planted")
            (leak,) = search_objects(client, Needles([SECRET])).leaks
        finally:
            ioctx.remove_object("planted")
    assert leak.where == "object planted of pool cephfs_meta"
    assert leak.form == ("hex" if place == "omap key" else "raw")
