"""A mount of the real cluster does what `Mount` says."""

import errno
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect, connect_guarded
from mgr_fscrypt.ceph.errors import (
    CephError,
    ExistsError,
    NoAttributeError,
    NotFoundError,
    UnreachableError,
    UnsupportedReleaseError,
)
from mgr_fscrypt.ceph.guard.mount import GuardedMount
from mgr_fscrypt.ceph.interface import Kind, Session
from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.ceph.objects import ObjectChangedError, Objects, object_name
from mgr_fscrypt.ceph.releases import Release
from qa.lab.cluster import Cluster
from qa.load.promptness import prompt


@pytest.fixture(params=[connect, connect_guarded])
def mount(request: pytest.FixtureRequest) -> Iterator[CephMount | GuardedMount]:
    """Either kind; what a test mounts beside it is of the plain one."""
    with request.param(Access()) as found:
        yield found


@pytest.fixture
def room(mount: CephMount | GuardedMount, request: pytest.FixtureRequest) -> Iterator[bytes]:
    """A directory of the test's own."""
    path = b"/" + request.node.name.encode().translate(None, b"/[]")
    mount.mkdir(path, 0o755)
    yield path
    remove(mount, path)


def remove(mount: CephMount | GuardedMount, path: bytes) -> None:
    for entry in list(mount.scandir(path)):
        below = path + b"/" + entry.name
        remove(mount, below) if entry.kind is Kind.DIRECTORY else mount.unlink(below)
    mount.rmdir(path)


def make(mount: CephMount | GuardedMount, path: bytes, data: bytes = b"", mode: int = 0o644) -> int:
    fd = mount.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode)
    mount.pwrite(fd, data, 0)
    mount.fsync(fd)
    return fd


def strangers(mount: CephMount | GuardedMount) -> list[Session]:
    return [session for session in mount.sessions() if not session.manager]


def test_what_is_written_is_read_and_counted(mount: CephMount | GuardedMount, room: bytes) -> None:
    fd = make(mount, room + b"/f", b"x" * 5000)
    mount.pwrite(fd, b"", 9000)
    mount.pwrite(fd, b"yy", 6000)
    assert mount.pread(fd, 10000, 4999) == b"x" + bytes(1000) + b"yy"
    assert mount.fstat(fd).size == 6002
    mount.ftruncate(fd, 4096)
    mount.fchmod(fd, 0o600)
    mount.close(fd)
    found = mount.stat(room + b"/f")
    assert (found.size, stat.S_IMODE(found.mode), found.kind, found.nlink) == (4096, 0o600, Kind.FILE, 1)
    assert abs(found.mtime - time.time()) < 300


def test_the_change_attribute_moves_with_each_change(mount: CephMount | GuardedMount, room: bytes) -> None:
    mount.close(make(mount, room + b"/f"))
    before = mount.stat(room + b"/f").version
    mount.chmod(room + b"/f", 0o640)
    after = mount.stat(room + b"/f").version
    assert before is not None
    assert after is not None
    assert after > before


def test_names_are_bytes_and_directories_are_streams(mount: CephMount | GuardedMount, room: bytes) -> None:
    names = {bytes([0xFF, 0xFE, n]) for n in range(1, 40) if n != 0x2F}
    for name in names:
        mount.mkdir(room + b"/" + name, 0o700)
    mount.symlink(b"target \xff", room + b"/link")
    stream = mount.scandir(room)
    assert {entry.name: entry.kind for entry in stream} == dict.fromkeys(names, Kind.DIRECTORY) | {
        b"link": Kind.SYMLINK
    }
    assert mount.readlink(room + b"/link") == b"target \xff"
    assert mount.stat(room + b"/link").kind is Kind.SYMLINK


def test_a_stream_that_is_left_early_is_closed(mount: CephMount | GuardedMount, room: bytes) -> None:
    mount.mkdir(room + b"/a", 0o700)
    stream = mount.scandir(room)
    next(stream)
    stream.close()  # type: ignore[attr-defined]


