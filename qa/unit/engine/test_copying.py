"""`hold --copy` on the fake, with a client that dies before any of its changes."""

from collections.abc import Iterator

import pytest

from mgr_fscrypt.engine import FileMode, FileSystem, Keyring
from mgr_fscrypt.format import MasterKey
from qa.fakes.ceph import DiedError, FakeCluster, FakeMount, Loss
from qa.fakes.copying_cases import NAMES, CopyingCases, build, contents
from qa.fakes.engine_cases import SECRET

KEY = MasterKey(SECRET)
LINKED = (b"/a link", b"/d/linked", b"/d/e/linked too")
pytestmark = pytest.mark.usefixtures("hasty")


class TestCopyingOnTheFake(CopyingCases):
    """Kernel to engine mode by new inodes."""


def client(cluster: FakeCluster) -> tuple[FakeMount, FileSystem]:
    keyring = Keyring()
    keyring.add(KEY)
    mount = FakeMount(cluster)
    return mount, FileSystem(mount, keyring, durable_close=True)


def crashes(loss: Loss) -> Iterator[FakeCluster]:
    """A cluster for each point at which a run can die."""
    changes = 0
    while True:
        cluster = FakeCluster()
        mount, fs = client(cluster)
        mount.mkdir(b"/s", 0o755)
        fs.create_subtree(b"/s", KEY.identifier, mode=FileMode.KERNEL)
        build(fs, b"/s")
        mount.sync()
        dying, job = client(cluster)
        dying.die_after(changes, loss)
        try:
            job.hold_by_copy(b"/s")
        except DiedError:
            yield cluster
        else:
            return
        changes += 1


@pytest.mark.parametrize("loss", [Loss.ALL, Loss.NOTHING])
def test_a_run_that_dies_at_any_point_is_run_again(loss: Loss) -> None:
    points = 0
    for cluster in crashes(loss):
        points += 1
        _, fs = client(cluster)
        for name, data in NAMES.items():
            with fs.open(b"/s/" + name) as file:
                assert file.pread(file.size, 0) == data
        report = fs.hold_by_copy(b"/s")
        assert report.complete, (points, report.problems)
        assert contents(fs, b"/s") == NAMES, "nothing is left beside the files"
        assert {fs.stat(b"/s/" + name).file_mode for name in NAMES} == {FileMode.ENGINE}
        assert len({fs.stat(b"/s" + name).ino for name in LINKED}) == 1
        assert fs.stat(b"/s/a link").nlink == len(LINKED)
    print(f"sampled: died at {points} points")
    assert points > 60


def test_names_that_differ_after_a_crash_are_not_made_one() -> None:
    met = 0
    for cluster in crashes(Loss.NOTHING):
        _, fs = client(cluster)
        modes = {name: fs.stat(b"/s" + name).file_mode for name in LINKED}
        if len(set(modes.values())) == 1:
            continue
        met += 1
        changed = next(name for name, mode in modes.items() if mode is FileMode.ENGINE)
        with fs.open(b"/s" + changed, 2) as file:
            file.pwrite(b"new", 0)
        report = fs.hold_by_copy(b"/s")
        (problem,) = report.problems
        assert "written since" in problem.message
        with fs.open(b"/s" + changed) as file:
            assert file.pread(3, 0) == b"new"
        again = fs.hold_by_copy(b"/s")
        assert [each.message for each in again.problems] == [problem.message]
        if met == 3:
            break
    assert met == 3
