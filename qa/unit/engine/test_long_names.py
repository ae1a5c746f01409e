"""Long names, where MDSs tell what kernels stored beside them: only the fake can have such entries."""

import pytest

from mgr_fscrypt.engine import FileSystem, Keyring, NameKind
from mgr_fscrypt.engine.fsck import Code
from mgr_fscrypt.format import AUTH_XATTR, Context, Dentry, MasterKey, NameFormatError, Names
from qa.fakes.ceph import FakeCluster, FakeMount, Inode
from qa.fakes.engine_cases import SECRET

KEY = MasterKey(SECRET)
LONG = "ein langer Name: größer, weiter ".encode() * 7


class Scene:
    """A directory with one hashed entry."""

    def __init__(self) -> None:
        self.mount = FakeMount(FakeCluster())
        self.mount.mkdir(b"/s", 0o755)
        keyring = Keyring()
        keyring.add(KEY)
        self.files = FileSystem(self.mount, keyring, durable_close=True)
        self.files.create_subtree(b"/s", KEY.identifier)
        self.names = Names(KEY, Context.decode_auth(self.mount.getxattr(b"/s", AUTH_XATTR)))
        self.dentry = self.names.encode(LONG)
        self.files.mkdir(b"/s/d")
        self.mount.rename(b"/s/" + self.names.encode(b"d").dname, b"/s/" + self.dentry.dname)

    @property
    def directory(self) -> Inode:
        return self.mount.cluster.root.names[b"s"]

    def tell(self, *dentries: Dentry) -> None:
        self.directory.alternate_names.update({one.dname: one.alternate_name for one in dentries})

    def shown(self) -> tuple[bytes, NameKind]:
        (entry,) = self.files.scandir(b"/s")
        assert entry.stored == self.dentry.dname
        return entry.name, entry.name_kind


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_name_that_is_told_is_shown(scene: Scene) -> None:
    scene.tell(scene.dentry, Dentry(b"other", b"x"))
    assert scene.shown() == (LONG, NameKind.DECRYPTED)
    assert list(scene.files.scandir(b"/s/" + LONG)) == []


def test_what_is_not_told_is_shown_as_stored(scene: Scene) -> None:
    assert scene.shown() == (scene.dentry.dname, NameKind.HASHED)


@pytest.mark.parametrize("position", [0, 147, 148, 223])
def test_what_does_not_fit_the_stored_name_is_not_believed(scene: Scene, position: int) -> None:
    damaged = bytearray(scene.dentry.alternate_name)
    damaged[position] ^= 1
    scene.tell(Dentry(scene.dentry.dname, bytes(damaged)))
    assert scene.shown() == (scene.dentry.dname, NameKind.HASHED)


def test_who_may_not_ask_is_refused_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.tell(scene.dentry)
    scene.mount.cluster.telling = False
    assert scene.shown() == (scene.dentry.dname, NameKind.HASHED)
    monkeypatch.delattr(FakeMount, "alternate_names")
    assert scene.shown() == (scene.dentry.dname, NameKind.HASHED)


def test_huge_directories_are_not_asked_for(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.tell(scene.dentry)
    monkeypatch.setattr("mgr_fscrypt.engine.long_names.MOST_ENTRIES", 1)
    assert scene.shown() == (LONG, NameKind.DECRYPTED)
    scene.files.mkdir(b"/s/another")
    assert {entry.name for entry in scene.files.scandir(b"/s")} == {b"another", scene.dentry.dname}


def test_nobody_is_asked_where_no_name_is_long(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.files.rmdir(b"/s/" + LONG)
    scene.files.mkdir(b"/s/short")
    monkeypatch.delattr(FakeMount, "alternate_names")
    assert [entry.name for entry in scene.files.scandir(b"/s")] == [b"short"]


def found(scene: Scene, *, key: bool = True) -> list[tuple[Code, bytes]]:
    files = scene.files if key else FileSystem(scene.mount, Keyring(), durable_close=True)
    return [(one.code, one.stored) for one in files.fsck(b"/s", patience=0).findings()]


@pytest.mark.parametrize("key", [True, False])
def test_fsck_names_what_belongs_to_another_name(scene: Scene, *, key: bool) -> None:
    other = scene.names.encode(LONG + b"!")
    scene.tell(Dentry(scene.dentry.dname, other.alternate_name))
    assert found(scene, key=key) == [(Code.POISONED_NAME, b"/s/" + scene.dentry.dname)]
    scene.tell(scene.dentry)
    assert found(scene, key=key) == []


@pytest.mark.parametrize("key", [True, False])
def test_fsck_names_a_short_name_with_something_beside_it(scene: Scene, *, key: bool) -> None:
    scene.tell(scene.dentry)
    scene.files.mkdir(b"/s/short")
    short = scene.names.encode(b"short")
    for beside in (scene.dentry.alternate_name, b"x"):
        scene.tell(Dentry(short.dname, beside))
        assert found(scene, key=key) == [(Code.POISONED_NAME, b"/s/" + short.dname)]


def foreign_name(scene: Scene) -> Dentry:
    """One of another directory; noise decrypts to something without a slash one time in five, and is no finding."""
    policy = Context.decode_auth(scene.mount.getxattr(b"/s", AUTH_XATTR)).policy
    while True:
        foreign = Names(KEY, Context.fresh(policy)).encode(LONG)
        try:
            scene.names.decode(foreign.dname, foreign.alternate_name)
        except NameFormatError:
            return foreign


def test_fsck_names_what_fits_and_does_not_decrypt(scene: Scene) -> None:
    foreign = foreign_name(scene)
    stored = b"/s/" + foreign.dname
    scene.mount.rename(b"/s/" + scene.dentry.dname, stored)
    scene.tell(foreign)
    assert found(scene) == [(Code.BAD_NAME, stored)]
    assert found(scene, key=False) == []


def test_fsck_asks_again_before_it_calls_a_name_poisoned(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = scene.names.encode(LONG + b"!")
    asked = []

    def told(mount: FakeMount, path: bytes) -> dict[bytes, bytes]:
        asked.append(path)
        beside = other if len(asked) == 1 else scene.dentry
        return {scene.dentry.dname: beside.alternate_name}

    monkeypatch.setattr(FakeMount, "alternate_names", told)
    assert found(scene, key=False) == []
    assert asked[:2] == [b"/s", b"/s"]


def test_fsck_tells_that_it_could_not_ask(scene: Scene) -> None:
    scene.mount.cluster.telling = False
    assert Code.NOT_CHECKED in {code for code, _ in found(scene)}


def test_hold_with_copy_leaves_what_lies_below_a_long_name(scene: Scene) -> None:
    """libcephfs would spoil the names that it takes for that (doc/facts.md F8a)."""
    with scene.files.create(b"/s/f") as file:
        file.pwrite(b"content", 0)
    directory = b"/s/" + scene.dentry.dname
    below = Names(KEY, Context.decode_auth(scene.mount.getxattr(directory, AUTH_XATTR)))
    stored = directory + b"/" + below.encode(b"f").dname
    scene.mount.rename(b"/s/" + scene.names.encode(b"f").dname, stored)
    scene.files.release(b"/s")
    report = scene.files.hold_by_copy(b"/s")
    (problem,) = report.problems
    assert (report.changed, "spoil" in str(problem)) == (0, True)
    assert [entry.name for entry in scene.files.scandir(b"/s/" + LONG)] == [b"f"]
