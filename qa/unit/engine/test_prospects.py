"""What is looked at before a directory becomes a subtree, and the order in which it becomes one, on the fake."""

import errno

import pytest

from mgr_fscrypt.ceph.errors import NotFoundError
from mgr_fscrypt.engine import (
    FileMode,
    FileSystem,
    Keyring,
    LockedError,
    Mode,
    RefusedError,
    State,
    Wish,
    policy_of,
)
from mgr_fscrypt.engine.prospects import NAMESPACE_XATTR
from mgr_fscrypt.format import AUTH_XATTR, MasterKey
from qa.fakes.ceph import FakeMount
from qa.fakes.engine_cases import OTHER, SECRET, refused

pytestmark = pytest.mark.usefixtures("hasty")
POLICY = policy_of(MasterKey(SECRET).identifier, 32, Mode.AES_256_XTS)


@pytest.fixture
def files(mount: FakeMount) -> FileSystem:
    keyring = Keyring()
    for secret in (SECRET, OTHER):
        keyring.add(MasterKey(secret))
    return FileSystem(mount, keyring)


def test_a_directory_is_made_with_its_namespace_before_its_policy(files: FileSystem, mount: FakeMount):
    wish = Wish(POLICY, namespace="fscrypt-s", make=True)
    assert files.prospect("/s", wish).state is State.MISSING
    assert not files.exists("/s"), "it was only looked at"
    assert files.make_subtree("/s", wish).state is State.MISSING
    # the fake, as the MDSs, refuses a layout after the policy
    assert mount.layout(b"/s").namespace == "fscrypt-s"
    assert files.subtree("/s").policy == POLICY
    again = files.make_subtree("/s", wish)
    assert (again.state, again.namespace) == (State.DONE, "fscrypt-s")


def test_what_a_killed_run_left_is_no_obstacle(files: FileSystem, mount: FakeMount):
    wish = Wish(POLICY, namespace="fscrypt-s", make=True)
    mount.mkdir(b"/s", 0o755)
    mount.setxattr(b"/s", NAMESPACE_XATTR, b"fscrypt-s")
    assert files.make_subtree("/s", wish).state is State.EMPTY
    assert files.subtree("/s").mode is FileMode.ENGINE


def test_without_the_key_nothing_is_made(mount: FakeMount):
    locked = FileSystem(mount, Keyring())
    assert locked.prospect("/s", Wish(POLICY, make=True)).state is State.MISSING
    with pytest.raises(LockedError):
        locked.make_subtree("/s", Wish(POLICY, make=True))
    assert not locked.exists("/s")


def test_what_is_in_the_way(files: FileSystem, mount: FakeMount):
    with pytest.raises(NotFoundError):
        files.prospect("/s", Wish(POLICY))
    with pytest.raises(NotFoundError):
        files.prospect("/no/s", Wish(POLICY, make=True))
    mount.mkdir(b"/full", 0o755)
    mount.mkdir(b"/full/d", 0o755)
    with refused(errno.ENOTEMPTY):
        files.prospect("/full", Wish(POLICY))
    mount.mkdir(b"/wide", 0o755)
    mount.setxattr(b"/wide", "ceph.dir.layout", b"stripe_count=2")
    with refused(errno.EINVAL):
        files.prospect("/wide", Wish(POLICY))
    with refused(errno.EINVAL):
        files.prospect("/wide/new", Wish(POLICY, make=True))


def test_no_subtree_in_another_and_none_twice(files: FileSystem, mount: FakeMount):
    files.make_subtree("/s", Wish(POLICY, make=True))
    files.mkdir("/s/d")
    for path in ("/s/d", "/s/new", "/s/d/new"):
        for act in (files.prospect, files.make_subtree):
            with pytest.raises(RefusedError, match="in the subtree of /s"):
                act(path, Wish(POLICY, make=True))
    other = policy_of(MasterKey(OTHER).identifier, 32, Mode.AES_256_XTS)
    for wish in (Wish(other), Wish(POLICY, FileMode.KERNEL), Wish(POLICY, namespace="fscrypt-s")):
        before = mount.getxattr(b"/s", AUTH_XATTR)
        with refused(errno.EEXIST):
            files.make_subtree("/s", wish)
        assert mount.getxattr(b"/s", AUTH_XATTR) == before


def test_what_an_administrator_should_know(files: FileSystem, mount: FakeMount):
    mount.mkdir(b"/top", 0o755)
    mount.setxattr(b"/top", "ceph.quota.max_bytes", b"4096000")
    mount.mkdir(b"/top/s", 0o755)
    mount.mkdir(b"/top/s/once", 0o755)
    mount.mkdir(b"/top/s/.snap/filled", 0o755)
    mount.rmdir(b"/top/s/once")
    mount.mkdir(b"/top/s/.snap/empty", 0o755)
    mount.cluster.coded.add("cephfs_data")
    coded, kept, quota = files.prospect("/top/s", Wish(POLICY)).warnings
    assert "erasure coded" in coded
    assert "in the clear: filled." in kept
    assert "the quota of /top: 4096000 bytes" in quota
