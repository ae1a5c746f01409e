"""P1 to P5 and P7: attributes, ACLs, room and locks of plain files, as the engine builds on them."""

import ctypes
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Callable

import cephfs
import pytest

from qa.facts.tree import create
from qa.lab.cluster import Cluster

Mount = Callable[..., cephfs.LibCephFS]
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
OWNER, USER, GROUP, MASK, OTHERS = 0x01, 0x02, 0x04, 0x10, 0x20
NOBODY = 0xFFFFFFFF
LARGEST = 65536


def acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


ACL = acl((OWNER, 7, NOBODY), (USER, 6, 1000), (GROUP, 5, NOBODY), (MASK, 7, NOBODY), (OTHERS, 1, NOBODY))


def refusal(act: Callable[..., object], *arguments: object) -> int:
    """The errno with which `act` fails."""
    with pytest.raises(cephfs.Error) as refused:
        act(*arguments)
    number: int = refused.value.errno
    return number


def rights(fs: cephfs.LibCephFS, path: str) -> tuple[int, bytes]:
    return stat.S_IMODE(fs.lstat(path).st_mode), fs.lgetxattr(path, ACCESS, LARGEST)


def test_p1_attributes_have_64_kib_together_and_flags(fs: cephfs.LibCephFS, place: str) -> None:
    path = f"{place}/f"
    create(fs, path)
    assert refusal(fs.lsetxattr, path, "user.a", b"x" * LARGEST, 0) == errno.ENOSPC
    fs.lsetxattr(path, "user.a", b"x" * 60_000, os.XATTR_CREATE)
    assert refusal(fs.lsetxattr, path, "user.b", b"x" * 6000, 0) == errno.ENOSPC
    assert refusal(fs.lsetxattr, path, "user.a", b"", os.XATTR_CREATE) == errno.EEXIST
    assert refusal(fs.lsetxattr, path, "user.b", b"", os.XATTR_REPLACE) == errno.ENODATA
    assert fs.llistxattr(path, LARGEST) == (7, b"user.a\0")
    assert refusal(fs.lsetxattr, path, "other.a", b"", 0) == errno.EOPNOTSUPP
    # nothing checks what the kernel's own layer checks above its file systems
    fs.symlink("target", f"{place}/link")
    fs.lsetxattr(f"{place}/link", "user.a", b"", 0)


def test_p2_without_the_option_acls_are_left_behind(fs: cephfs.LibCephFS, place: str, mount: Mount) -> None:
    path = f"{place}/f"
    create(fs, path)
    assert refusal(fs.lgetxattr, path, ACCESS, LARGEST) == errno.EOPNOTSUPP
    knowing = mount(client_acl_type="posix_acl")
    knowing.lsetxattr(path, ACCESS, ACL, 0)
    assert rights(knowing, path) == (0o771, ACL)
    fs.lchmod(path, 0o600)
    assert rights(knowing, path) == (0o600, ACL), "the mask still allows what the mode does not"
    knowing.lchmod(path, 0o640)
    mask = acl(
        (OWNER, 6, NOBODY), (USER, 6, 1000), (GROUP, 5, NOBODY), (MASK, 4, NOBODY), (OTHERS, 0, NOBODY)
    )
    assert rights(knowing, path) == (0o640, mask)
    knowing.lsetxattr(place, DEFAULT, ACL, 0)
    create(fs, f"{place}/g")
    assert refusal(knowing.lgetxattr, f"{place}/g", ACCESS, LARGEST) == errno.ENODATA, "not inherited"
    knowing.lremovexattr(place, DEFAULT)


def test_p3_a_later_chmod_gives_more_than_the_default_acl(place: str, mount: Mount) -> None:
    fs = mount(client_acl_type="posix_acl")
    fs.lsetxattr(place, DEFAULT, ACL, 0)
    for name, mode in (("at-once", 0o666), ("later", 0o200)):
        fs.close(fs.open(f"{place}/{name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
    fs.lchmod(f"{place}/later", 0o666)
    assert rights(fs, f"{place}/at-once")[0] == 0o660
    assert rights(fs, f"{place}/later")[0] == 0o666
    fs.lchmod(f"{place}/later", 0o660)
    assert rights(fs, f"{place}/later") == rights(fs, f"{place}/at-once")
    fs.lsetxattr(place, DEFAULT, acl((OWNER, 5, NOBODY), (GROUP, 5, NOBODY), (OTHERS, 0, NOBODY)), 0)
    fs.close(fs.open(f"{place}/marked", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o200))
    assert stat.S_IMODE(fs.lstat(f"{place}/marked").st_mode) == 0, "the mark is gone"
    fs.lremovexattr(place, DEFAULT)


def test_p4_statfs_knows_a_quota_in_one_release(cluster: Cluster, fs: cephfs.LibCephFS, place: str) -> None:
    whole = fs.statfs(place)["f_blocks"]
    fs.setxattr(place, "ceph.quota.max_bytes", b"%d" % (8 << 20), 0)
    fs.sync_fs()
    found = fs.statfs(place)
    assert found["f_frsize"] == 4 << 20
    if cluster.release == "tentacle":
        assert found["f_blocks"] == 2
        assert refusal(fs.statfs, f"{place}/missing") == errno.ENOENT
    else:
        assert found["f_blocks"] == whole, "of the mount's root, whatever the path"
        fs.statfs(f"{place}/missing")


def test_p5_locks_are_by_owner_and_end_with_the_descriptor(
    fs: cephfs.LibCephFS, place: str, mount: Mount
) -> None:
    create(fs, f"{place}/f")
    other = mount()
    one, two = (fs.open(f"{place}/f", os.O_RDONLY, 0) for _ in range(2))
    three = other.open(f"{place}/f", os.O_RDONLY, 0)
    exclusive = fcntl.LOCK_EX | fcntl.LOCK_NB
    fs.flock(one, exclusive, 1)
    fs.flock(two, exclusive, 1)
    assert refusal(fs.flock, two, exclusive, 2) == errno.EAGAIN
    assert refusal(other.flock, three, exclusive, 1) == errno.EAGAIN, "an owner is one of its client"
    fs.close(two)
    fs.close(one)
    other.flock(three, exclusive, 1)
    other.close(three)


def test_p7_ranges_are_locked_through_the_c_interface_only(cluster: Cluster) -> None:
    library = ctypes.CDLL("libcephfs.so.2")
    for name in ("ceph_ll_lookup_inode", "ceph_ll_open", "ceph_ll_setlk", "ceph_ll_getlk"):
        assert hasattr(library, name)
    assert hasattr(library, "ceph_setlk") == (cluster.release == "tentacle"), "which takes a descriptor"
    assert not [name for name in dir(cephfs.LibCephFS) if "lk" in name or "fcntl" in name]
