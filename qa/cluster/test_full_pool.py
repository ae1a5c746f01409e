"""A pool that is full: errors that say so, nothing acknowledged lost, nobody taken for dead (doc/facts.md F16)."""

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.errors import CephError
from mgr_fscrypt.ceph.leases import DURATION, NAMESPACE
from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.ceph.presence import EVIDENCE, INTERVAL, Judge, Registry, new_uuid
from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.engine.files import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE
from mgr_fscrypt.format import MasterKey
from qa.fakes.engine_cases import SECRET
from qa.lab.cluster import Cluster
from qa.load.full_pool import POOL, FullPool, full_pool
from qa.load.mounted import mounted
from qa.load.promptness import prompt

PROMPT = 5.0
"""Seconds in which a full pool is told."""
OLD, NEW = b"acknowledged" * 1000, b"new" * 9000
_PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE


@pytest.fixture
def pool(cluster: Cluster) -> Iterator[FullPool]:
    with full_pool(cluster) as made:
        yield made


def refused(act: Callable[[], object]) -> None:
    """No space, and that is said at once."""
    begun = time.monotonic()
    with pytest.raises(OSError, check=lambda error: error.errno == errno.ENOSPC):
        act()
    prompt(time.monotonic() - begun, PROMPT)


def contents(files: FileSystem, path: str) -> bytes:
    with files.open(path) as file:
        return file.pread(file.size, 0)


def as_others_see(path: str) -> bytes:
    keyring = Keyring()
    keyring.add(MasterKey(SECRET))
    with connect(Access()) as mount, FileSystem(mount, keyring) as files:
        return contents(files, path)


def test_errors_are_told_and_what_was_acknowledged_stays(
    files: FileSystem, subtree: str, key: Path, tmp_path: Path, pool: FullPool
) -> None:
    old, over, within, new, later = (
        f"{subtree}/{name}" for name in ("old", "over", "within", "new", "later")
    )
    for path in (old, over, within):
        with files.create(path) as file:
            file.pwrite(OLD, 0)
    grown, changed = files.open(over, os.O_RDWR), files.open(within, os.O_RDWR)
    made = files.create(new)
    (tmp_path / "mount").mkdir()
    with mounted(subtree, tmp_path / "mount", key):
        # a client that uses the pool for the first time when it is full would wait (doc/facts.md F16)
        assert (tmp_path / "mount" / "old").read_bytes() == OLD

        def accepted_before_it_is_known() -> None:
            with contextlib.suppress(CephError):
                grown.pwrite(NEW, len(OLD))
                changed.pwrite(b"!" * 4096, 4096)
                made.pwrite(NEW, 0)

        pool.fill(accepted_before_it_is_known)
        for file in (grown, changed):
            refused(file.fsync)
            file.fsync()
            assert file.size == len(OLD)
            assert file.pread(1 << 20, 0) == OLD
        refused(made.close)
        assert not files.exists(new)

        # and afterwards
        def grow() -> None:
            grown.pwrite(NEW, len(OLD))
            grown.fsync()

        refused(grow)
        grown.fsync()
        assert grown.size == len(OLD)
        refused(lambda: grown.fallocate(_PUNCH, 4096, 4096))
        assert grown.pread(1 << 20, 0) == OLD
        last = files.create(later)

        def fill_and_close() -> None:
            try:
                last.pwrite(NEW, 0)
            finally:
                last.close()

        refused(fill_and_close)
        refused(lambda: (tmp_path / "mount" / "old").write_bytes(NEW))
        refused(lambda: (tmp_path / "mount" / "another").write_bytes(NEW))
        for path in (over, within):
            assert as_others_see(path) == OLD

        # what frees space goes on, and so does what needs none
        (tmp_path / "mount" / "another").unlink()
        files.rename(within, within + "-renamed")
        files.mkdir(subtree + "/directory")
        changed.truncate(4096)
        changed.fsync()
        pool.free()
        grow()
        grown.fallocate(_PUNCH, 4096, 4096)
        (tmp_path / "mount" / "another").write_bytes(NEW)
        assert (tmp_path / "mount" / "another").read_bytes() == NEW
    with files.create(new) as file:
        file.pwrite(NEW, 0)
    for file in (grown, changed):
        file.close()
    assert as_others_see(over) == OLD[:4096] + bytes(4096) + OLD[8192:] + NEW
    assert as_others_see(within + "-renamed") == OLD[:4096]
    assert as_others_see(new) == NEW


def test_the_living_are_not_taken_for_dead(
    files: FileSystem, subtree: str, mount: CephMount, pool: FullPool
) -> None:
    """Signs of life and leases are renewed in a full pool, and taken anew."""
    path = f"{subtree}/f"
    with files.create(path) as file:
        file.pwrite(OLD, 0)
    held = files.open(path, os.O_RDWR)
    held.pwrite(b"x", 0)
    held.fsync()
    ioctx = mount.cluster.ioctx(POOL, NAMESPACE)
    try:
        judge = Judge(Registry(ioctx), new_uuid)
        pool.fill()
        end = time.monotonic() + DURATION + EVIDENCE + 1
        while time.monotonic() < end:
            assert mount._uuid not in judge.dead()
            time.sleep(INTERVAL)
        assert held._inode.own_size == len(OLD), "its lease is still ours"
        known = judge.registry.clients().keys()
        with connect(Access()) as other:
            other.require_writable()
            lease = other.lease(1 << 60)
            lease.acquire(1)
            lease.release()
            assert len(judge.registry.clients().keys() - known) == 1, "a new client can make itself known"
    finally:
        ioctx.close()
    pool.free()
    held.close()
