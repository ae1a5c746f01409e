"""The engine for those who are not the administrator: narrow caps, coded pools, wrong keys."""

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.errors import CephError
from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.engine import FileSystem, Keyring, LockedError
from mgr_fscrypt.engine.acls import ACCESS_ACL
from mgr_fscrypt.format import MasterKey
from qa.fakes import acls
from qa.fakes.engine_cases import OTHER, SECRET, remove
from qa.lab.cluster import Cluster

KEY = MasterKey(SECRET)
PATH = b"/entities"
USER = 1000


def opened(mount: CephMount, secret: bytes = SECRET) -> FileSystem:
    keyring = Keyring()
    keyring.add(MasterKey(secret))
    return FileSystem(mount, keyring, durable_close=True)


@pytest.fixture
def mount() -> Iterator[CephMount]:
    with connect(Access()) as found:
        found.mkdir(PATH, 0o755)
        yield found
        remove(found, PATH)


def entity(cluster: Cluster, tmp_path: Path, name: str, osd: str) -> Access:
    caps = ("mon", "allow r fsname=cephfs", "mds", "allow rw fsname=cephfs", "osd", osd)
    keyring = tmp_path / "keyring"
    keyring.write_text(cluster.ceph("auth", "get-or-create", f"client.{name}", *caps))
    return Access(entity=f"client.{name}", keyring=keyring)


def test_the_caps_that_are_written_down_are_enough(
    mount: CephMount, cluster: Cluster, tmp_path: Path
) -> None:
    opened(mount).create_subtree(PATH, KEY.identifier)
    osd = "allow rw tag cephfs data=cephfs, allow rwx namespace=fscrypt.leases tag cephfs data=cephfs"
    with connect(entity(cluster, tmp_path, "narrow", osd)) as narrow:
        fs = opened(narrow)
        with fs.create(PATH + b"/f") as file:
            file.pwrite(b"x" * 5000, 0)
            file.fsync()
            file.pwrite(b"y", 5000)
        with fs.open(PATH + b"/f", os.O_RDWR) as file:
            file.truncate(100)
            assert file.pread(999, 0) == b"x" * 100
        fs.subtree(PATH)
        with pytest.raises(CephError) as refusal:
            fs.release(PATH)
        assert refusal.value.errno in (errno.EACCES, errno.EPERM), "listing sessions needs more"
    cluster.ceph("auth", "rm", "client.narrow")


def test_without_the_leases_caps_nothing_is_changed(
    mount: CephMount, cluster: Cluster, tmp_path: Path
) -> None:
    fs = opened(mount)
    fs.create_subtree(PATH, KEY.identifier)
    with fs.create(PATH + b"/f") as file:
        file.pwrite(b"x" * 5000, 0)
    with connect(entity(cluster, tmp_path, "bare", "allow rw tag cephfs data=cephfs")) as bare:
        with opened(bare).open(PATH + b"/f") as file:
            assert file.pread(9999, 0) == b"x" * 5000
        with opened(bare).open(PATH + b"/f", os.O_RDWR) as file:
            for change in (lambda: file.pwrite(b"y", 0), lambda: file.truncate(5)):
                with pytest.raises(CephError) as refusal:
                    change()
                assert refusal.value.errno in (errno.EACCES, errno.EPERM)
    with fs.open(PATH + b"/f") as file:
        assert file.pread(9999, 0) == b"x" * 5000
    cluster.ceph("auth", "rm", "client.bare")


def test_a_coded_data_pool_is_warned_of(mount: CephMount, cluster: Cluster) -> None:
    cluster.ceph(
        "osd", "erasure-code-profile", "set", "flat", "k=2", "m=1", "crush-failure-domain=osd", "--force"
    )
    cluster.ceph("osd", "pool", "create", "cephfs_coded", "1", "1", "erasure", "flat")
    cluster.ceph("osd", "pool", "set", "cephfs_coded", "allow_ec_overwrites", "true")
    cluster.ceph("fs", "add_data_pool", "cephfs", "cephfs_coded")
    try:
        mount.mkdir(PATH + b"/c", 0o755)
        mount.setxattr(PATH + b"/c", "ceph.dir.layout.pool", b"cephfs_coded")
        found = opened(mount).create_subtree(PATH + b"/c", KEY.identifier)
        assert found.erasure_coded
        assert "erasure coded" in found.warnings[0]
    finally:
        mount.rmdir(PATH + b"/c")
        cluster.ceph("fs", "rm_data_pool", "cephfs", "cephfs_coded")
        cluster.ceph("osd", "pool", "rm", "cephfs_coded", "cephfs_coded", "--yes-i-really-really-mean-it")