def test_errors_are_native_and_name_the_path(mount: CephMount | GuardedMount, room: bytes) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        mount.stat(room + b"/nothing")
    assert missing.value.errno == errno.ENOENT
    assert missing.value.filename == room + b"/nothing"
    with pytest.raises(NotFoundError):
        mount.open(room + b"/nothing", os.O_RDONLY)
    mount.mkdir(room + b"/d", 0o755)
    with pytest.raises(ExistsError):
        mount.mkdir(room + b"/d", 0o755)
    with pytest.raises(CephError) as full:
        mount.rmdir(room)
    assert full.value.errno == errno.ENOTEMPTY
    with pytest.raises(NoAttributeError):
        mount.getxattr(room, "ceph.fscrypt.auth")


def test_attributes_of_any_kind_of_inode(mount: CephMount | GuardedMount, room: bytes) -> None:
    fd = make(mount, room + b"/f")
    mount.symlink(b"x", room + b"/l")
    for path in (room, room + b"/f", room + b"/l"):
        mount.setxattr(path, "ceph.fscrypt.auth", bytes(range(48)))
        mount.sync()
        assert mount.getxattr(path, "ceph.fscrypt.auth") == bytes(range(48))
        mount.setxattr(path, "ceph.fscrypt.auth", b"")
        mount.sync()
        with pytest.raises(NoAttributeError):
            mount.getxattr(path, "ceph.fscrypt.auth")
    long = os.urandom(9000)
    mount.fsetxattr(fd, "trusted.fscrypt.test", long)
    assert mount.fgetxattr(fd, "trusted.fscrypt.test") == long
    mount.removexattr(room + b"/f", "trusted.fscrypt.test")
    with pytest.raises(NoAttributeError):
        mount.fgetxattr(fd, "trusted.fscrypt.test")
    mount.close(fd)


def test_a_vxattr_that_would_crash_its_readers_is_never_stored(
    mount: CephMount | GuardedMount, room: bytes
) -> None:
    with pytest.raises(CephError, match="257 bytes") as refusal:
        mount.setxattr(room, "ceph.fscrypt.auth", bytes(257))
    assert refusal.value.errno == errno.E2BIG
    with pytest.raises(NoAttributeError):
        mount.getxattr(room, "ceph.fscrypt.auth")


def test_links_are_never_followed(mount: CephMount | GuardedMount, room: bytes) -> None:
    mount.close(make(mount, room + b"/f"))
    mount.symlink(b"f", room + b"/l")
    with pytest.raises(CephError) as refusal:
        mount.open(room + b"/l", os.O_RDONLY)
    assert refusal.value.errno == errno.ELOOP
    mount.chown(room + b"/l", 5, 6)
    mount.utimens(room + b"/l", 1000, 2000)
    link, target = mount.stat(room + b"/l"), mount.stat(room + b"/f")
    assert (link.uid, link.gid, link.atime, link.mtime) == (5, 6, 1000, 2000)
    assert (target.uid, target.gid) != (5, 6)
    assert target.mtime != 2000


def test_names_move_and_multiply(mount: CephMount | GuardedMount, room: bytes) -> None:
    mount.close(make(mount, room + b"/f"))
    mount.link(room + b"/f", room + b"/g")
    assert mount.stat(room + b"/f").nlink == 2
    mount.rename(room + b"/g", room + b"/h")
    assert {entry.name for entry in mount.scandir(room)} == {b"f", b"h"}


def test_layouts(mount: CephMount | GuardedMount, room: bytes) -> None:
    mount.setxattr(room, "ceph.dir.layout.pool_namespace", b"here")
    mount.mkdir(room + b"/d", 0o755)
    mount.close(make(mount, room + b"/d/f", b"1"))
    for path in (room, room + b"/d", room + b"/d/f"):
        layout = mount.layout(path)
        assert (layout.object_size, layout.pool, layout.namespace) == (1 << 22, "cephfs_data", "here")
        assert not layout.striped
    assert mount.layout(b"/").namespace == ""
    mount.setxattr(room + b"/d", "ceph.dir.layout", b"stripe_unit=65536 stripe_count=2 object_size=4194304")
    assert mount.layout(room + b"/d").striped


