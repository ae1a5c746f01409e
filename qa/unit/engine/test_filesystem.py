"""The engine's cases on the fake, and what only the fake can show: a process that dies at any point."""

import contextlib
import errno
import os
from collections.abc import Callable

import pytest

from mgr_fscrypt.ceph.errors import NotFoundError
from mgr_fscrypt.engine import DamagedError, FileMode, FileSystem, Keyring, RefusedError
from mgr_fscrypt.engine.fsck import Severity
from mgr_fscrypt.format import AUTH_XATTR, ENGINE_XATTR, Context, EngineRecord, MasterKey, Names, raw_size
from qa.fakes.ceph import DiedError, FakeCluster, FakeMount
from qa.fakes.engine_cases import SECRET, EngineCases
from qa.fakes.long_name_cases import LongNameCases
from qa.fakes.policy_cases import PolicyCases
from qa.fakes.posix_cases import PosixCases
from qa.fakes.snapshot_cases import SnapshotCases

pytestmark = pytest.mark.usefixtures("hasty")


class TestOnTheFake(EngineCases):
    """Everything that the engine promises of one client."""


class TestPosixOnTheFake(PosixCases):
    """What POSIX has beside names and contents."""


class TestSnapshotsOnTheFake(SnapshotCases):
    """What is seen of snapshots."""


class TestLongNamesOnTheFake(LongNameCases):
    """Names that kernels stored hashed."""


class TestPoliciesOnTheFake(PolicyCases):
    """Policies in each other's way."""


KEY = MasterKey(SECRET)
BEFORE = b"a" * 10000
STATES: dict[str, tuple[Callable[[FileSystem], object], tuple[bytes, ...]]] = {
    "grow": (lambda fs: write(fs, b"b" * 9000, 5000), (BEFORE, BEFORE[:5000] + b"b" * 9000)),
    "grow over a gap": (lambda fs: write(fs, b"b", 50000), (BEFORE, BEFORE + bytes(40000) + b"b")),
    "truncate up": (lambda fs: truncate(fs, 20001), (BEFORE, BEFORE + bytes(10001))),
    "truncate down": (lambda fs: truncate(fs, 4097), (BEFORE, BEFORE[:4097])),
    "truncate within the block": (lambda fs: truncate(fs, 9000), (BEFORE, BEFORE[:9000])),
    "truncate to nothing": (lambda fs: truncate(fs, 0), (BEFORE, b"")),
}


def write(fs: FileSystem, data: bytes, offset: int) -> None:
    with fs.open(b"/s/f", os.O_RDWR) as file:
        file.pwrite(data, offset)


def truncate(fs: FileSystem, size: int) -> None:
    with fs.open(b"/s/f", os.O_RDWR) as file:
        file.truncate(size)


def read(fs: FileSystem, path: bytes) -> bytes:
    with fs.open(path) as file:
        return file.pread(file.size, 0)


def subtree() -> tuple[FakeCluster, FakeMount, FileSystem]:
    cluster = FakeCluster()
    mount = FakeMount(cluster)
    mount.mkdir(b"/s", 0o755)
    fs = opened(mount)
    fs.create_subtree(b"/s", KEY.identifier)
    return cluster, mount, fs


def opened(mount: FakeMount) -> FileSystem:
    keyring = Keyring()
    keyring.add(KEY)
    return FileSystem(mount, keyring, durable_close=True)


def changes_of(act: Callable[[FileSystem], object]) -> int:
    """How many changes an act makes on a file of `BEFORE`."""
    for changes in range(100):
        cluster, _, fs = subtree()
        with fs.create(b"/s/f") as file:
            file.pwrite(BEFORE, 0)
        dying = FakeMount(cluster)
        dying.die_after(changes)
        try:
            act(opened(dying))
        except DiedError:
            continue
        return changes
    raise AssertionError("it never ends")


@pytest.mark.parametrize("name", STATES)
def test_a_writer_that_dies_at_any_change_leaves_one_of_two_contents(name: str) -> None:
    """One call that crosses blocks may be cut between whole blocks only when it overwrites; these grow or shrink."""
    act, contents = STATES[name]
    total = changes_of(act)
    assert total >= 2
    for changes in range(total):
        cluster, _, fs = subtree()
        with fs.create(b"/s/f") as file:
            file.pwrite(BEFORE, 0)
        dying = FakeMount(cluster)
        dying.die_after(changes)
        with pytest.raises(DiedError):
            act(opened(dying))
        cluster.leases.clear()
        found = read(opened(FakeMount(cluster)), b"/s/f")
        size = len(found)
        assert size in {len(each) for each in contents}, f"after {changes} changes"
        allowed = {each[:size] for each in contents if len(each) >= size}
        assert found in allowed, f"after {changes} changes"
        write(opened(FakeMount(cluster)), b"end", 60000)
        assert read(opened(FakeMount(cluster)), b"/s/f") == found.ljust(60000, b"\0") + b"end"


