"""`release` and `hold` on the real cluster: what stands on the inodes afterwards, who is in the way, and kills."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.errors import NoAttributeError
from mgr_fscrypt.ceph.interface import Kind
from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.engine import (
    BusyError,
    FileMode,
    FileSystem,
    Keyring,
    LockedError,
    NotFencedError,
    RefusedError,
)
from mgr_fscrypt.engine.subtrees import MODE_XATTR
from mgr_fscrypt.format import (
    AUTH_XATTR,
    ENGINE_XATTR,
    FILE_XATTR,
    Contents,
    Context,
    EngineRecord,
    MasterKey,
    SizeRule,
    believe_size,
    raw_size,
)
from qa.fakes.engine_cases import SECRET, remove

pytestmark = pytest.mark.usefixtures("settled_manager")

PATH = b"/modes"
FILES = {b"a": b"", b"b": b"x", b"c": b"y" * 4096, b"d/e": b"z" * 10000, b"d/f/g": os.urandom(5_000_000)}
KEY = MasterKey(SECRET)


def keyring() -> Keyring:
    keys = Keyring()
    keys.add(KEY)
    return keys


@pytest.fixture
def fs(mount: CephMount) -> Iterator[FileSystem]:
    """A subtree in engine mode with some of everything."""
    mount.mkdir(PATH, 0o755)
    made = FileSystem(mount, keyring(), durable_close=True)
    made.create_subtree(PATH, KEY.identifier)
    for name in (b"d", b"d/f"):
        made.mkdir(PATH + b"/" + name)
    for name, data in FILES.items():
        with made.create(PATH + b"/" + name, 0o640) as file:
            file.pwrite(data, 0)
    made.symlink(b"d/e", PATH + b"/l")
    yield made
    with connect(Access()) as fresh:
        remove(fresh, PATH)


def inodes(mount: CephMount, path: bytes = PATH) -> Iterator[bytes]:
    for entry in mount.scandir(path):
        yield (below := path + b"/" + entry.name)
        if entry.kind is Kind.DIRECTORY:
            yield from inodes(mount, below)


def attributes(mount: CephMount, path: bytes) -> set[str]:
    found = set()
    for name in (AUTH_XATTR, FILE_XATTR, ENGINE_XATTR, MODE_XATTR):
        try:
            mount.getxattr(path, name)
        except NoAttributeError:
            continue
        found.add(name)
    return found


def check(mode: FileMode) -> None:
    """What a mount that never saw the subtree finds on each inode, and reads."""
    with connect(Access()) as fresh:
        sizes = []
        for path in inodes(fresh):
            status = fresh.stat(path)
            if status.kind is not Kind.FILE:
                assert attributes(fresh, path) == {AUTH_XATTR}
                continue
            if mode is FileMode.ENGINE:
                assert attributes(fresh, path) == {ENGINE_XATTR}
                record = EngineRecord.decode(fresh.getxattr(path, ENGINE_XATTR))
                assert record.believed_with(status.size)
                context, size = record.context, record.real_size
            else:
                assert attributes(fresh, path) == {AUTH_XATTR, FILE_XATTR}
                context = Context.decode_auth(fresh.getxattr(path, AUTH_XATTR))
                believed = believe_size(status.size, fresh.getxattr(path, FILE_XATTR))
                assert believed.rule in (SizeRule.BELIEVED, SizeRule.EMPTY)
                size = believed.real
            assert status.size == raw_size(size)
            assert status.mode & 0o7777 == 0o640
            sizes.append(size)
            fd = fresh.open(path, os.O_RDONLY)
            with Contents(KEY, context) as contents:
                shown = contents.decrypt(fresh.pread(fd, status.size, 0), 0, holes=True)
            fresh.close(fd)
            assert not any(shown[size:]), "a kernel shows the tail when the file grows"
        assert sorted(sizes) == sorted(len(data) for data in FILES.values())
        reader = FileSystem(fresh, keyring())
        assert reader.subtree(PATH).mode is mode
        for name, data in FILES.items():
            with reader.open(PATH + b"/" + name) as file:
                assert file.pread(file.size, 0) == data
        assert reader.readlink(PATH + b"/l") == b"d/e"


def test_there_and_back(fs: FileSystem) -> None:
    check(FileMode.ENGINE)
    report = fs.release(PATH)
    assert report.complete, report.problems
    assert (report.changed, report.unchanged) == (len(FILES), 0)
    check(FileMode.KERNEL)
    again = fs.release(PATH)
    assert (again.changed, again.unchanged, again.complete) == (0, len(FILES), True)
    check(FileMode.KERNEL)
    with pytest.raises(BusyError):
        fs.open(PATH + b"/b", os.O_RDWR)
    report = fs.hold(PATH)
    assert report.complete, report.problems
    assert (report.changed, report.unchanged) == (len(FILES), 0)
    check(FileMode.ENGINE)
    again = fs.hold(PATH)
    assert (again.changed, again.unchanged, again.complete) == (0, len(FILES), True)
    check(FileMode.ENGINE)
    with fs.open(PATH + b"/d/e", os.O_RDWR) as file:
        file.truncate(1)
        file.truncate(10)
        file.pwrite(b"new", 5000)
    with fs.open(PATH + b"/d/e") as file:
        assert file.pread(9999, 0) == b"z" + bytes(4999) + b"new"


def test_a_tail_with_rubbish_is_sealed_before_kernels_see_it(fs: FileSystem, mount: CephMount) -> None:
    (path,) = (
        path
        for path in inodes(mount)
        if mount.stat(path).kind is Kind.FILE and mount.stat(path).size == 12288
    )
    record = EngineRecord.decode(mount.getxattr(path, ENGINE_XATTR))
    fd = mount.open(path, os.O_RDWR)
    with Contents(KEY, record.context) as contents:
        mount.pwrite(fd, contents.encrypt((b"z" * 1808).ljust(4096, b"!"), 2), 8192)
    mount.fsync(fd)
    mount.close(fd)
    assert fs.release(PATH).complete
    check(FileMode.KERNEL)


def test_who_is_in_the_way(fs: FileSystem) -> None:
    with connect(Access(root=PATH)) as stranger:
        stranger.stat(b"/")
        for job in (fs.release, fs.hold):
            with pytest.raises(NotFencedError, match=r"client\.admin") as refusal:
                job(PATH)
            (session,) = refusal.value.sessions
            assert session.root == PATH
            assert str(session.number) in str(refusal.value)
        check_mode = fs.subtree(PATH).mode
        assert check_mode is FileMode.ENGINE
    with fs.open(PATH + b"/b"), pytest.raises(BusyError, match="open"):
        fs.release(PATH)
    with pytest.raises(RefusedError, match="not the root"):
        fs.release(PATH + b"/d")
    check(FileMode.ENGINE)


def test_a_client_elsewhere_is_not_in_the_way(fs: FileSystem, mount: CephMount) -> None:
    mount.mkdir(PATH + b".elsewhere", 0o755)
    try:
        with connect(Access(root=PATH + b".elsewhere")):
            assert fs.release(PATH).complete
        check(FileMode.KERNEL)
    finally:
        mount.rmdir(PATH + b".elsewhere")


STRANGER = """
import cephfs, os, sys
library = cephfs.LibCephFS(conffile=os.environ["CEPH_CONF"])
library.mount()
library.stat(sys.argv[1])
print("up", flush=True)
sys.stdin.read()
os._exit(0)
"""


def test_strangers_are_evicted_on_demand(fs: FileSystem) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STRANGER, PATH.decode()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        report = fs.release(PATH, evict=True)
        assert [session.entity for session in report.evicted] == ["client.admin"]
        assert report.complete
        assert child.stdin is not None
        child.stdin.close()
    check(FileMode.KERNEL)


def test_what_is_half_made_is_told_and_keeps_the_mode(fs: FileSystem, mount: CephMount) -> None:
    mount.close(mount.open(PATH + b"/" + b"A" * 22, os.O_CREAT | os.O_RDWR, 0))
    report = fs.release(PATH)
    assert not report.complete
    assert [(problem.path, problem.message) for problem in report.problems] == [
        (PATH + b"/" + b"A" * 22, "half made: its maker is still at it, or died")
    ]
    assert fs.subtree(PATH).mode is FileMode.ENGINE
    mount.unlink(PATH + b"/" + b"A" * 22)
    assert fs.release(PATH).complete
    check(FileMode.KERNEL)


def test_release_needs_the_key_and_hold_does_not(fs: FileSystem, mount: CephMount) -> None:
    locked = FileSystem(mount, Keyring())
    with pytest.raises(LockedError):
        locked.release(PATH)
    check(FileMode.ENGINE)
    assert fs.release(PATH).complete
    assert locked.hold(PATH).complete
    check(FileMode.ENGINE)


class StoppedError(Exception):
    """The job's process "dies" here."""


@pytest.mark.parametrize("job", ["release", "hold"])
@pytest.mark.parametrize("step", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 15])
def test_a_job_that_dies_at_any_step_is_run_again(
    fs: FileSystem, job: str, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stops before its `step`-th change of an attribute; files are readable meanwhile, the second run ends it."""
    if job == "hold":
        assert fs.release(PATH).complete
    left = [step]

    def dying(method: object) -> object:
        def call(*arguments: object) -> object:
            if left[0] == 0:
                raise StoppedError
            left[0] -= 1
            return method(*arguments)  # type: ignore[operator]

        return call

    with monkeypatch.context() as patch:
        for method in ("setxattr", "removexattr"):
            patch.setattr(CephMount, method, dying(getattr(CephMount, method)))
        with pytest.raises(StoppedError):
            getattr(fs, job)(PATH)
    with connect(Access()) as other:
        reader = FileSystem(other, keyring())
        for name, data in FILES.items():
            with reader.open(PATH + b"/" + name) as file:
                assert file.pread(file.size, 0) == data
    report = getattr(fs, job)(PATH)
    assert report.complete, report.problems
    check(FileMode.KERNEL if job == "release" else FileMode.ENGINE)