def test_a_pool_knows_whether_it_is_coded(mount: CephMount | GuardedMount, cluster: Cluster) -> None:
    assert not mount.erasure_coded("cephfs_data")
    mount.cluster.command("osd pool create", pool="coded", pool_type="erasure", pg_num=1)
    try:
        assert mount.erasure_coded("coded")
    finally:
        # on one OSD it is never whole: it would keep the cluster's health from every later test
        cluster.ceph("osd", "pool", "rm", "coded", "coded", "--yes-i-really-really-mean-it")
    with pytest.raises(NotFoundError):
        mount.erasure_coded("no such pool")


def test_capabilities_are_told(mount: CephMount | GuardedMount, room: bytes) -> None:
    fd = make(mount, room + b"/f", b"1")
    assert mount.capabilities(fd).startswith("pA")
    assert mount.fgetxattr(fd, "ceph.caps").decode().partition("/")[0] == mount.capabilities(fd)
    mount.close(fd)


def test_punching_makes_a_hole_and_keeps_the_size(mount: CephMount | GuardedMount, room: bytes) -> None:
    fd = make(mount, room + b"/f", b"x" * 16384)
    mount.punch(fd, 4096, 4096)
    assert mount.fstat(fd).size == 16384
    assert mount.pread(fd, 16384, 0) == b"x" * 4096 + bytes(4096) + b"x" * 8192
    mount.close(fd)


# objects


def test_objects_are_where_the_file_says(mount: CephMount | GuardedMount, room: bytes) -> None:
    fd = make(mount, room + b"/f", b"a" * 4096 + b"b" * 4096)
    mount.pwrite(fd, b"c" * 4096, 1 << 22)
    mount.fsync(fd)
    ino = mount.fstat(fd).ino
    mount.close(fd)
    assert object_name(0x10000000000, 2) == "10000000000.00000002"
    with Objects(mount.cluster, mount.layout(room + b"/f")) as objects:
        assert objects.read(ino, 0, 4096, 4096).data == b"b" * 4096
        assert objects.read(ino, 1, 1 << 22).data == b"c" * 4096
        with pytest.raises(NotFoundError):
            objects.read(ino, 2, 1)


def test_blocks_are_replaced_only_as_they_were_seen(mount: CephMount | GuardedMount, room: bytes) -> None:
    fd = make(mount, room + b"/f", b"a" * 8192)
    ino = mount.fstat(fd).ino
    mount.close(fd)
    with Objects(mount.cluster, mount.layout(room + b"/f")) as objects:
        seen = objects.read(ino, 0, 4096)
        objects.replace(ino, 0, b"z" * 4096, 4096, seen)
        with pytest.raises(ObjectChangedError):
            objects.replace(ino, 0, b"y" * 4096, 4096, seen)
        with pytest.raises(ValueError, match="never extended"):
            objects.replace(ino, 0, b"y" * 4096, 8192, objects.read(ino, 0, 1))
        assert objects.read(ino, 0, 16384).data == b"a" * 4096 + b"z" * 4096


# other clients


@pytest.mark.usefixtures("settled_manager", "nobody_left")
def test_our_announcement_and_our_root_are_listed(mount: CephMount | GuardedMount, room: bytes) -> None:
    assert strangers(mount) == []
    with connect(Access(root=room, announce={"fscrypt_engine": "1", "job": "test"})) as other:
        (session,) = strangers(mount)
        assert session.metadata["fscrypt_engine"] == "1"
        assert session.metadata["job"] == "test"
        assert (session.root, session.entity, session.manager) == (room, "client.admin", False)
        assert session.reaches(room + b"/below")
        assert other.absolute(b"/x") == room + b"/x"
        assert other.absolute(b"/") == room
        with mount.fresh() as fresh:
            assert [one.number for one in strangers(mount)] == [session.number]
            assert [one.number for one in strangers(fresh)] == [session.number]
    assert strangers(mount) == []


