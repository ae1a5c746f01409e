"""Fixtures of the tests on a cluster."""

import pytest

from qa.lab.cluster import Cluster


@pytest.fixture
def settled_manager(cluster: Cluster) -> None:
    """A mgr that runs and whose clients are known, for tests that want no other client on the file system.

    18.2.7's crashes by itself (doc/facts.md M1): its dead session stays for a minute, and the new mgr's clients are
    told to the monitors some seconds late. Until then they are strangers to everybody, rightly.
    """
    if cluster.release == "reef":
        cluster.start("mgr", "x")
        cluster.wait("the mgr", lambda: bool(cluster.ceph_json("mgr", "stat")["available"]))
        cluster.wait("the mgr's clients being known", lambda: _manager_sessions(cluster) <= _told(cluster))


def _manager_sessions(cluster: Cluster) -> set[str]:
    sessions = cluster.ceph_json("tell", "mds.0", "session", "ls")
    return {
        f"{one['entity']['addr']['addr']}/{one['entity']['addr']['nonce']}"
        for one in sessions
        if one["client_metadata"].get("entity_id") == "x"
    }


def _told(cluster: Cluster) -> set[str]:
    clients = cluster.ceph_json("mgr", "dump").get("active_clients", [])
    return {f"{one['addr']}/{one['nonce']}" for client in clients for one in client.get("addrvec", [])}
