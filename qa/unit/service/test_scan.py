"""A scan of a file system in memory: subtrees are found whoever made them, and what does not belong into them."""

import errno
import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mgr_fscrypt.ceph.errors import CephError
from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.engine.inodes import FileMode
from mgr_fscrypt.format import AUTH_XATTR, MasterKey
from mgr_fscrypt.messages import Policy
from mgr_fscrypt.messages.job import JobState
from mgr_fscrypt.messages.scan import FoundSubtree, ScanPage, ScanQuestion
from mgr_fscrypt.messages.service import Trouble
from mgr_fscrypt.service.jobs import RefusedWishError
from mgr_fscrypt.service.kinds.place import Place
from mgr_fscrypt.service.kinds.scan import Scan
from mgr_fscrypt.service.kinds.scanned import ScanAnswers
from qa.fakes.ceph import FakeCluster, FakeMount
from qa.fakes.findings import FakeFindings
from qa.fakes.jobs import CrashError, Stage, wish
from qa.fakes.service import KEY, SECRET
from qa.unit.service.test_verify import NoObjects

OTHER = bytes(range(64))[::-1]
POLICY = Policy("AES-256-XTS", "AES-256-CBC-CTS", 32, KEY.hex())


class Tree:
    """A service, and a file system that it looks at."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.mount = FakeMount(self.cluster)
        self.findings = FakeFindings()
        # each time that it is asked another five seconds have passed: it saves after each entry
        clock = itertools.count(0, 10)
        self.stage = Stage(Scan(self.reach, self.findings.reach, now=lambda: float(next(clock))))
        keyring = Keyring()
        for secret in (SECRET, OTHER):
            keyring.add(MasterKey(secret))
        self.files = FileSystem(self.mount, keyring, durable_close=True)
        for path in ("/a", "/plain", "/plain/deep", "/plain/deep/b"):
            self.files.mkdir(path)
        self.mount.mkdir(b"/plain/empty", 0o755)
        self.files.create_subtree("/a", KEY)
        self.files.create_subtree("/plain/deep/b", KEY, mode=FileMode.KERNEL)
        self.files.mkdir("/a/inside")
        for number in range(3):
            with self.files.create(f"/a/inside/{number}") as file:
                file.pwrite(b"x", 0)
        self.files.symlink("target", "/a/link")

    @contextmanager
    def reach(self) -> Iterator[Place]:
        yield Place(FakeMount(self.cluster), NoObjects())

    def scanned(self, path: str = "/", **options: int) -> JobState:
        self.stage.runner.begin_job(wish(kind="scan", path=path, **options))
        self.stage.go()
        return self.stage.runner.state(wish().id)

    def found(self) -> dict[str, FoundSubtree]:
        kept = self.findings.kept.get(wish().id, {})
        found = [FoundSubtree.decode(data) for data in kept.values()]
        assert [each.path.encode() for each in found] == list(kept)
        return {each.path: each for each in found}

    def inode(self, path: bytes) -> int:
        return self.mount.stat(path).ino

    def stored(self, path: str) -> bytes:
        """The path of the one thing in a directory, as stored."""
        (entry,) = self.mount.scandir(path.encode())
        return path.encode() + b"/" + entry.name


@pytest.fixture
def tree() -> Tree:
    return Tree()


def test_subtrees_are_found_with_what_the_register_wants(tree: Tree):
    state = tree.scanned()
    assert (state.state, state.code, state.why) == ("done", 0, "")
    assert state.outcome() == {"entries": 10, "subtrees": 2, "mixed": 0}
    assert tree.found() == {
        "/a": FoundSubtree("/a", tree.inode(b"/a"), "engine", POLICY, 5, ()),
        "/plain/deep/b": FoundSubtree("/plain/deep/b", tree.inode(b"/plain/deep/b"), "kernel", POLICY, 0, ()),
    }


def test_a_part_of_it(tree: Tree):
    assert tree.scanned("/plain").outcome()["subtrees"] == 1
    assert list(tree.found()) == ["/plain/deep/b"]


def test_what_does_not_belong_there(tree: Tree):
    inside = next(e.name for e in tree.mount.scandir(b"/a") if e.kind.value == "directory")
    directory = b"/a/" + inside
    first, second, third = (directory + b"/" + entry.name for entry in tree.mount.scandir(directory))
    tree.mount.mkdir(b"/a/plain", 0o755)
    tree.mount.mkdir(b"/other", 0o755)
    other = MasterKey(OTHER).identifier
    tree.files.create_subtree("/other", other, mode=FileMode.KERNEL)
    context = tree.mount.getxattr(b"/other", AUTH_XATTR)
    tree.mount.removexattr(first, "trusted.fscrypt.engine")
    for path, value in ((second, context), (third, b"none")):
        tree.mount.removexattr(path, "trusted.fscrypt.engine")
        tree.mount.setxattr(path, AUTH_XATTR, value)
    state = tree.scanned()
    assert (state.code, state.outcome()["mixed"]) == (1, 1)
    mixed = {each.what: each for each in tree.found()["/a"].mixed}
    assert {what: each.count for what, each in mixed.items()} == {
        "plain": 2,
        "other-policy": 1,
        "other-mode": 1,
        "damaged": 1,
    }
    assert mixed["plain"].example in ("/a/plain", first.decode())


def test_what_is_being_made_is_no_mixture(tree: Tree):
    tree.mount.mknod(b"/a/half", 0o100000, 0)
    tree.scanned()
    assert tree.found()["/a"].mixed == ()


@pytest.mark.parametrize("writes", range(2, 14))
def test_a_killed_scan_goes_on_where_it_was(tree: Tree, writes: int):
    tree.stage.records.crash_after = writes
    try:
        tree.stage.runner.begin_job(wish(kind="scan", path="/"))
        tree.stage.go()
    except CrashError:
        tree.stage.restart()
        tree.stage.go()
    state = tree.stage.runner.state(wish().id)
    assert (state.state, state.outcome()["subtrees"]) == ("done", 2)
    assert {path: (each.entries, each.mixed) for path, each in tree.found().items()} == {
        "/a": (5, ()),
        "/plain/deep/b": (0, ()),
    }
    assert state.outcome()["entries"] == 10
    assert all(mount.streams == 0 for mount in tree.cluster.mounts)


def test_where_it_was_may_be_gone(tree: Tree):
    tree.stage.records.crash_after = 8
    with pytest.raises(CrashError):
        tree.scanned()
    for path in ("/plain/deep/b", "/plain/deep", "/plain/empty", "/plain"):
        tree.mount.rmdir(path.encode())
    tree.stage.restart()
    tree.stage.go()
    assert tree.stage.told() == "done"
    assert "/a" in tree.found()


def test_what_the_register_cannot_have_is_noted(tree: Tree):
    tree.mount.setxattr(b"/plain/empty", AUTH_XATTR, b"damaged")
    tree.mount.mkdir(b"/plain/\xff", 0o755)
    tree.mount.mkdir(b"/plain/\xff/inside", 0o755)
    for path in (b"/plain/\xff", b"/plain/\xff/inside"):
        tree.mount.setxattr(path, AUTH_XATTR, tree.mount.getxattr(b"/a", AUTH_XATTR))
    state = tree.scanned()
    # what lies below is no subtree of its own
    assert {each.kind: each.count for each in state.errors} == {
        "damaged-context": 1,
        "not-for-the-register": 1,
    }
    assert state.outcome()["subtrees"] == 2


def test_inside_of_a_subtree_nothing_is_looked_for(tree: Tree):
    state = tree.scanned("/a/x")
    assert (state.state, "inside of an encrypted subtree" in state.why) == ("failed", True)


@pytest.mark.parametrize("options", [{"rate": 0}, {"rate": True}, {"speed": 5}])
def test_options_that_say_nothing(tree: Tree, options: dict[str, int]):
    with pytest.raises(RefusedWishError):
        Scan(tree.reach, tree.findings.reach).accept(wish(kind="scan", **options))


def test_it_can_be_slowed_down(tree: Tree):
    begun = tree.stage.clock.time
    tree.scanned(rate=2)
    assert tree.stage.clock.time == pytest.approx(begun + 10 / 2)


def test_what_was_found_is_asked_for_in_pages(tree: Tree):
    tree.scanned()
    answers = ScanAnswers(tree.findings.reach, patience=60)
    first = answers.answer(ScanQuestion(wish().id, "", 1))
    assert isinstance(first, ScanPage)
    assert ([each.path for each in first.found], first.following) == (["/a"], "/a")
    second = answers.answer(ScanQuestion(wish().id, "/a", 1))
    assert isinstance(second, ScanPage)
    assert ([each.path for each in second.found], second.following) == (["/plain/deep/b"], None)
    tree.findings.error = CephError(errno.ETIMEDOUT, "no answer")
    refused = answers.answer(ScanQuestion(wish().id, "", 1))
    assert isinstance(refused, Trouble)
    answers.end()
