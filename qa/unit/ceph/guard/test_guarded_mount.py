"""A guarded mount whose children die, each at the call that a test wants."""

import errno
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("rados")

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.cluster import Cluster
from mgr_fscrypt.ceph.errors import CephError, ClientDiedError, NotFoundError, UnreachableError
from mgr_fscrypt.ceph.guard import mount as guarded
from mgr_fscrypt.ceph.guard import succession
from mgr_fscrypt.ceph.guard.mount import GuardedMount
from qa.fakes.guard_child import Plan

ROOT = Path(__file__).resolve().parents[4]


class Registry:
    """Where dead clients are listed."""

    forgotten: list[str]

    def __init__(self, ioctx: object) -> None:
        pass

    def remove(self, session: str) -> None:
        self.forgotten.append(session)


class FakeRados:
    access = Access()

    def ioctx(self, pool: str, namespace: str) -> "FakeRados":
        return self

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(guarded, "Registry", Registry)
    monkeypatch.setattr(guarded, "_PAGE", 1)
    Registry.forgotten = []


@pytest.fixture
def mount_of(tmp_path: Path) -> Iterator[Callable[..., GuardedMount]]:
    """Start a guard whose children follow a plan."""
    mounts = []

    def start(*deaths: int | None, **plan: Any) -> GuardedMount:
        Plan(list(deaths), **plan).write(tmp_path)
        command = (sys.executable, "-m", "qa.fakes.guard_child", str(tmp_path))
        mounts.append(GuardedMount(cast("Cluster", FakeRados()), command))
        return mounts[-1]

    yield start
    for each in mounts:
        each.shutdown()


def calls(place: Path) -> list[str]:
    """What the children were asked for, as `number name`."""
    return (place / "calls").read_text().splitlines()


def children(place: Path) -> list[list[str]]:
    """The session of each child, and those that it ended."""
    return [line.split() for line in (place / "children").read_text().splitlines()]


