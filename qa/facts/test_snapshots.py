"""F16, F17: what libcephfs shows of snapshots."""

import os
from collections.abc import Iterator

import cephfs
import pytest

from qa.facts.tree import create, names


@pytest.fixture
def snapshot(fs: cephfs.LibCephFS, place: str) -> Iterator[str]:
    """A snapshot of a directory with another one in it."""
    fs.mkdirs(f"{place}/d/e", 0o755)
    create(fs, f"{place}/d/e/f", bytes(4096))
    fs.mkdir(f"{place}/d/.snap/s", 0o755)
    yield f"{place}/d/.snap/s"
    fs.rmdir(f"{place}/d/.snap/s")


def test_f16_a_directory_of_a_snapshot_is_lost_when_it_is_met_by_another_way(
    fs: cephfs.LibCephFS, place: str, snapshot: str
) -> None:
    number = fs.stat(f"{place}/d").st_ino
    names(fs, snapshot)
    fs.stat(f"{snapshot}/e/f")
    fs.stat(f"{place}/d/e/.snap/_s_{number}/f")
    with pytest.raises(cephfs.ObjectNotFound):
        fs.stat(f"{snapshot}/e/f")
    names(fs, snapshot)
    fs.stat(f"{snapshot}/e/f")


def test_f17_inodes_of_snapshots_have_the_numbers_of_living_ones(
    fs: cephfs.LibCephFS, place: str, snapshot: str
) -> None:
    numbers, devices = set(), set()
    for path in (f"{place}/d/e/f", f"{snapshot}/e/f"):
        found = fs.statx(path, cephfs.CEPH_STATX_BASIC_STATS, cephfs.AT_SYMLINK_NOFOLLOW)
        assert "dev" not in found
        numbers.add(found["ino"])
        fd = fs.open(path, os.O_RDONLY)
        devices.add(fs.fstat(fd).st_dev)
        fs.close(fd)
    assert (len(numbers), len(devices)) == (1, 2)
