"""Huge directories are streams: what listing them takes does not grow with what is in them."""

import gc
import tracemalloc
from collections.abc import Callable, Generator
from itertools import islice

import pytest

from mgr_fscrypt.ceph.interface import Entry, Kind
from mgr_fscrypt.client.fuse_operations import FuseOperations
from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.engine.subtrees import policy_of
from mgr_fscrypt.format import AUTH_XATTR, Context, MasterKey, Mode, Names
from qa.fakes.ceph import FakeCluster, FakeMount
from qa.fakes.engine_cases import SECRET

KEY = MasterKey(SECRET)
FEW, MANY = 500, 20_000
ROOM = 256 << 10
"""Bytes by which two measurements may differ: caches of names and of small objects fill up."""


class EndlessMount(FakeMount):
    """A client of a directory with any number of entries, which are nowhere before they are listed."""

    def __init__(self, cluster: FakeCluster) -> None:
        super().__init__(cluster)
        self.count = 0
        self.names: Names | None = None

    def scandir(self, path: bytes) -> Generator[Entry]:
        names = self.names
        assert names is not None
        for number in range(self.count):
            yield Entry(names.encode(b"entry number %d" % number).dname, number + 2, Kind.FILE)


@pytest.fixture
def mount() -> EndlessMount:
    made = EndlessMount(FakeCluster())
    made.mkdir(b"/s", 0o755)
    made.setxattr(
        b"/s", AUTH_XATTR, Context.fresh(policy_of(KEY.identifier, 32, Mode.AES_256_XTS)).encode_auth()
    )
    made.names = Names(KEY, Context.decode_auth(made.getxattr(b"/s", AUTH_XATTR)))
    return made


@pytest.fixture
def files(mount: EndlessMount) -> FileSystem:
    keyring = Keyring()
    keyring.add(KEY)
    return FileSystem(mount, keyring, durable_close=True)


def peak(act: Callable[[], int], count: int) -> int:
    """The most bytes that Python's objects took at once."""
    gc.collect()
    tracemalloc.start()
    try:
        assert act() == count
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_engine_lists_in_bounded_memory(mount: EndlessMount, files: FileSystem) -> None:
    peaks = []
    for mount.count in (FEW, MANY):
        peaks.append(
            peak(lambda: sum(entry.name.startswith(b"entry") for entry in files.scandir(b"/s")), mount.count)
        )
    print(f"sampled: {MANY} entries listed, {peaks[1]} bytes at the peak; {FEW} entries, {peaks[0]} bytes")
    assert peaks[1] < peaks[0] + ROOM


def test_the_mount_lists_in_bounded_memory(mount: EndlessMount, files: FileSystem) -> None:
    """As the kernel asks: some entries at a time, each time from the offset of the last that fitted."""
    operations = FuseOperations(files, b"/s", lambda: None)

    def listed() -> int:
        handle, offset, count = operations.opendir("/"), 0, 0
        while piece := list(islice(operations.readdir_with_offset("/", offset, handle), 101)):
            # the last one did not fit
            taken = piece[:-1] or piece
            offset, count = taken[-1][2], count + len(taken)
        operations.releasedir("/", handle)
        return count - len((".", ".."))

    peaks = []
    for mount.count in (FEW, MANY):
        peaks.append(peak(listed, mount.count))
    print(
        f"sampled: {MANY} entries through the mount, {peaks[1]} bytes at the peak; {FEW} entries, {peaks[0]} bytes"
    )
    assert peaks[1] < peaks[0] + ROOM


def test_who_keeps_what_was_listed_is_told_apart(mount: EndlessMount, files: FileSystem) -> None:
    """The measurement sees a list that is kept."""
    mount.count = MANY
    assert peak(lambda: len(list(files.scandir(b"/s"))), MANY) > 10 * ROOM