def wait_for(what: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 10
    while not what():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def look(mount: GuardedMount) -> list[object]:
    """Every call that only reads."""
    fd = mount.open(b"/f", os.O_RDONLY)
    seen = [
        mount.fstat(fd).size,
        mount.pread(fd, 100, 3),
        mount.fgetxattr(fd, "user.name"),
        mount.capabilities(fd),
        mount.stat(b"/g").size,
        mount.getxattr(b"/g", "user.name"),
        mount.readlink(b"/link"),
        mount.layout(b"/f"),
        [entry.name for entry in mount.scandir(b"/")],
        mount.sessions(),
    ]
    with pytest.raises(NotFoundError) as missing:
        mount.stat(b"/nothing")
    mount.fsync(fd)
    mount.sync()
    mount.close(fd)
    return [*seen, missing.value.filename]


# the number of calls of `look`: open is two of them
LOOK = 18


def test_a_death_at_any_call_that_only_reads_is_not_seen(
    mount_of: Callable[..., GuardedMount], tmp_path: Path
) -> None:
    expected = look(mount_of())
    assert expected[:3] == [8, b"tents", b"/f"]
    assert expected[8] == [b"f", b"g", b"link"]
    assert len(calls(tmp_path)) == LOOK
    for death in range(1, LOOK + 1):
        (tmp_path / "children").unlink()
        mount = mount_of(death)
        assert look(mount) == expected
        wait_for(lambda: len(children(tmp_path)) == 2)
        first, second = children(tmp_path)
        assert second[1:] == first
        wait_for(lambda: Registry.forgotten[-1:] == first)  # noqa: B023 - it is over before the next turn
        mount.shutdown()


CHANGES: dict[str, Callable[[GuardedMount, int], object]] = {
    "pwrite": lambda mount, fd: mount.pwrite(fd, b"x", 0),
    "ftruncate": lambda mount, fd: mount.ftruncate(fd, 3),
    "punch": lambda mount, fd: mount.punch(fd, 0, 4096),
    "fchmod": lambda mount, fd: mount.fchmod(fd, 0o600),
    "fsetxattr": lambda mount, fd: mount.fsetxattr(fd, "user.x", b""),
    "setxattr": lambda mount, fd: mount.setxattr(b"/f", "user.x", b""),
    "removexattr": lambda mount, fd: mount.removexattr(b"/f", "user.name"),
    "chmod": lambda mount, fd: mount.chmod(b"/f", 0o600),
    "chown": lambda mount, fd: mount.chown(b"/f", 1, 1),
    "utimens": lambda mount, fd: mount.utimens(b"/f", 1, 1),
    "mkdir": lambda mount, fd: mount.mkdir(b"/d", 0o700),
    "rmdir": lambda mount, fd: mount.rmdir(b"/d"),
    "unlink": lambda mount, fd: mount.unlink(b"/g"),
    "rename": lambda mount, fd: mount.rename(b"/g", b"/h"),
    "link": lambda mount, fd: mount.link(b"/g", b"/h"),
    "symlink": lambda mount, fd: mount.symlink(b"t", b"/h"),
    "open": lambda mount, fd: mount.open(b"/h", os.O_CREAT | os.O_RDWR, 0o600),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_death_cut_off_is_an_error_and_not_repeated(
    mount_of: Callable[..., GuardedMount], tmp_path: Path, change: str
) -> None:
    mount = mount_of(3)
    fd = mount.open(b"/f", os.O_RDWR)
    with pytest.raises(ClientDiedError, match="may or may not have been done") as error:
        CHANGES[change](mount, fd)
    assert error.value.errno == errno.EIO
    assert mount.stat(b"/g").size == 6
    assert calls(tmp_path) == ["1 open", "1 fstat", f"1 {change}", "2 stat"]


def test_a_change_after_an_idle_death_is_made_once(
    mount_of: Callable[..., GuardedMount], tmp_path: Path
) -> None:
    mount = mount_of()
    fd = mount.open(b"/f", os.O_RDWR)
    os.kill(mount.process, signal.SIGKILL)
    wait_for(lambda: len(children(tmp_path)) == 2)
    mount.pwrite(fd, b"x", 0)
    mount.mkdir(b"/d", 0o700)
    mount.fsync(fd)
    mount.close(fd)
    assert calls(tmp_path)[2:] == ["2 open", "2 fstat", "2 pwrite", "2 mkdir", "2 fsync", "2 close"]


@pytest.mark.parametrize("use", ["fsync", "pread", "pwrite", "close"])
def test_what_was_written_and_not_flushed_is_missed_until_the_file_is_closed(
    mount_of: Callable[..., GuardedMount], use: str
) -> None:
    mount = mount_of(5)
    fd, other = mount.open(b"/f", os.O_RDWR), mount.open(b"/g", os.O_RDWR)
    with pytest.raises(ClientDiedError, match="may or may not"):
        mount.pwrite(fd, b"x", 0)
    uses: dict[str, Callable[[], object]] = {
        "fsync": lambda: mount.fsync(fd),
        "pread": lambda: mount.pread(fd, 1, 0),
        "pwrite": lambda: mount.pwrite(fd, b"x", 0),
        "close": lambda: mount.close(fd),
    }
    with pytest.raises(ClientDiedError, match="since the last fsync is lost") as error:
        uses[use]()
    assert (error.value.errno, error.value.filename) == (errno.EIO, b"/f")
    if use != "close":
        with pytest.raises(ClientDiedError, match="is lost"):
            mount.fsync(fd)
        mount.close(fd)
    with pytest.raises(CephError) as closed:
        mount.pread(fd, 1, 0)
    assert closed.value.errno == errno.EBADF
    assert mount.pread(other, 6, 0) == b"others"


def test_an_acknowledged_write_that_was_not_flushed_is_missed(
    mount_of: Callable[..., GuardedMount], tmp_path: Path
) -> None:
    mount = mount_of()
    fd = mount.open(b"/f", os.O_RDWR)
    mount.pwrite(fd, b"x", 0)
    os.kill(mount.process, signal.SIGKILL)
    with pytest.raises(ClientDiedError, match="is lost"):
        mount.fsync(fd)


def test_what_was_flushed_is_not_missed(mount_of: Callable[..., GuardedMount]) -> None:
    mount = mount_of()
    fd = mount.open(b"/f", os.O_RDWR | os.O_TRUNC)
    mount.pwrite(fd, b"x", 0)
    mount.fsync(fd)
    os.kill(mount.process, signal.SIGKILL)
    mount.fsync(fd)
    assert mount.pread(fd, 8, 0) == b"contents", "the successor's own: opened again without O_TRUNC"
    mount.close(fd)


def test_attributes_that_were_not_synced_are_missed_once(mount_of: Callable[..., GuardedMount]) -> None:
    mount = mount_of()
    mount.chmod(b"/f", 0o600)
    mount.sync()
    os.kill(mount.process, signal.SIGKILL)
    mount.sync()
    mount.chmod(b"/f", 0o600)
    os.kill(mount.process, signal.SIGKILL)
    with pytest.raises(ClientDiedError, match="is lost"):
        mount.sync()
    mount.sync()


def test_what_a_closed_file_left_in_the_caches_is_missed_by_sync(
    mount_of: Callable[..., GuardedMount],
) -> None:
    mount = mount_of()
    fd = mount.open(b"/f", os.O_RDWR)
    mount.pwrite(fd, b"x", 0)
    mount.close(fd)
    os.kill(mount.process, signal.SIGKILL)
    with pytest.raises(ClientDiedError, match="is lost"):
        mount.sync()


@pytest.mark.parametrize("files", [{"/g": "g", "/f": "f"}, {"/g": "g"}], ids=["replaced", "removed"])
def test_a_file_that_is_another_by_then_is_stale(
    mount_of: Callable[..., GuardedMount], tmp_path: Path, files: dict[str, str]
) -> None:
    mount = mount_of()
    fd = mount.open(b"/f", os.O_RDONLY)
    Plan(files=files).write(tmp_path)
    os.kill(mount.process, signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(CephError, match="Open it again") as error:
            mount.pread(fd, 1, 0)
        assert (error.value.errno, error.value.filename) == (errno.ESTALE, b"/f")
    mount.close(fd)


def test_a_call_that_kills_every_child_ends(mount_of: Callable[..., GuardedMount], tmp_path: Path) -> None:
    mount = mount_of(1, 1, 1, 1, 1)
    with pytest.raises(ClientDiedError, match="died 4 times while it did this"):
        mount.stat(b"/f")
    assert len(calls(tmp_path)) == 4


def test_too_many_deaths_are_an_error_until_their_time_is_over(
    mount_of: Callable[..., GuardedMount], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(succession, "DEATHS", 3)
    monkeypatch.setattr(succession, "WITHIN", 3.0)
    mount = mount_of(1, 0, 0)
    begun = time.monotonic()
    with pytest.raises(ClientDiedError, match="died 3 times within 3 s") as error:
        mount.stat(b"/f")
    assert error.value.errno == errno.EIO
    wait_for(lambda: len(children(tmp_path)) == 4)
    assert time.monotonic() - begun >= 2.5
    wait_for(lambda: works(lambda: mount.stat(b"/f")))


def works(act: Callable[[], object]) -> bool:
    try:
        act()
    except CephError:
        return False
    return True


def test_a_first_child_that_dies_before_it_mounts_is_told_at_once(
    mount_of: Callable[..., GuardedMount], tmp_path: Path
) -> None:
    with pytest.raises(ClientDiedError, match="ended before it had mounted"):
        mount_of(0, 0, 0)
    assert len(children(tmp_path)) == 1


def test_a_child_that_leaves_a_call_unanswered_is_replaced(mount_of: Callable[..., GuardedMount]) -> None:
    mount = mount_of()
    child = mount._succession.living()
    with pytest.raises(RuntimeError, match="no such call") as mistake:
        mount._read("no such call")
    assert "KeyError" in str(mistake.value)
    assert mount._succession.living() is child, "an answer it was"
    mount._succession.lost(child)
    assert mount.stat(b"/f").size == 8
    assert mount.process != child.pid


def test_a_cluster_that_lets_nobody_in_is_told_as_it_is(
    mount_of: Callable[..., GuardedMount], tmp_path: Path
) -> None:
    with pytest.raises(UnreachableError, match="nobody there"):
        mount_of(away=True)
    assert len(children(tmp_path)) == 1


def test_a_successor_that_is_not_let_in_at_first_goes_on_later(
    mount_of: Callable[..., GuardedMount], tmp_path: Path
) -> None:
    mount = mount_of()
    Plan(away=True).write(tmp_path)
    os.kill(mount.process, signal.SIGKILL)
    with pytest.raises(UnreachableError):
        mount.stat(b"/f")
    Plan().write(tmp_path)
    wait_for(lambda: works(lambda: mount.stat(b"/f")))
    assert children(tmp_path)[-1][1:] == children(tmp_path)[0]


def test_calls_of_many_threads_outlive_a_death(mount_of: Callable[..., GuardedMount]) -> None:
    mount = mount_of()
    fds = [mount.open(path, os.O_RDONLY) for path in (b"/f", b"/g") * 4]
    expected = [b"contents", b"others"] * 4
    wrong: list[object] = []
    enough = threading.Event()

    def read(number: int) -> None:
        while not enough.is_set():
            try:
                found = mount.pread(fds[number], 100, 0)
            except Exception as error:  # noqa: BLE001 - shown below
                found = error  # type: ignore[assignment]
            if found != expected[number]:
                wrong.append(found)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        time.sleep(0.3)
        os.kill(mount.process, signal.SIGKILL)
    time.sleep(0.5)
    enough.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_renewal_is_a_new_child_and_no_death(mount_of: Callable[..., GuardedMount], tmp_path: Path) -> None:
    mount = mount_of()
    fd = mount.open(b"/f", os.O_RDONLY)
    before = mount.process
    mount.renew()
    assert mount.process != before
    with pytest.raises(CephError, match="Bad file descriptor"):
        mount.pread(fd, 1, 0)
    assert [len(child) for child in children(tmp_path)] == [1, 1]


def test_the_end_is_in_good_order(
    mount_of: Callable[..., GuardedMount], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mount = mount_of()
    child = mount.process
    mount.shutdown()
    mount.shutdown()
    assert not Path(f"/proc/{child}").exists()
    assert caplog.records == []
    with pytest.raises(CephError) as error:
        mount.stat(b"/f")
    assert error.value.errno == errno.ENOTCONN


def test_last_words_go_to_the_log(
    mount_of: Callable[..., GuardedMount], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        mount_of(1, 0).stat(b"/f")
    said = [record.getMessage() for record in caplog.records]
    assert any("terminate called" in line for line in said)
    assert any("died by SIGABRT" in line for line in said)
