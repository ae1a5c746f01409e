"""A second secret that leaks on purpose, into each kind of place: a searcher that does not find it proves nothing."""

import base64
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import rados

from mgr_fscrypt.messages import Policy, SubtreeFacts
from qa.lab.cluster import Cluster

from .flows import Scene
from .forms import Secret

_POOL = "cephfs_data"
_FACTS = SubtreeFacts(
    inode=1 << 42, mode="engine", policy=Policy("AES-256-XTS", "AES-256-CBC-CTS", 32, "0" * 32)
)


def new_decoy() -> Secret:
    """A random one; `Secret` takes no newline."""
    return Secret("decoy", os.urandom(64).replace(b"\n", b"x"))


@contextmanager
def shown_by_a_process(decoy: Secret) -> Iterator[None]:
    """Leak it as an argument, and through the environment."""
    value = decoy.value.hex()
    process = subprocess.Popen(
        ["sh", "-c", "read end", "sh", value.upper()], env={"DECOY": value}, stdin=subprocess.PIPE
    )
    try:
        yield
    finally:
        process.communicate()


@contextmanager
def left_behind(decoy: Secret, scene: Scene, cluster: Cluster, client: rados.Rados) -> Iterator[None]:
    """Leak it into all places that stay; what is on the cluster is removed afterwards, but for its logs."""
    value, written = decoy.value, decoy.value.hex()
    # what is before it shifts it against the groups of three bytes
    (scene.folder / "outputs" / "decoy.out").write_bytes(base64.b64encode(b"key=" + value))
    (scene.cache / "decoy").write_bytes(b"\0" * 4095 + value)
    cluster.ceph("log", f"the key is {written}")
    with client.open_ioctx(_POOL) as ioctx, ExitStack() as undone:
        ioctx.set_namespace("decoys")
        undone.callback(ioctx.remove_object, "decoy")
        ioctx.write_full("decoy", b"\0" * 100 + value)
        undone.callback(cluster.ceph, "config-key", "rm", "decoy")
        cluster.ceph("config-key", "set", "decoy", base64.urlsafe_b64encode(value).decode())
        path = f"/{written}"
        undone.callback(cluster.ceph, "fscrypt", "subtree", "forget", "cephfs", path)
        cluster.ceph("fscrypt", "subtree", "adopt", "cephfs", path, "-i", "-", stdin=_FACTS.encode())
        yield
