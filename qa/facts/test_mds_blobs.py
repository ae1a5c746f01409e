"""Both blobs of an inode survive what happens to an MDS; and how snapshots and hard links show them.

Releases newer than 20.2 are not asserted here: there the MDS acts on `ceph.fscrypt.file` when it is set, and the
engine refuses to write.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import cephfs
import pytest

from qa.facts.blobs import AUTH, FILE, LIMIT, POLICY, size_field
from qa.facts.tree import create, mounted, until

if TYPE_CHECKING:
    from qa.lab.cluster import Cluster

# the daemons started here outlive the object that started them
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
Blobs = dict[str, tuple[bytes, bytes]]
KINDS = ("file", "directory", "symlink")
WAIT = 90.0
"""Seconds for an MDS to become active: it replays, reconnects and recovers."""


def write(fs: cephfs.LibCephFS, directory: str, mark: int) -> Blobs:
    """One inode of each kind with blobs that no other has, acknowledged by the MDS; answers what must be read."""
    fs.mkdir(directory, 0o755)
    create(fs, f"{directory}/file", b"contents")
    fs.mkdir(f"{directory}/directory", 0o755)
    fs.symlink("target", f"{directory}/symlink")
    written = {}
    for number, kind in enumerate(KINDS):
        auth = POLICY[:-2] + bytes([mark, number])
        file = bytes([mark, number]) + bytes(reversed(range(LIMIT - 2)))
        fs.lsetxattr(f"{directory}/{kind}", AUTH, auth, 0)
        fs.lsetxattr(f"{directory}/{kind}", FILE, file, 0)
        written[f"{directory}/{kind}"] = (auth, file)
    fs.sync_fs()
    return written


def read(fs: cephfs.LibCephFS, paths: Blobs) -> Blobs:
    return {path: (fs.lgetxattr(path, AUTH, LIMIT), fs.lgetxattr(path, FILE, LIMIT)) for path in paths}


def assert_kept(cluster: "Cluster", written: Blobs) -> None:
    """A client that never saw these inodes reads what was written."""
    with mounted(cluster) as fresh:
        assert read(fresh, written) == written


def mdsmap(cluster: "Cluster") -> dict[str, Any]:
    (file_system,) = cluster.ceph_json("fs", "dump")["filesystems"]
    known: dict[str, Any] = file_system["mdsmap"]
    return known


def active(cluster: "Cluster") -> list[str]:
    """The names of the active MDS daemons, by rank."""
    serving = [one for one in mdsmap(cluster)["info"].values() if one["state"] == "up:active"]
    return [one["name"] for one in sorted(serving, key=lambda one: one["rank"])]


def instance(cluster: "Cluster") -> int:
    """The number of rank 0's daemon, which is another after each start; 0 while it is not active."""
    serving = [
        one for one in mdsmap(cluster)["info"].values() if (one["rank"], one["state"]) == (0, "up:active")
    ]
    return serving[0]["gid"] if serving else 0


def again(cluster: "Cluster", before: int) -> float:
    """Start mds.a and wait until a daemon other than `before` serves rank 0; answers the seconds."""
    cluster.start("mds", "a")
    return until(lambda: instance(cluster) not in (0, before), "mds.a active again", WAIT)


def standbys(cluster: "Cluster") -> list[str]:
    return [one["name"] for one in cluster.ceph_json("fs", "dump")["standbys"]]


def tell(cluster: "Cluster", rank: int, *command: str) -> Any:
    return cluster.ceph_json("tell", f"mds.cephfs:{rank}", *command)


@pytest.fixture
def second(cluster: "Cluster") -> Iterator[str]:
    """A standby beside mds.a; afterwards mds.a alone is active again, whatever happened."""
    # exports and the end of a rank go on at each tick: every 5 s by default
    cluster.ceph("config", "set", "mds", "mds_tick_interval", "0.5")
    cluster.start("mds", "b")
    until(lambda: "b" in standbys(cluster), "mds.b as a standby", WAIT)
    yield "b"
    cluster.ceph("fs", "set", "cephfs", "max_mds", "1")
    # a rank that is being given up is no longer active, but still in: its daemon is needed until it is out
    until(lambda: mdsmap(cluster)["in"] == [0], "rank 1 given up", WAIT)
    cluster.start("mds", "a")
    until(lambda: "a" in [*active(cluster), *standbys(cluster)], "mds.a back", WAIT)
    cluster.stop("mds", "b")
    if "a" not in active(cluster):
        cluster.ceph("mds", "fail", "cephfs:0")
    until(lambda: active(cluster) == ["a"], "mds.a active", WAIT)
    cluster.ceph("config", "rm", "mds", "mds_tick_interval")