def test_a_wrong_key_opens_nothing(mount: CephMount) -> None:
    fs, wrong = opened(mount), opened(mount, OTHER)
    fs.create_subtree(PATH, KEY.identifier)
    with fs.create(PATH + b"/f") as file:
        file.pwrite(b"x" * 5000, 0)
    (entry,) = wrong.scandir(PATH)
    assert entry.name == entry.stored
    before = mount.stat(PATH + b"/" + entry.stored)
    for flags in (os.O_RDONLY, os.O_RDWR):
        with pytest.raises(LockedError) as refusal:
            wrong.open(PATH + b"/" + entry.name, flags)
        assert refusal.value.key == KEY.identifier
    after = mount.stat(PATH + b"/" + entry.stored)
    assert (after.size, after.version) == (before.size, before.version)


@pytest.fixture
def readable() -> Iterator[Path]:
    """A copy of the administrator's keyring for another user."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        keyring = Path(folder, "keyring")
        keyring.write_bytes(Path(os.environ["CEPH_CONF"]).with_name("keyring").read_bytes())
        keyring.chmod(0o600)
        os.chown(keyring, USER, USER)
        yield keyring


def test_a_process_that_is_not_root_makes_files_of_its_own(mount: CephMount, readable: Path) -> None:
    opened(mount).create_subtree(PATH, KEY.identifier)
    mount.chmod(PATH, 0o777)
    fs = opened(mount)
    acl = acls.encode(
        (acls.OWNER, 6), (acls.USER, 4, USER), (acls.GROUP, 0), (acls.MASK, 4), (acls.OTHERS, 0)
    )
    for name, allowed in ((b"/private", None), (b"/shared", acl)):
        with fs.create(PATH + name, 0o600) as file:
            file.pwrite(b"secret", 0)
        if allowed is not None:
            fs.setxattr(PATH + name, ACCESS_ACL, allowed)
    for number in range(3):
        with fs.create(PATH + b"/program%d" % number, 0o6777) as file:
            file.pwrite(b"x" * 5000, 0)
    subprocess.run([sys.executable, "-c", _USER, readable, str(USER)], check=True)
    found = opened(mount).stat(PATH + b"/d/f")
    assert (found.uid, found.size, found.permissions) == (USER, 6, 0o640)


def test_a_key_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    with pytest.raises(CephError, match="has no valid key") as refusal, connect(Access(keyring=nothing)):
        pytest.fail("there is no key")
    assert refusal.value.errno == errno.EACCES


# it becomes that user only when it has what is for root only: the interpreter and its modules
_USER = """
import os
import sys
from pathlib import Path
from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.engine.acls import DEFAULT_ACL
from mgr_fscrypt.format import MasterKey
from qa.fakes import acls
os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
keyring = Keyring(); keyring.add(MasterKey(bytes(range(64))))
with connect(Access(keyring=Path(sys.argv[1]))) as mount:
    fs = FileSystem(mount, keyring, durable_close=True)
    fs.mkdir("/entities/d", 0o750)
    with fs.create("/entities/d/f", 0o640) as file:
        file.pwrite(b"mine!", 0)
    fs.symlink("f", "/entities/d/l")
    assert fs.readlink("/entities/d/l") == b"f"
    with fs.open("/entities/d/f", os.O_RDWR) as file:
        file.pwrite(b"still ", 0)
    assert fs.stat("/entities/private").size == 4096
    try:
        fs.open("/entities/private")
    except PermissionError:
        pass
    else:
        sys.exit("it read what it may not")
    # an ACL lets it read, and not write
    with fs.open("/entities/shared") as file:
        assert file.pread(100, 0) == b"secret"
    try:
        with fs.open("/entities/shared", os.O_RDWR) as file:
            file.pwrite(b"x", 0)
    except PermissionError:
        pass
    else:
        sys.exit("it wrote what it may not")
    # under a default ACL that takes its right to write
    fs.mkdir("/entities/strict")
    fs.setxattr("/entities/strict", DEFAULT_ACL, acls.encode((acls.OWNER, 5), (acls.GROUP, 5), (acls.OTHERS, 0)))
    with fs.create("/entities/strict/f", 0o666) as file:
        file.pwrite(b"data", 0)
    fs.mkdir("/entities/strict/d")
    found = [fs.stat("/entities/strict/" + name).permissions for name in "fd"]
    assert found == [0o440, 0o550], found
    # a program that it changes loses set-user-ID and set-group-ID, be it its own or another's
    changes = (lambda file: file.pwrite(b"x", 0), lambda file: file.truncate(3), lambda file: file.fallocate(3, 0, 9))
    for number, change in enumerate(changes):
        fs.create(f"/entities/d/{number}", 0o6755).close()
        for path, left in ((f"/entities/d/{number}", 0o755), (f"/entities/program{number}", 0o777)):
            with fs.open(path, os.O_RDWR) as file:
                change(file)
            found = fs.stat(path).permissions
            print(path, oct(found))
            assert found == left, (path, oct(found))
"""
