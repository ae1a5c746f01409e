"""New files that are completed behind the back of whoever closed them."""

import contextlib
import fcntl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.format import MasterKey
from qa.fakes.ceph import DiedError, FakeCluster, FakeMount, Loss
from qa.fakes.engine_cases import SECRET
from qa.load.promptness import prompt

KEY = MasterKey(SECRET)
UNFINISHED = 0o200


def opened(mount: FakeMount) -> FileSystem:
    keyring = Keyring()
    keyring.add(KEY)
    return FileSystem(mount, keyring)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    """Where nothing is made durable in its own time."""
    monkeypatch.setattr("mgr_fscrypt.engine.publishing._IDLE", 3600)
    return FakeCluster()


@pytest.fixture
def mount(cluster: FakeCluster) -> FakeMount:
    mount = FakeMount(cluster)
    mount.mkdir(b"/s", 0o755)
    return mount


@pytest.fixture
def files(mount: FakeMount) -> Iterator[FileSystem]:
    with opened(mount) as made:
        made.create_subtree(b"/s", KEY.identifier)
        yield made


def write(files: FileSystem, path: bytes, data: bytes) -> None:
    with files.create(path) as file:
        file.pwrite(data, 0)


def wait_until_complete(cluster: FakeCluster, count: int) -> None:
    """For so many files, as another client has them."""
    other, give_up = FakeMount(cluster), time.monotonic() + 5
    while (
        sum(
            other.stat(b"/s/" + entry.name).mode & 0o777 != UNFINISHED for entry in list(other.scandir(b"/s"))
        )
        < count
    ):
        assert time.monotonic() < give_up
        time.sleep(0.005)


def test_another_client_sees_a_file_that_was_closed(cluster: FakeCluster, files: FileSystem) -> None:
    write(files, b"/s/f", b"new")
    other = opened(FakeMount(cluster))
    assert (other.stat(b"/s/f").size, other.stat(b"/s/f").permissions) == (3, 0o644)
    with other.open(b"/s/f") as file:
        assert file.pread(9, 0) == b"new"


@pytest.mark.parametrize("waits", [True, False], ids=["when it is complete", "at once"])
def test_what_takes_the_place_of_something_is_durable(
    cluster: FakeCluster, mount: FakeMount, waits: bool
) -> None:
    files = opened(mount)
    files.create_subtree(b"/s", KEY.identifier)
    write(files, b"/s/f", b"old")
    files.sync()
    write(files, b"/s/new", b"new")
    if waits:
        wait_until_complete(cluster, 2)
    files.rename(b"/s/new", b"/s/f")
    mount.die_after(0, Loss.ALL)
    with contextlib.suppress(DiedError):
        mount.sync()
    with opened(FakeMount(cluster)).open(b"/s/f") as file:
        assert file.pread(9, 0) == b"new"


def test_a_sync_makes_all_that_was_closed_durable(cluster: FakeCluster, mount: FakeMount) -> None:
    files = opened(mount)
    files.create_subtree(b"/s", KEY.identifier)
    for number in range(200):
        write(files, b"/s/%d" % number, b"%d" % number)
    files.sync()
    mount.die_after(0, Loss.ALL)
    with contextlib.suppress(DiedError):
        mount.sync()
    heir = opened(FakeMount(cluster))
    for number in range(200):
        with heir.open(b"/s/%d" % number) as file:
            assert file.pread(9, 0) == b"%d" % number


def test_with_patience_many_are_completed_at_once(cluster: FakeCluster, mount: FakeMount) -> None:
    keyring = Keyring()
    keyring.add(KEY)
    with FileSystem(mount, keyring, patience=3600) as files:
        files.create_subtree(b"/s", KEY.identifier)
        for number in range(10):
            write(files, b"/s/%d" % number, b"new")
        other = FakeMount(cluster)
        modes = {other.stat(b"/s/" + entry.name).mode & 0o777 for entry in list(other.scandir(b"/s"))}
        assert modes == {UNFINISHED}, "they wait for others"
        # whoever cannot wait any more, and whoever asks, ends that
        for number in range(10, 70):
            write(files, b"/s/%d" % number, b"new")
        wait_until_complete(cluster, 64)
        files.sync()
        wait_until_complete(cluster, 70)


def test_what_could_not_be_completed_is_told_by_the_next_sync_and_removed(
    cluster: FakeCluster, files: FileSystem, mount: FakeMount, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "full")

    with monkeypatch.context() as patch:
        patch.setattr(mount, "fsync", full)
        write(files, b"/s/f", b"new")
        with pytest.raises(OSError, match="full"):
            files.sync()
    files.sync()
    assert not opened(FakeMount(cluster)).exists(b"/s/f")


def test_a_file_that_stays_open_is_shown(cluster: FakeCluster, files: FileSystem) -> None:
    file = files.create(b"/s/f")
    file.pwrite(b"new", 0)
    file.show(0.01)
    with opened(FakeMount(cluster)).open(b"/s/f") as seen:
        assert seen.pread(9, 0) == b"new"
    file.close()


def test_a_file_that_is_removed_in_between_is_no_error(cluster: FakeCluster, files: FileSystem) -> None:
    write(files, b"/s/f", b"new")
    files.unlink(b"/s/f")
    files.sync()
    assert not opened(FakeMount(cluster)).exists(b"/s/f")


def test_what_is_given_up_is_not_published_by_its_lock(cluster: FakeCluster, files: FileSystem) -> None:
    file = files.create(b"/s/f")
    file.pwrite(b"half", 0)
    file.flock(fcntl.LOCK_EX)
    file.discard()
    assert not opened(FakeMount(cluster)).exists(b"/s/f")


def test_files_that_stay_open_hold_up_nobody_who_closes_others(
    cluster: FakeCluster, files: FileSystem
) -> None:
    waiting = [files.create(b"/s/open-%d" % number) for number in range(100)]
    for file in waiting:
        file.show(5)
        file.show(5)
    begun = time.monotonic()
    write(files, b"/s/f", b"new")
    wait_until_complete(cluster, 1)
    prompt(time.monotonic() - begun, 4)
    for file in waiting:
        file.close()


def test_it_is_shown_when_it_was_first_asked_for(cluster: FakeCluster, files: FileSystem) -> None:
    file = files.create(b"/s/f")
    file.show(0.05)
    file.show(3600)
    wait_until_complete(cluster, 1)
    file.close()


def test_many_who_close_at_once_wait_for_room(
    cluster: FakeCluster, files: FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mgr_fscrypt.engine.publishing._LIMIT", 2)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: write(files, b"/s/%d" % number, b"new"), range(64)))
    wait_until_complete(cluster, 64)
