"""Several clients count inside one block, buffered against direct, while snapshots are taken: none loses anything, and
no snapshot changes afterwards."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.engine import FileSystem
from mgr_fscrypt.format import BLOCK_SIZE, ENGINE_XATTR, Contents, EngineRecord, MasterKey
from qa.fakes.engine_cases import SECRET

ROUNDS = 25
PAUSE = 0.1
"""Seconds between two snapshots."""
KINDS = {
    "buffered, closed": (0, False),
    "buffered, fsynced": (0, True),
    "O_DIRECT": (os.O_DIRECT, False),
    "O_SYNC": (os.O_SYNC, False),
}
"""Flags of the handle, and whether each increment is fsynced. All of them count at once."""
COUNTER = """
import os, sys
from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from qa.load.kills import opened
path, rounds, place, flags, fsync = sys.argv[1], *map(int, sys.argv[2:])
with connect(Access()) as mount, opened(mount) as files:
    with files.open(path, os.O_RDWR | flags) as file:
        print("ready", flush=True)
        sys.stdin.readline()
        for _ in range(rounds):
            seen = int.from_bytes(file.pread(8, place), "little")
            file.pwrite((seen + 1).to_bytes(8, "little"), place)
            if fsync:
                file.fsync()
"""


@dataclass(frozen=True)
class Snapshot:
    """What a snapshot of the file shows: its stored bytes, and what they mean."""

    path: bytes
    digest: str
    counters: tuple[int, ...]


@pytest.fixture
def snapshots(mount: CephMount, subtree: str) -> Iterator[bytes]:
    """The `.snap` of the subtree, emptied before the subtree goes."""
    top = subtree.encode() + b"/.snap"
    yield top
    for entry in list(mount.scandir(top)):
        mount.rmdir(top + b"/" + entry.name)


def look(mount: CephMount, path: bytes, place: int) -> Snapshot:
    """The one file of a snapshot, by a mount that knows nothing of encryption, decrypted by the format."""
    (entry,) = mount.scandir(path)
    stored = path + b"/" + entry.name
    fd = mount.open(stored, os.O_RDONLY)
    try:
        raw = mount.pread(fd, mount.stat(stored).size, 0)
    finally:
        mount.close(fd)
    record = EngineRecord.decode(mount.getxattr(stored, ENGINE_XATTR))
    with Contents(MasterKey(SECRET), record.context) as contents:
        plain = contents.decrypt(raw, 0, holes=True)[: record.real_size]
    shown = plain[place : place + 8 * len(KINDS)]
    counters = tuple(int.from_bytes(shown[at : at + 8], "little") for at in range(0, len(shown), 8))
    return Snapshot(path, hashlib.sha256(raw).hexdigest(), counters)


@pytest.mark.parametrize(("start", "place"), [("extent", 0), ("hole", BLOCK_SIZE), ("end", 100)])
def test_counters_in_one_block(
    files: FileSystem, mount: CephMount, subtree: str, snapshots: bytes, start: str, place: int
) -> None:
    path = f"{subtree}/f"
    with files.create(path) as file:
        if start == "extent":
            file.pwrite(bytes(range(256))[::-1] * 16, 0)
            file.pwrite(bytes(8 * len(KINDS)), place)
        elif start == "hole":
            file.truncate(3 * BLOCK_SIZE)
        else:
            file.pwrite(b"x" * place, 0)
    counting = [
        subprocess.Popen(
            [sys.executable, "-c", COUNTER, path]
            + [str(number) for number in (ROUNDS, place + 8 * slot, flags, int(fsync))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for slot, (flags, fsync) in enumerate(KINDS.values())
    ]
    for child in counting:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in counting:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    taken: list[Snapshot] = []
    begun = time.monotonic()
    while any(child.poll() is None for child in counting):
        name = snapshots + b"/%d" % len(taken)
        mount.mkdir(name, 0o755)
        taken.append(look(mount, name, place))
        time.sleep(PAUSE)
    for child in counting:
        child.communicate(timeout=60)
        assert child.returncode == 0
    with files.open(path) as file:
        found = file.pread(8 * len(KINDS), place)
    assert found == ROUNDS.to_bytes(8, "little") * len(KINDS)
    with connect(Access()) as fresh:
        assert [look(fresh, one.path, place) for one in taken] == taken, "a snapshot has changed"
    for earlier, later in pairwise(taken):
        # a counter past the end was not told yet
        assert all(one <= two for one, two in zip(earlier.counters, later.counters, strict=False))
    between = sum(0 < sum(one.counters) < ROUNDS * len(KINDS) for one in taken)
    print(
        f"sampled: counters: {len(KINDS)} clients x {ROUNDS} from the {start}, {len(taken)} snapshots, {between} "
        f"of them in the middle; {time.monotonic() - begun:.0f} s"
    )
    assert between, "snapshots before and after the load show little"
