"""What pages leave on a cluster, put away: the next page, and the tests beside, find it as it was.

`/etc/ceph` and `/opt` are the pages' own meanwhile; ceph-mgr, whose service opens keys, sees them as well.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rados

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from qa.fakes.engine_cases import remove
from qa.lab.cluster import Cluster

from . import inventory

_NAMESPACE = "fscrypt.keys"
_POOL = "cephfs_meta"
_OURS = ("/etc/ceph", "/opt")


@contextmanager
def cleared(cluster: Cluster) -> Iterator[None]:
    """Take back what is made inside the block: gates, records, options, directories at the top, kept keys."""
    folders, kept = _folders(), _kept()
    for place in _OURS:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "manual", place], check=True)
    try:
        Path("/opt/cephfs-fscrypt").symlink_to(sys.prefix)
        yield
    finally:
        for place in _OURS:
            subprocess.run(["umount", "--lazy", place], check=True)
        _take_back(cluster)
        with connect(Access()) as mount:
            for name in _folders() - folders:
                remove(mount, b"/" + name)
        with rados.Rados(conffile=os.environ["CEPH_CONF"]) as own, own.open_ioctx(_POOL) as pool:
            pool.set_namespace(_NAMESPACE)
            for key in _kept() - kept:
                pool.remove_object(key)


def _take_back(cluster: Cluster) -> None:
    for gate in _told(cluster, "gate", "show")["gates"]:
        cluster.ceph("fscrypt", "gate", "set", gate["fs_name"], gate["path"], "observe")
    for subtree in _told(cluster, "subtree", "ls")["subtrees"]:
        cluster.ceph("fscrypt", "subtree", "forget", subtree["fs_name"], subtree["path"])
    set_by_hand = {
        each["name"].removeprefix("mgr/fscrypt/")
        for each in json.loads(cluster.ceph("config", "dump", "--format", "json"))
        if each["name"].startswith("mgr/fscrypt/")
    }
    for option in inventory.options():
        if option["name"] in set_by_hand:
            # that one is removed is not told to modules (doc/manager.md, Options)
            cluster.ceph("config", "set", "mgr", f"mgr/fscrypt/{option['name']}", str(option["default"]))


def _told(cluster: Cluster, *command: str) -> dict[str, list[dict[str, str]]]:
    told: dict[str, list[dict[str, str]]] = cluster.ceph_json("fscrypt", *command)
    return told


def _folders() -> set[bytes]:
    with connect(Access()) as mount:
        return {entry.name for entry in mount.scandir(b"/")}


def _kept() -> set[str]:
    with rados.Rados(conffile=os.environ["CEPH_CONF"]) as own, own.open_ioctx(_POOL) as pool:
        pool.set_namespace(_NAMESPACE)
        return {each.key for each in pool.list_objects()}