def test_blobs_survive_a_killed_mds_and_the_replay_of_its_journal(cluster: "Cluster", place: str) -> None:
    with mounted(cluster) as fs:
        written = write(fs, f"{place}/replayed", 1)
        before = instance(cluster)
        cluster.kill("mds", "a")
        print(f"sampled: mds.a served again {again(cluster, before):.1f} s after it was killed")
        assert_kept(cluster, written)
        assert read(fs, written) == written


def test_blobs_survive_the_journals_flush_and_an_empty_cache(cluster: "Cluster", place: str) -> None:
    """Read back from the directory's object in the metadata pool, not from the journal."""
    with mounted(cluster) as fs:
        written = write(fs, f"{place}/flushed", 2)
    tell(cluster, 0, "flush", "journal")
    before = instance(cluster)
    cluster.kill("mds", "a")
    again(cluster, before)
    assert_kept(cluster, written)


def test_blobs_survive_the_failover_to_a_standby(cluster: "Cluster", second: str, place: str) -> None:
    with mounted(cluster) as fs:
        written = write(fs, f"{place}/taken-over", 3)
        cluster.kill("mds", "a")
        cluster.ceph("mds", "fail", "cephfs:0")
        until(lambda: active(cluster) == [second], "the standby in charge", WAIT)
        assert_kept(cluster, written)
        assert read(fs, written) == written
        assert_kept(cluster, write(fs, f"{place}/after", 4))


def test_blobs_survive_the_export_between_two_active_ranks(
    cluster: "Cluster", second: str, place: str
) -> None:
    def exported_to(rank: int, path: str) -> bool:
        trees = tell(cluster, rank, "get", "subtrees")
        return any(tree["dir"]["path"] == path and tree["auth_first"] == rank for tree in trees)

    cluster.ceph("fs", "set", "cephfs", "max_mds", "2")
    until(lambda: active(cluster) == ["a", second], "two active ranks", WAIT)
    pinned = f"{place}/pinned"
    with mounted(cluster) as fs:
        written = write(fs, pinned, 5)
        fs.setxattr(pinned, "ceph.dir.pin", b"1", 0)
        until(lambda: exported_to(1, pinned), "the export to rank 1", WAIT)
        assert_kept(cluster, written)
        assert read(fs, written) == written
        written |= write(fs, f"{pinned}/made-on-rank-1", 6)
        fs.setxattr(pinned, "ceph.dir.pin", b"0", 0)
        until(lambda: not exported_to(1, pinned), "the export back to rank 0", WAIT)
        assert_kept(cluster, written)


def test_blobs_belong_to_the_inode_not_to_a_hard_link(cluster: "Cluster", place: str) -> None:
    with mounted(cluster) as fs:
        first = f"{place}/linked/file"
        write(fs, f"{place}/linked", 7)
        fs.mkdir(f"{place}/elsewhere", 0o755)
        fs.link(first, f"{place}/elsewhere/link")
        fs.setxattr(f"{place}/elsewhere/link", FILE, size_field(7), 0)
        fs.sync_fs()
        blobs = (fs.getxattr(first, AUTH, LIMIT), size_field(7))
        assert_kept(cluster, {first: blobs, f"{place}/elsewhere/link": blobs})
        fs.unlink(first)
        assert_kept(cluster, {f"{place}/elsewhere/link": blobs})


def test_a_snapshot_shows_the_blobs_of_its_time(cluster: "Cluster", place: str) -> None:
    directory = f"{place}/snapped"
    with mounted(cluster) as fs:
        before = write(fs, directory, 8)
        fs.mkdir(f"{directory}/.snap/then", 0o755)
        after = {path: (POLICY, size_field(8)) for path in before}
        for path, (auth, file) in after.items():
            fs.lsetxattr(path, AUTH, auth, 0)
            fs.lsetxattr(path, FILE, file, 0)
        fs.sync_fs()
        then = {path.replace(directory, f"{directory}/.snap/then"): blobs for path, blobs in before.items()}
        assert_kept(cluster, after | then)
        for path in after:
            fs.lsetxattr(path, AUTH, b"", 0)
        fs.sync_fs()
        assert_kept(cluster, then)
