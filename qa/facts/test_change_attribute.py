"""F16: what a file's change attribute (STATX_VERSION) tells, on which the cache on disk rests."""

import os
from typing import Any

import cephfs
import pytest

from qa.facts.client import Clients
from qa.facts.tree import BLOCK, create

CACHE = 1 << 10
"""Fc, in the bits of `debug_get_fd_caps`."""
PUNCH = cephfs.FALLOC_FL_PUNCH_HOLE | cephfs.FALLOC_FL_KEEP_SIZE


def version(fs: Any, path: str) -> int:
    mask = cephfs.CEPH_STATX_BASIC_STATS | cephfs.CEPH_STATX_VERSION
    found: int = fs.statx(path, mask, 0)["version"]
    return found


CHANGES = {
    "write": lambda fs, fd: fs.write(fd, b"b" * BLOCK, 0),
    "the same bytes again": lambda fs, fd: fs.write(fd, b"b" * BLOCK, 0),
    "write at the end": lambda fs, fd: fs.write(fd, b"c" * BLOCK, 8 * BLOCK),
    "truncate up": lambda fs, fd: fs.ftruncate(fd, 20 * BLOCK),
    "truncate down": lambda fs, fd: fs.ftruncate(fd, 5 * BLOCK),
    "truncate up in the object": lambda fs, fd: fs.ftruncate(fd, 6 * BLOCK),
    "punch": lambda fs, fd: fs.fallocate(fd, BLOCK, BLOCK, PUNCH),
    "punch again": lambda fs, fd: fs.fallocate(fd, BLOCK, BLOCK, PUNCH),
    "attribute": lambda fs, fd: fs.fsetxattr(fd, "user.a", b"1", 0),
}


@pytest.mark.parametrize("flushed", [True, False])
def test_f16_each_change_raises_it_for_others(clients: Clients, place: str, *, flushed: bool) -> None:
    writer, other = clients.open(), clients.open()
    path = f"{place}/file"
    create(writer, path, b"a" * 4 * BLOCK)
    fd = writer.open(path, os.O_RDWR)
    before = version(other, path)
    for name, change in CHANGES.items():
        change(writer, fd)
        if flushed:
            writer.fsync(fd, 0)
        after = version(other, path)
        assert after > before, name
        assert version(writer, path) == after, name
        before = after
    writer.read(fd, 0, BLOCK)
    assert version(other, path) == before
    writer.close(fd)


def test_f16_writers_in_turn_raise_it_each_time(clients: Clients, place: str) -> None:
    """Each counts on from what it knows, and the MDS keeps the highest: whoever looked has made them know it.

    So it is no count of changes: two writers at once raise it by one.
    """
    first, second, other = (clients.open() for _ in range(3))
    path = f"{place}/file"
    create(first, path, b"a" * 4 * BLOCK)
    handles = [(writer, writer.open(path, os.O_RDWR)) for writer in (first, second)]
    before = version(other, path)
    for turn in range(40):
        writing = handles if turn % 4 == 3 else [handles[turn % 2 if turn % 5 else 0]]
        for writer, fd in writing:
            writer.write(fd, b"%d" % turn, turn % 3 * BLOCK)
            if turn % 7 == 0:
                writer.fsync(fd, 0)
        after = version(other, path)
        assert after > before, turn
        before = after
    for writer, fd in handles:
        writer.close(fd)


def test_f16_it_outlives_a_writer_that_fsynced(clients: Clients, place: str) -> None:
    writer, other = clients.open(), clients.open()
    path = f"{place}/file"
    create(writer, path, b"a" * 4 * BLOCK)
    before = version(other, path)
    fd = writer.open(path, os.O_RDWR)
    writer.write(fd, b"b", 0)
    writer.fsync(fd, 0)
    writer.kill()
    writer.bury()
    assert version(other, path) > before


def test_f16_readers_alone_may_cache_and_know_it_themselves(clients: Clients, place: str) -> None:
    first, second, writer = (clients.open() for _ in range(3))
    path = f"{place}/file"
    create(writer, path, b"a" * 4 * BLOCK)
    handles = [(reader, reader.open(path, os.O_RDONLY)) for reader in (first, second)]
    for reader, fd in handles:
        reader.read(fd, 0, BLOCK)
    for reader, fd in handles:
        assert reader.debug_get_fd_caps(fd) & CACHE
    writing = writer.open(path, os.O_RDWR)
    writer.write(writing, b"b", 0)
    for reader, fd in handles:
        assert not reader.debug_get_fd_caps(fd) & CACHE
        reader.close(fd)
    writer.close(writing)