@pytest.mark.usefixtures("settled_manager", "nobody_left")
def test_an_evicted_client_is_gone_and_blocklisted(mount: CephMount | GuardedMount, room: bytes) -> None:
    program = (
        "import cephfs, os, sys, time\n"
        "c = cephfs.LibCephFS(conffile=os.environ['CEPH_CONF']); c.mount(); print('up', flush=True)\n"
        "sys.stdin.readline()\n"
        "try:\n    c.mkdir('/evicted', 0o755)\n    print('alive')\n"
        "except cephfs.Error as error:\n    print('errno', error.errno)\n"
        "sys.stdout.flush(); os._exit(0)\n"
    )
    with subprocess.Popen(
        ["python3", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        (session,) = strangers(mount)
        mount.evict(session)
        assert strangers(mount) == []
        assert session.address in mount.cluster.blocklisted()
        child.stdin.write("\n")
        child.stdin.close()
        assert child.stdout.readline() == f"errno {errno.ESHUTDOWN}\n"


def test_the_managers_clients_are_known_and_never_evicted(
    mount: CephMount | GuardedMount, cluster: Cluster
) -> None:
    managers: list[Session] = []
    give_up = time.monotonic() + 30
    while not managers:
        assert time.monotonic() < give_up, "the volumes module mounts the file system to answer"
        cluster.ceph("fs", "subvolume", "ls", "cephfs")
        time.sleep(0.5)  # the monitors learn of the manager's clients from its beacons
        managers = [session for session in mount.sessions() if session.manager]
    with pytest.raises(CephError, match="ceph-mgr") as refusal:
        mount.evict(managers[0])
    assert refusal.value.errno == errno.EPERM


@pytest.mark.usefixtures("settled_manager", "nobody_left")
def test_a_renewed_mount_is_another_session(mount: CephMount | GuardedMount, room: bytes) -> None:
    mount.close(make(mount, room + b"/f", b"x"))
    mount.renew()
    assert mount.stat(room + b"/f").size == 1
    assert strangers(mount) == []


# bad input


def test_a_cluster_that_is_down_is_reported_in_time(tmp_path: Path) -> None:
    conf = tmp_path / "ceph.conf"
    keyring = Path(os.environ["CEPH_CONF"]).parent / "keyring"
    conf.write_text(f"[global]\nmon_host = v2:127.0.0.1:9/0\nkeyring = {keyring}\n")
    begun = time.monotonic()
    with (
        pytest.raises(UnreachableError, match=r"did not answer client\.admin"),
        connect(Access(conf=conf, timeout=3)),
    ):
        pytest.fail("there is nothing to connect to")
    prompt(time.monotonic() - begun, 10)


def test_a_file_system_or_root_that_is_not_there(mount: CephMount | GuardedMount) -> None:
    with pytest.raises(NotFoundError), connect(Access(root=b"/no/such/root")):
        pytest.fail("mounted what is not there")
    with pytest.raises(CephError), connect(Access(file_system="other", timeout=3)):
        pytest.fail("mounted what is not there")


def test_a_newer_release_is_read_but_not_written(
    mount: CephMount | GuardedMount, room: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount.close(make(mount, room + b"/f", b"x"))
    monkeypatch.setattr("mgr_fscrypt.ceph.cluster.Cluster.mds_releases", lambda self: (Release(21, 0, 1),))
    with connect(Access()) as newer:
        assert newer.stat(room + b"/f").size == 1
        fd = newer.open(room + b"/f", os.O_RDONLY)
        assert newer.pread(fd, 10, 0) == b"x"
        for write in (
            lambda: newer.open(room + b"/f", os.O_RDWR),
            lambda: newer.mkdir(room + b"/d", 0o755),
            lambda: newer.unlink(room + b"/f"),
            lambda: newer.setxattr(room + b"/f", "ceph.fscrypt.file", bytes(8)),
            lambda: newer.lease(1),
        ):
            with pytest.raises(UnsupportedReleaseError, match=r"21\.0\.1"):
                write()
        newer.close(fd)
    monkeypatch.setattr("mgr_fscrypt.ceph.cluster.Cluster.mds_releases", lambda self: (Release(17, 2, 9),))
    with pytest.raises(UnsupportedReleaseError, match=r"17\.2\.9"), connect(Access()):
        pytest.fail("mounted a release that cannot hold the attributes")
