"""Quotas of a directory: told at the call that meets them, nothing half made stays, and what is freed can be used.

libcephfs enforces them in each client, by sums that lag: so every case goes on until it is told, within a bound.
"""

import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mgr_fscrypt.ceph.errors import QuotaError
from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.engine import FileSystem
from qa.fakes.engine_cases import refused
from qa.load.mounted import mounted

MIB = 1 << 20
QUOTA = 8 * MIB
BOUND = 64 * MIB
"""What lags is far less."""


@pytest.fixture
def limited(subtree: str, files: FileSystem) -> Iterator[str]:
    """A subtree that may have 8 MiB and four inodes, itself among them."""
    files.setxattr(subtree, "ceph.quota.max_bytes", b"%d" % QUOTA)
    files.setxattr(subtree, "ceph.quota.max_files", b"4")
    yield subtree
    for name in ("max_bytes", "max_files"):
        files.setxattr(subtree, f"ceph.quota.{name}", b"0")


def until_refused(act: Callable[[], object]) -> QuotaError:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            act()
        except QuotaError as error:
            return error
    pytest.fail("the quota was never told")


def until_done(act: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            act()
        except OSError as error:
            if error.errno != errno.EDQUOT or time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return


def names(files: FileSystem, top: str) -> set[bytes]:
    return {entry.name for entry in files.scandir(top)}


def test_too_many_files(limited: str, files: FileSystem, mount: CephMount):
    made: set[bytes] = set()

    def make() -> None:
        name = b"%d" % len(made)
        with files.create(limited.encode() + b"/" + name) as file:
            file.pwrite(b"data", 0)
        made.add(name)

    refusal = until_refused(make)
    assert (refusal.errno, refusal.filename) == (errno.EDQUOT, limited.encode() + b"/%d" % len(made))
    assert "raised" in str(refusal)
    new = f"{limited}/new"
    for act in (
        lambda: files.create(new),
        lambda: files.mkdir(new),
        lambda: files.symlink("target", new),
        lambda: files.mknod(new, 0o10644),
        lambda: files.link(f"{limited}/0", new),
    ):
        with pytest.raises(QuotaError):
            act()
    assert names(files, limited) == made, "nothing half made stays"
    files.rename(f"{limited}/0", new)
    files.unlink(new)
    until_done(lambda: files.mkdir(new))
    assert files.stat(new).encrypted


def test_too_many_bytes(limited: str, files: FileSystem, mount: CephMount):
    pattern = os.urandom(MIB)
    with files.create(f"{limited}/f") as file:
        file.fsync()
        until_refused(lambda: file.pwrite(pattern, file.size))
        size = file.size
        assert QUOTA <= size <= BOUND
        file.fsync()
        for act in (
            lambda: file.pwrite(pattern, size + 12345),
            lambda: file.truncate(size + 100 * MIB),
            lambda: file.fallocate(0x10, 0, size + 100 * MIB),
        ):
            with pytest.raises(QuotaError):
                act()
        assert file.size == size
        # inside of what is there all goes on
        file.pwrite(b"inside", 5)
        file.fallocate(0x03, MIB, 4096)
        file.fsync()
    with files.open(f"{limited}/f", os.O_RDWR) as file:
        assert file.size == size
        assert file.pread(MIB, size - MIB) == pattern
        assert file.pread(11, 0) == pattern[:5] + b"inside"
        file.truncate(MIB)
        until_done(lambda: file.pwrite(b"freed", MIB))
        assert file.pread(10, MIB - 5) == pattern[-5:] + b"freed"


def test_a_file_that_is_made_beyond_the_quota(limited: str, files: FileSystem):
    def fill() -> None:
        with files.create(f"{limited}/f") as file:
            while file.size < BOUND:
                file.pwrite(bytes(MIB), file.size)

    with pytest.raises(QuotaError):
        fill()
    assert names(files, limited) == set(), "it was not complete"
    # whoever goes on instead gets a file that is complete as far as it was written
    with files.create(f"{limited}/g") as file:
        file.pwrite(b"x", 0)
        until_refused(lambda: file.pwrite(b"x" * MIB, file.size))
        size = file.size
    assert files.stat(f"{limited}/g").size == size
    assert names(files, limited) == {b"g"}


def test_through_the_mount(limited: str, tmp_path: Path, key: Path, files: FileSystem):
    place = tmp_path / "mount"
    place.mkdir()
    with mounted(limited, place, key):
        written = 0
        with (place / "f").open("wb", buffering=0) as file:
            with refused(errno.EDQUOT):
                while written < BOUND:
                    written += file.write(b"x" * 65536)
            os.fsync(file)
        assert (place / "f").stat().st_size == written
        assert (place / "f").read_bytes() == b"x" * written
        (place / "f").unlink()
        with (place / "g").open("wb", buffering=0) as file:
            until_done(lambda: file.write(b"freed"))
        assert (place / "g").read_bytes() == b"freed"
    assert files.stat(f"{limited}/g").size == 5
