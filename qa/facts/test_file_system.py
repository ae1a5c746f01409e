"""F7 to F13, F20, F21: what the file system lets through, and what libcephfs offers and does not."""

import ctypes
import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import cephfs
import pytest

from qa.facts.blobs import AUTH, LIMIT, POLICY
from qa.facts.tree import BLOCK, content, create, names

if TYPE_CHECKING:
    from qa.lab.cluster import Cluster

Mount = Callable[..., cephfs.LibCephFS]
OTHER_POLICY = POLICY[:-32] + bytes(32)
KEEP_SIZE, PUNCH_HOLE = 1, 2
FILE_WRITE = 1 << 12
"""Fw among the capabilities that `debug_get_fd_caps` shows."""
SETATTR_FSCRYPT_AUTH, SETATTR_FSCRYPT_FILE = 1 << 16, 1 << 17


def refusal(act: Callable[..., object], *arguments: object) -> int:
    """The errno with which `act` fails."""
    with pytest.raises(cephfs.Error) as refused:
        act(*arguments)
    number: int = refused.value.errno
    return number


def test_f7_names_move_freely_between_plain_and_encrypted_directories(
    fs: cephfs.LibCephFS, place: str
) -> None:
    for directory, policy in (("plain", None), ("one", POLICY), ("two", OTHER_POLICY)):
        fs.mkdir(f"{place}/{directory}", 0o755)
        if policy:
            fs.setxattr(f"{place}/{directory}", AUTH, policy, 0)
        create(fs, f"{place}/{directory}/{directory}")
    for source, target in (("plain", "one"), ("one", "plain"), ("one", "two")):
        fs.link(f"{place}/{source}/{source}", f"{place}/{target}/linked-{source}")
    for source, target in (("plain", "one"), ("two", "plain"), ("one", "two")):
        fs.rename(f"{place}/{source}/{source}", f"{place}/{target}/moved-{source}")
    assert names(fs, f"{place}/one") == ["linked-plain", "moved-plain"]
    assert names(fs, f"{place}/two") == ["linked-one", "moved-one"]
    assert names(fs, f"{place}/plain") == ["linked-one", "moved-two"]


def test_f7_a_striped_directory_takes_a_policy(fs: cephfs.LibCephFS, place: str) -> None:
    fs.mkdir(f"{place}/striped", 0o755)
    fs.setxattr(f"{place}/striped", "ceph.dir.layout.stripe_count", b"2", 0)
    fs.setxattr(f"{place}/striped", AUTH, POLICY, 0)
    assert fs.getxattr(f"{place}/striped", AUTH, LIMIT) == POLICY


def test_f8_only_the_mds_shows_alternate_names(cluster: "Cluster", fs: cephfs.LibCephFS, place: str) -> None:
    create(fs, f"{place}/name")
    fs.sync_fs()
    dump = cluster.ceph_json("tell", "mds.cephfs:0", "dump", "dir", place, "--dentry_dump")
    entries = [entry for fragment in dump for entry in fragment["dentries"]]
    assert [(entry["path"].rsplit("/")[-1], entry["alternate_name"]) for entry in entries] == [("name", "")]
    assert not [name for name in dir(cephfs.LibCephFS) if "alternate" in name]
    assert exported(r"\w*alternate_?name\w*") == []


def test_f9_setattrx_ignores_the_fscrypt_bits(fs: cephfs.LibCephFS, place: str) -> None:
    create(fs, f"{place}/file", bytes(BLOCK))
    fs.setxattr(f"{place}/file", AUTH, POLICY, 0)
    fs.setattrx(f"{place}/file", {}, SETATTR_FSCRYPT_AUTH | SETATTR_FSCRYPT_FILE, 0)
    assert fs.getxattr(f"{place}/file", AUTH, LIMIT) == POLICY