def test_a_maker_that_dies_at_any_change_leaves_nothing_or_something_half_made_or_complete() -> None:
    def act(fs: FileSystem) -> None:
        with fs.create(b"/s/g") as file:
            file.pwrite(b"x" * 5000, 0)
        fs.mkdir(b"/s/d")
        fs.symlink(b"target", b"/s/l")

    total = changes_of(act)
    seen = set()
    for changes in range(total):
        cluster, _, _ = subtree()
        dying = FakeMount(cluster)
        dying.die_after(changes)
        with pytest.raises(DiedError):
            act(opened(dying))
        fs = opened(FakeMount(cluster))
        for path, look in (
            (b"/s/g", read),
            (b"/s/d", lambda fs, path: list(fs.scandir(path))),
            (b"/s/l", FileSystem.readlink),
        ):
            try:
                found = look(fs, path)
            except NotFoundError:
                seen.add((path, "absent"))
            except DamagedError:
                seen.add((path, "half made"))
                (fs.rmdir if path == b"/s/d" else fs.unlink)(path)
                assert not fs.exists(path)
            else:
                seen.add((path, "complete"))
                assert found in (b"x" * 5000, [], b"target")
    assert {state for _, state in seen} == {"absent", "half made", "complete"}


@pytest.mark.parametrize("job", ["release", "hold"])
def test_a_job_that_dies_at_any_change_is_ended_by_the_next(job: str) -> None:
    for changes in range(100):
        cluster, _, fs = subtree()
        for name, data in ((b"/s/a", b"x" * 5000), (b"/s/b", b"")):
            with fs.create(name) as file:
                file.pwrite(data, 0)
        if job == "hold":
            assert fs.release(b"/s").complete
        dying = FakeMount(cluster)
        dying.die_after(changes)
        ended = True
        try:
            getattr(opened(dying), job)(b"/s")
        except DiedError:
            ended = False
        cluster.leases.clear()
        after = opened(FakeMount(cluster))
        fsck = FileSystem(FakeMount(cluster), Keyring()).fsck(b"/s", patience=0)
        named = list(fsck.findings())
        assert {one.code.severity for one in named} <= {Severity.INTERRUPTED}, named
        assert all(fsck.repair(one) for one in named if one.repair), "and both ways the job can go on"
        assert read(after, b"/s/a") == b"x" * 5000
        assert getattr(after, job)(b"/s").complete
        assert after.subtree(b"/s").mode is (FileMode.KERNEL if job == "release" else FileMode.ENGINE)
        assert read(after, b"/s/a") == b"x" * 5000
        assert not list(after.fsck(b"/s", patience=0).findings())
        if ended:
            assert changes > 4
            return
    raise AssertionError("it never ends")


def test_a_block_that_ends_with_an_exception_leaves_no_file() -> None:
    _, mount, fs = subtree()
    with contextlib.suppress(ZeroDivisionError), fs.create(b"/s/f") as file:
        file.pwrite(b"x" * 5000, 0)
        raise ZeroDivisionError
    assert not fs.exists(b"/s/f")
    with contextlib.suppress(ZeroDivisionError), fs.create(b"/s/f") as file:
        file.pwrite(b"x" * 5000, 0)
        file.fsync()
        raise ZeroDivisionError
    assert read(fs, b"/s/f") == b"x" * 5000
    assert mount.cluster.leases == {}


def test_no_directory_stays_open_when_a_listing_ends_early() -> None:
    _, mount, fs = subtree()
    for name in (b"/full", b"/full/x"):
        mount.mkdir(name, 0o755)
    with pytest.raises(RefusedError) as refusal:
        fs.create_subtree(b"/full", KEY.identifier)
    assert refusal.value.errno == errno.ENOTEMPTY
    assert mount.streams == 0, "closed, although the exception keeps the frames of its makers alive"
    fs.mkdir(b"/s/d")
    for name in (b"/s/f", b"/s/d/g"):
        fs.create(name).close()
    listing = fs.scandir(b"/s")
    next(listing)
    listing.close()
    assert mount.streams == 0
    dying = FakeMount(mount.cluster)
    dying.die_after(0)
    with pytest.raises(DiedError) as death:
        opened(dying).release(b"/s")
    assert dying.streams == 0, str(death)


def test_an_erasure_coded_pool_is_warned_of() -> None:
    cluster, _, fs = subtree()
    assert fs.subtree(b"/s").warnings == ()
    cluster.coded.add("cephfs_data")
    (warning,) = fs.subtree(b"/s").warnings
    assert "erasure coded" in warning


def test_a_reader_of_a_busy_file_gets_what_its_writer_told_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mgr_fscrypt.engine.inodes.LEASE_TIMEOUT", 0.05)
    cluster, mount, fs = subtree()
    with fs.create(b"/s/f") as file:
        file.pwrite(b"x" * 5000, 0)
    with fs.open(b"/s/f", os.O_RDWR):
        names = Names(KEY, Context.decode_auth(mount.getxattr(b"/s", AUTH_XATTR)))
        stored = b"/s/" + names.encode(b"f").dname
        fd = mount.open(stored, 2)
        mount.ftruncate(fd, 1 << 20)
        mount.close(fd)
        other = opened(FakeMount(cluster))
        assert other.stat(b"/s/f").size == 5000
        assert read(other, b"/s/f") == b"x" * 5000
        assert EngineRecord.decode(mount.getxattr(stored, ENGINE_XATTR)).real_size == 5000
        assert mount.stat(stored).size == 1 << 20 != raw_size(5000), "whoever has no lease repairs nothing"
