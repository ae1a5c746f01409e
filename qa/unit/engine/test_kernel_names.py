"""Long names that a kernel gives: what the engine makes of one that is at hand."""

import errno
import os
import stat

import pytest

from mgr_fscrypt.engine import FileSystem, Keyring, NameKind
from mgr_fscrypt.engine.errors import ENOKEY
from mgr_fscrypt.format import MasterKey
from qa.fakes.ceph import FakeCluster, FakeMount
from qa.fakes.engine_cases import SECRET
from qa.fakes.kernel_names import FakeKernel

KEY = MasterKey(SECRET)
LONG = "größer, weiter, länger, ".encode() * 9
LONGEST = b"x" * 255
OTHER = b"y" * 200
SHORT = b"short"


class Scene:
    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.kernel = FakeKernel(self.cluster, KEY)
        self.mount = FakeMount(self.cluster)
        self.mount.mkdir(b"/s", 0o755)
        self.keyring = Keyring()
        self.keyring.add(KEY)
        self.files = FileSystem(self.mount, self.keyring, durable_close=True, kernel_names=self.kernel)
        self.files.create_subtree(b"/s", KEY.identifier)

    def names(self, path: bytes = b"/s") -> list[bytes]:
        """As another client of ours, without a kernel, lists them."""
        other = FileSystem(FakeMount(self.cluster), self.keyring)
        entries = list(other.scandir(path))
        assert all(entry.name_kind is NameKind.DECRYPTED for entry in entries)
        return sorted(entry.name for entry in entries)

    def put(self, name: bytes, data: bytes) -> None:
        with self.files.create(b"/s/" + name) as file:
            file.pwrite(data, 0)

    def read(self, name: bytes) -> bytes:
        with FileSystem(FakeMount(self.cluster), self.keyring).open(b"/s/" + name) as file:
            return file.pread(100, 0)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr("mgr_fscrypt.engine.kernel_names._PAUSE", 0.0)
    return Scene()


def test_everything_can_have_a_long_name(scene: Scene):
    scene.put(LONG, b"content")
    scene.files.mkdir(b"/s/" + LONGEST)
    scene.files.symlink(b"target", b"/s/l" + OTHER)
    scene.files.mknod(b"/s/p" + OTHER, stat.S_IFIFO | 0o600)
    scene.put(SHORT, b"linked")
    scene.files.link(b"/s/" + SHORT, b"/s/" + OTHER)
    scene.files.mkdir(b"/s/" + LONGEST + b"/" + OTHER)
    assert scene.names() == sorted([LONG, LONGEST, b"l" + OTHER, b"p" + OTHER, SHORT, OTHER])
    assert scene.names(b"/s/" + LONGEST) == [OTHER]
    assert (scene.read(LONG), scene.read(OTHER)) == (b"content", b"linked")
    assert scene.files.readlink(b"/s/l" + OTHER) == b"target"
    assert scene.files.stat(b"/s/" + OTHER).nlink == 2
    assert list(scene.files.fsck(b"/s", patience=0).findings()) == []


def test_what_has_a_long_name_is_half_made_until_it_is_closed(scene: Scene):
    file = scene.files.create(b"/s/" + LONG)
    assert scene.names() == [LONG]
    (made,) = scene.cluster.root.names[b"s"].names.values()
    assert stat.S_IMODE(made.mode) == 0o200
    file.close()
    assert stat.S_IMODE(made.mode) == 0o644


def test_a_name_that_is_taken_stays_whose_it_is(scene: Scene):
    scene.put(LONG, b"first")
    with pytest.raises(FileExistsError):
        scene.files.create(b"/s/" + LONG)
    with pytest.raises(FileExistsError):
        scene.files.mkdir(b"/s/" + LONG)
    with scene.files.open(b"/s/" + LONG, os.O_RDWR | os.O_CREAT) as file:
        assert file.pread(9, 0) == b"first"
    assert scene.names() == [LONG]