def test_f10_capabilities_can_be_looked_at(fs: cephfs.LibCephFS, mount: Mount, place: str) -> None:
    create(fs, f"{place}/file", bytes(BLOCK))
    handle = fs.open(f"{place}/file", os.O_RDWR)
    fs.write(handle, b"w", 0)
    shown = re.fullmatch(rb"(p[A-Za-z]*)/0x([0-9a-f]+)", fs.getxattr(f"{place}/file", "ceph.caps", LIMIT))
    assert shown
    assert re.search(rb"F[a-z]*w", shown[1])
    assert fs.debug_get_fd_caps(handle) == int(shown[2], 16)
    assert fs.debug_get_fd_caps(handle) & FILE_WRITE
    fs.close(handle)
    other = mount()
    reading = other.open(f"{place}/file", os.O_RDONLY)
    assert not other.debug_get_fd_caps(reading) & FILE_WRITE
    other.close(reading)


def exported(pattern: str) -> list[str]:
    """The names in libcephfs's tables of strings that match."""
    ctypes.CDLL("libcephfs.so.2")
    maps = Path("/proc/self/maps").read_text()
    library = re.search(r"\S+/libcephfs\.so\S*", maps)
    assert library
    found = re.findall(rb"\0(" + pattern.encode() + rb")(?=\0)", Path(library[0]).read_bytes())
    return sorted({name.decode() for name in found})


def test_f11_libcephfs_has_no_keys_and_no_policies() -> None:
    assert exported(r"ceph_\w*fscrypt\w*") == []
    # the same search finds what is there
    assert "ceph_ll_delegation" in exported(r"ceph_\w*delegation\w*")
    assert exported(r"ceph_start_reclaim") == ["ceph_start_reclaim"]


def test_f12_rename_replaces_a_racing_file_or_symlink_silently(
    fs: cephfs.LibCephFS, mount: Mount, place: str
) -> None:
    other = mount()
    create(fs, f"{place}/source", b"source")
    create(other, f"{place}/target", b"target")
    fs.rename(f"{place}/source", f"{place}/target")
    assert content(other, f"{place}/target") == b"source"
    fs.symlink("source", f"{place}/source-link")
    other.symlink("target", f"{place}/target-link")
    fs.rename(f"{place}/source-link", f"{place}/target-link")
    assert other.readlink(f"{place}/target-link", LIMIT) == b"source"


def test_f12_rename_replaces_an_empty_directory_only(fs: cephfs.LibCephFS, place: str) -> None:
    for directory in ("source", "empty", "full"):
        fs.mkdir(f"{place}/{directory}", 0o755)
    create(fs, f"{place}/full/file")
    assert refusal(fs.rename, f"{place}/source", f"{place}/full") == errno.ENOTEMPTY
    fs.rename(f"{place}/source", f"{place}/empty")
    assert names(fs, place) == ["empty", "full"]


def test_f12_rename_does_not_cross_quotas(fs: cephfs.LibCephFS, place: str) -> None:
    for directory in ("one", "two"):
        fs.mkdir(f"{place}/{directory}", 0o755)
        fs.setxattr(f"{place}/{directory}", "ceph.quota.max_bytes", b"1048576", 0)
    create(fs, f"{place}/one/file")
    create(fs, f"{place}/file")
    assert refusal(fs.rename, f"{place}/one/file", f"{place}/two/file") == errno.EXDEV
    assert refusal(fs.rename, f"{place}/one/file", f"{place}/moved") == errno.EXDEV
    assert refusal(fs.rename, f"{place}/file", f"{place}/two/file") == errno.EXDEV
    fs.rename(f"{place}/one/file", f"{place}/one/moved")


def test_f12_g6_open_files_follow_a_tree_that_is_renamed_away(
    fs: cephfs.LibCephFS, mount: Mount, place: str
) -> None:
    """The cut-over by two renames: who has the old tree open goes on writing there, acknowledged."""
    for tree in ("tree", "new"):
        fs.mkdir(f"{place}/{tree}", 0o755)
        create(fs, f"{place}/{tree}/file", tree.encode())
    other = mount()
    handle = other.open(f"{place}/tree/file", os.O_RDWR)
    other.chdir(f"{place}/tree")
    fs.rename(f"{place}/tree", f"{place}/old")
    fs.rename(f"{place}/new", f"{place}/tree")
    other.write(handle, b"late", 0)
    other.fsync(handle, 0)
    other.close(handle)
    assert content(other, "file") == b"late"
    assert content(fs, f"{place}/old/file") == b"late"
    assert content(other, f"{place}/tree/file") == b"new"