def test_a_kernel_that_believes_in_a_name_that_is_gone_is_asked_again(scene: Scene):
    scene.kernel.believes = 3
    scene.put(LONG, b"content")
    assert scene.read(LONG) == b"content"


def test_renames_within_a_directory(scene: Scene):
    scene.put(SHORT, b"content")
    for old, new in ((SHORT, LONG), (LONG, OTHER), (OTHER, b"end")):
        scene.files.rename(b"/s/" + old, b"/s/" + new)
        assert scene.names() == [new]
    scene.put(LONG, b"replaced")
    scene.files.rename(b"/s/end", b"/s/" + LONG)
    assert scene.names() == [LONG]
    assert scene.read(LONG) == b"content"


@pytest.mark.parametrize(("old", "new"), [(SHORT, LONG), (LONG, SHORT)])
def test_not_from_one_directory_to_another(scene: Scene, old: bytes, new: bytes):
    scene.put(old, b"content")
    scene.files.mkdir(b"/s/d")
    with pytest.raises(OSError, match="too long") as refusal:
        scene.files.rename(b"/s/" + old, b"/s/d/" + new)
    assert refusal.value.errno == errno.ENAMETOOLONG
    assert scene.names() == sorted([old, b"d"])


def test_nothing_is_left_of_what_the_kernel_refuses(scene: Scene):
    scene.kernel.refuses = ENOKEY
    acts = (
        lambda: scene.put(LONG, b"content"),
        lambda: scene.files.mkdir(b"/s/" + LONG),
        lambda: scene.files.symlink(b"target", b"/s/" + LONG),
    )
    for act in acts:
        with pytest.raises(OSError, match="kernel") as refusal:
            act()
        assert refusal.value.errno == ENOKEY
        assert scene.names() == []
        assert not scene.mount.has_open(scene.cluster.root)
    assert not scene.mount._files


def test_what_somebody_else_put_in_its_place_stays(scene: Scene):
    scene.kernel.refuses = errno.EIO
    scene.kernel.meanwhile = scene.cluster.inode(stat.S_IFREG | 0o644)
    with pytest.raises(OSError, match="kernel"):
        scene.put(LONG, b"content")
    assert list(scene.cluster.root.names[b"s"].names.values()) == [scene.kernel.meanwhile]


def test_below_a_long_name_a_kernel_gives_all_names(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    top = b"/s/" + LONGEST
    scene.files.mkdir(top)
    scene.files.mkdir(top + b"/d")
    scene.put(LONGEST + b"/d/file", b"content")
    scene.files.rename(top + b"/d/file", top + b"/d/renamed")
    assert scene.names(top + b"/d") == [b"renamed"]
    assert scene.read(LONGEST + b"/d/renamed") == b"content"
    monkeypatch.delattr(FakeKernel, "make_empty")
    monkeypatch.delattr(FakeKernel, "rename")
    for act in (
        lambda: scene.files.mkdir(top + b"/e"),
        lambda: scene.files.rename(top + b"/d/renamed", top + b"/d/again"),
    ):
        with pytest.raises(AttributeError):
            act()
    alone = FileSystem(scene.mount, scene.keyring)
    for path in (top + b"/e", top + b"/d/e"):
        with pytest.raises(OSError, match="spoil") as refusal:
            alone.mkdir(path)
        assert refusal.value.errno == errno.ENAMETOOLONG
    alone.unlink(top + b"/d/renamed")


def test_short_names_need_no_kernel(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(FakeKernel, "make_empty")
    monkeypatch.delattr(FakeKernel, "rename")
    scene.put(SHORT, b"content")
    scene.files.mkdir(b"/s/d")
    scene.files.rename(b"/s/" + SHORT, b"/s/d/moved")
    assert scene.names() == [b"d"]


def test_how_long_names_may_be(scene: Scene):
    assert scene.files.statfs(b"/s").longest_name == 255
    assert FileSystem(scene.mount, scene.keyring).statfs(b"/s").longest_name == 128
    with pytest.raises(OSError, match="too long"):
        scene.files.mkdir(b"/s/" + LONGEST + b"x")