def test_f13_a_layout_goes_before_the_policy(fs: cephfs.LibCephFS, place: str) -> None:
    namespace = "ceph.dir.layout.pool_namespace"
    for directory in ("layout-first", "policy-first"):
        fs.mkdir(f"{place}/{directory}", 0o755)
    fs.setxattr(f"{place}/policy-first", AUTH, POLICY, 0)
    assert refusal(fs.setxattr, f"{place}/policy-first", namespace, b"facts", 0) == errno.EINVAL
    fs.setxattr(f"{place}/layout-first", namespace, b"facts", 0)
    fs.setxattr(f"{place}/layout-first", AUTH, POLICY, 0)
    assert fs.getxattr(f"{place}/layout-first", namespace, LIMIT) == b"facts"


@pytest.mark.tentacle
def test_f20_a_case_insensitive_directory_takes_a_policy(fs: cephfs.LibCephFS, place: str) -> None:
    fs.mkdir(f"{place}/case", 0o755)
    fs.setxattr(f"{place}/case", "ceph.dir.casesensitive", b"0", 0)
    fs.mkdir(f"{place}/case/In", 0o755)
    assert refusal(fs.mkdir, f"{place}/case/iN", 0o755) == errno.EEXIST
    assert b'"casesensitive":false' in fs.getxattr(f"{place}/case/In", "ceph.dir.charmap", LIMIT)
    fs.setxattr(f"{place}/case/In", AUTH, POLICY, 0)
    fs.mkdir(f"{place}/case/In/ab", 0o755)
    assert refusal(fs.mkdir, f"{place}/case/In/AB", 0o755) == errno.EEXIST
    assert refusal(fs.getxattr, place, "ceph.dir.charmap", LIMIT) == errno.ENODATA


def test_f21_a_subvolume_can_be_moved_and_nothing_out_of_it(
    cluster: "Cluster", fs: cephfs.LibCephFS, place: str
) -> None:
    told = "ceph.dir.subvolume"
    for directory in ("volume", "volume/in", "other"):
        fs.mkdir(f"{place}/{directory}", 0o755)
    fs.setxattr(f"{place}/volume", told, b"1", 0)
    fs.sync_fs()
    if cluster.release == "tentacle":
        assert fs.getxattr(f"{place}/volume", told, LIMIT) == b"1"
        assert fs.getxattr(f"{place}/other", told, LIMIT) == b"0"
    else:
        assert refusal(fs.getxattr, f"{place}/volume", told, LIMIT) == errno.ENODATA
    assert refusal(fs.rename, f"{place}/volume/in", f"{place}/other/in") == errno.EXDEV
    fs.rename(f"{place}/volume", f"{place}/other/volume")


def test_f13_fallocate_keeps_the_size_or_punches(
    cluster: "Cluster", fs: cephfs.LibCephFS, place: str
) -> None:
    handle = fs.open(f"{place}/file", os.O_CREAT | os.O_RDWR, 0o644)
    fs.write(handle, b"f" * 2 * BLOCK, 0)
    accepted = []
    for mode in range(8):
        try:
            fs.fallocate(handle, 0, BLOCK, mode)
        except cephfs.Error as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
        else:
            accepted.append(mode)
    # 18.2 also reserves without a mode
    plain = [] if cluster.release == "tentacle" else [0]
    assert accepted == [*plain, KEEP_SIZE, KEEP_SIZE | PUNCH_HOLE]
    assert fs.read(handle, 0, 2 * BLOCK) == bytes(BLOCK) + b"f" * BLOCK
    fs.close(handle)
