"""A source that is not any more what it was when it was planned, copied or verified."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import pytest

from mgr_fscrypt.ceph.errors import NotFoundError
from mgr_fscrypt.ceph.interface import Mount
from mgr_fscrypt.engine import BusyError, FileSystem, Keyring, LockedError
from mgr_fscrypt.engine.acls import DEFAULT_ACL
from mgr_fscrypt.format import AUTH_XATTR
from mgr_fscrypt.migrate import (
    Copied,
    Direction,
    Migration,
    Obstacle,
    Record,
    State,
    Step,
    Verdict,
    look_over,
)
from mgr_fscrypt.migrate.comparing import compare
from mgr_fscrypt.migrate.copying import Pass
from mgr_fscrypt.migrate.files import Copier
from mgr_fscrypt.migrate.looking import require_way
from mgr_fscrypt.migrate.marks import MARK, mark_of
from mgr_fscrypt.migrate.record import hidden_of
from mgr_fscrypt.migrate.trees import PlainFile, PlainTree, Tree, existing, remove_all
from qa.fakes.ceph import FakeMount
from qa.fakes.migration_cases import (
    FILES,
    KEYS,
    LINKS,
    OTHER_KEY,
    Subject,
    default_acl,
    file_system,
    make_source,
    picture,
)

PATH = b"/above/tree"


@pytest.fixture
def one(mount: FakeMount) -> Subject:
    return Subject(mount, file_system(mount), make_source(mount, Direction.ENCRYPT, PATH))


def write(tree: Tree, path: bytes, data: bytes) -> None:
    with tree.open(path, os.O_RDWR | os.O_CREAT, 0o640) as file:
        file.pwrite(data, 0)
    tree.sync()


def empty_encrypted_directory(one: Subject) -> bytes:
    path = PATH + b"/nested"
    one.mount.mkdir(path, 0o755)
    one.files.create_subtree(path, OTHER_KEY.identifier)
    return path


def encrypted_directory(one: Subject) -> bytes:
    path = PATH + b"/nested"
    one.mount.mkdir(path, 0o755)
    one.files.create_subtree(path, OTHER_KEY.identifier)
    write(one.files, path + b"/in it", b"under a key of its own")
    return path


def encrypted_file(one: Subject) -> bytes:
    """As a kernel moves it out of an encrypted directory: it stays encrypted."""
    one.mount.mkdir(b"/elsewhere", 0o755)
    one.files.create_subtree(b"/elsewhere", OTHER_KEY.identifier)
    write(one.files, b"/elsewhere/file", b"under a key of its own")
    (stored,) = (each.stored for each in one.files.scandir(b"/elsewhere"))
    one.mount.rename(b"/elsewhere/" + stored, PATH + b"/moved in")
    return PATH + b"/moved in"


def encrypted_link(one: Subject) -> bytes:
    one.mount.mkdir(b"/elsewhere", 0o755)
    one.files.create_subtree(b"/elsewhere", OTHER_KEY.identifier)
    one.files.symlink(b"target", b"/elsewhere/link")
    (stored,) = (each.stored for each in one.files.scandir(b"/elsewhere"))
    one.mount.rename(b"/elsewhere/" + stored, PATH + b"/moved in")
    return PATH + b"/moved in"


KINDS = (empty_encrypted_directory, encrypted_directory, encrypted_file, encrypted_link)


@pytest.mark.parametrize("make", KINDS)
def test_what_is_encrypted_otherwise_blocks_whenever_it_appears(
    one: Subject, mount: FakeMount, make: Callable[[Subject], bytes]
) -> None:
    one.copy()
    source = mount.stat(PATH).ino
    path = make(one)
    with pytest.raises(BusyError, match=r"1 could not be copied.*not encrypted as the top"):
        one.cut_over()
    assert (mount.stat(PATH).ino, one.state()) == (source, State.COPYING)
    verdict = one.verify(one.migration.required_record())
    assert not verdict.equal
    assert path in [
        obstacle_path for obstacle, obstacle_path, _ in one.plan().listed if obstacle is Obstacle.NESTED
    ]
    assert not one.plan().clear
    remove_all(PlainTree(mount), path)
    assert one.cut_over().verdict.equal


@pytest.mark.parametrize("make", KINDS)
def test_what_was_copied_as_its_ciphertext_is_not_the_same(
    one: Subject, mount: FakeMount, make: Callable[[Subject], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(one)
    with monkeypatch.context() as patched:
        patched.setattr("mgr_fscrypt.migrate.belonging.Belonging.require", lambda *_: None)
        assert one.copy().problems == []
        record = one.migration.required_record()
        assert one.verify(record).equal
    verdict = one.verify(record)
    assert ("error", path.removeprefix(PATH)) in [(kind, below) for kind, below, _ in verdict.listed]


def test_an_encrypted_file_that_others_have_cut_is_found_by_the_comparison(
    one: Subject, mount: FakeMount
) -> None:
    path = encrypted_file(one)
    fd = mount.open(path, os.O_RDWR)
    mount.ftruncate(fd, 100)
    mount.close(fd)
    assert one.copy().problems == []
    verdict = one.verify(one.migration.required_record())
    assert ("error", path.removeprefix(PATH)) in [(kind, below) for kind, below, _ in verdict.listed]


def test_only_files_of_whole_blocks_are_asked_for_a_context(
    one: Subject, mount: FakeMount, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[bytes] = set()
    really = mount.getxattr

    def getxattr(path: bytes, name: str) -> bytes:
        if name == AUTH_XATTR and path.startswith(PATH + b"/"):
            asked.add(path.removeprefix(PATH))
        return really(path, name)

    monkeypatch.setattr(mount, "getxattr", getxattr)
    for look in (one.plan, one.copy):
        asked.clear()
        look()
        assert asked & FILES.keys() == {name for name, data in FILES.items() if len(data) % 4096 == 0}
        assert b"/d" in asked


@pytest.mark.parametrize("direction", Direction)
def test_what_a_directory_gives_its_new_files_is_none_of_a_copy(
    mount: FakeMount, direction: Direction
) -> None:
    one = Subject(mount, file_system(mount), make_source(mount, direction, PATH))
    above = PATH + b"/d"
    for name in (b"/open to all", b"/with bits"):
        write(one.source, above + name, b"first")
    one.source.chmod(above + b"/open to all", 0o666)
    one.source.setxattr(above, DEFAULT_ACL, default_acl())
    one.source.chown(above, 0, 77)
    one.source.chmod(above, 0o2755)
    one.copy()
    # its copy is made anew, where the directory has all that the source's has
    for name, mode in ((b"/open to all", 0o666), (b"/with bits", 0o6755)):
        write(one.source, above + name, b"second")
        one.source.chmod(above + name, mode)
    before = picture(one.source, PATH)
    assert one.cut_over().verdict.equal
    assert picture(one.new, PATH) == before


def test_what_is_of_another_policy_in_an_encrypted_source_blocks(mount: FakeMount) -> None:
    one = Subject(mount, file_system(mount), make_source(mount, Direction.DECRYPT, PATH))
    one.copy()
    mount.mkdir(b"/elsewhere", 0o755)
    one.files.create_subtree(b"/elsewhere", OTHER_KEY.identifier)
    write(one.files, b"/elsewhere/file", b"under a key of its own")
    (moved,) = (each.stored for each in one.files.scandir(b"/elsewhere"))
    (stored,) = (each.stored for each in one.files.scandir(PATH) if each.name == b"one")
    mount.rename(b"/elsewhere/" + moved, PATH + b"/" + stored)
    with pytest.raises(BusyError, match="1 could not be copied"):
        one.cut_over()
    assert not one.verify(one.migration.required_record()).equal
    assert [path for obstacle, path, _ in one.plan().listed if obstacle.blocks] == [PATH + b"/one"]


@pytest.mark.parametrize("name", [b"one", b"d"])
def test_a_name_that_is_none_in_an_encrypted_source_blocks(mount: FakeMount, name: bytes) -> None:
    one = Subject(mount, file_system(mount), make_source(mount, Direction.DECRYPT, PATH))
    one.copy()
    (stored,) = (each.stored for each in one.files.scandir(PATH) if each.name == name)
    mount.rename(PATH + b"/" + stored, PATH + b"/no ciphertext")
    with pytest.raises(BusyError, match=r"1 could not be copied.*name cannot be carried over"):
        one.cut_over()
    assert not one.verify(one.migration.required_record()).equal


@pytest.mark.parametrize("name", [b"/one", b"/d/linked"])
def test_a_name_outside_blocks_whenever_it_is_made(one: Subject, mount: FakeMount, name: bytes) -> None:
    one.copy()
    source = mount.stat(PATH).ino
    mount.link(PATH + name, b"/above/outside")
    mount.sync()
    with pytest.raises(BusyError, match=r"not the same.*names"):
        one.cut_over()
    assert mount.stat(PATH).ino == source
    mount.unlink(b"/above/outside")
    one.cut_over()
    record = one.migration.required_record()
    assert one.verify(record).equal
    mount.link(hidden_of(PATH) + b"/old" + name, b"/above/outside")
    assert ("differ", name, "names") in one.verify(record).listed


def test_a_name_that_is_missing_is_not_taken_for_the_anchor(one: Subject, mount: FakeMount) -> None:
    one.copy()
    record = one.migration.required_record()
    sides = one.migration.sides(record)
    new, new_top = sides.new, sides.new_top
    # the copy is two files, with one mark and contents
    new.unlink(new_top + b"/d/linked")
    write(new, new_top + b"/d/linked", FILES[b"/d/linked"])
    new.setxattr(new_top + b"/d/linked", MARK, new.getxattr(new_top + LINKS[0], MARK))
    new.utimens(new_top + b"/d/linked", 1000, one.source.stat(PATH + b"/d/linked").mtime)
    found = [below for kind, below, how in one.verify(record).listed if "names" in how]
    assert sorted(found) == sorted([b"/d/linked", *LINKS])


def change_contents(tree: Tree) -> None:
    write(tree, PATH + b"/one", b"changed")


def save_by_rename(tree: Tree) -> None:
    assert isinstance(tree, PlainTree)
    write(tree, PATH + b"/one.new", b"changed")
    tree.unlink(PATH + b"/one")
    tree.link(PATH + b"/one.new", PATH + b"/one")
    tree.unlink(PATH + b"/one.new")


def change_link(tree: Tree) -> None:
    tree.unlink(PATH + b"/d/e/symlink")
    tree.symlink(b"elsewhere", PATH + b"/d/e/symlink")


LATE: dict[str, tuple[Callable[[Tree], None], bytes | None]] = {
    "contents": (change_contents, b"/one"),
    "another inode": (save_by_rename, b"/one"),
    "a new file": (lambda tree: write(tree, PATH + b"/d/new", b"new"), b"/d/new"),
    "a new directory": (lambda tree: tree.mkdir(PATH + b"/d/new", 0o755), b"/d/new"),
    "a link": (change_link, b"/d/e/symlink"),
    "a removed name": (lambda tree: tree.unlink(PATH + b"/one"), None),
    "a directory's mode": (lambda tree: tree.chmod(PATH + b"/d", 0o700), None),
}
"""What may happen late, and what the look at the trash tells of it."""


@pytest.mark.parametrize("name", LATE)
def test_what_changes_while_it_is_verified_keeps_the_source_in_place(
    one: Subject, mount: FakeMount, plain: FakeMount, name: str
) -> None:
    one.copy()
    source = mount.stat(PATH).ino

    def verified(record: Record) -> Verdict:
        verdict = one.verify(record)
        LATE[name][0](PlainTree(plain))
        return verdict

    with pytest.raises(BusyError, match=r"changed while it was verified: [1-9]"):
        one.migration.cut_over(Copied(), verified, evict=False)
    assert (mount.stat(PATH).ino, one.state()) == (source, State.COPYING)
    before = picture(one.source, PATH)
    one.cut_over()
    assert picture(one.new, PATH) == before


@pytest.mark.parametrize("name", [name for name, (_, told) in LATE.items() if told])
def test_what_changes_right_before_the_exchange_is_told(
    one: Subject, mount: FakeMount, plain: FakeMount, name: str
) -> None:
    one.copy()
    change, told = LATE[name]

    def late(step: Step) -> None:
        if step is Step.CUTTING:
            change(PlainTree(plain))

    migration = Migration(mount, one.files, PATH, late)
    assert migration.cut_over(Copied(), one.verify, evict=False).written == [told]


def test_what_users_of_the_new_tree_change_is_no_late_write(one: Subject) -> None:
    one.copy()
    one.cut_over()
    one.files.unlink(PATH + b"/one")
    write(one.files, PATH + b"/one", b"by a user of the new tree")
    one.files.unlink(PATH + b"/empty")
    assert one.migration.late_writes(one.migration.required_record()) == []


class Changing(PlainTree):
    """A plain source, where something happens right after a file was opened."""

    def __init__(self, mount: Mount, path: bytes, then: Callable[[], None]) -> None:
        super().__init__(mount)
        self._path = path
        self._then = then

    def open(self, path: bytes, flags: int = os.O_RDONLY, mode: int = 0o600, /) -> PlainFile:
        file = super().open(path, flags, mode)
        if path == self._path:
            self._then()
        return file


def test_a_file_that_changes_while_it_is_copied_gets_no_mark(
    one: Subject, mount: FakeMount, plain: FakeMount
) -> None:
    one.migration.start(one.way, "")
    sides = one.migration.sides(one.migration.required_record())
    new, new_top = sides.new, sides.new_top
    source = Changing(mount, PATH + b"/one", lambda: plain.chmod(PATH + b"/one", 0o604))
    copied = Copied()
    Pass(replace(sides, source=source), lambda: None, copied).run()
    assert (copied.changed, copied.files) == (1, len(FILES) - 1)
    assert mark_of(new, new_top + b"/one") is None
    assert mark_of(new, new_top + b"/empty") is not None


def test_a_copy_that_goes_before_it_has_its_mark_is_made_anew(one: Subject, mount: FakeMount) -> None:
    one.migration.start(one.way, "")
    sides = one.migration.sides(one.migration.required_record())
    new, path, synced = sides.new, sides.new_top + b"/one", list[bool]()
    tree = file_system(mount)
    really_sync = tree.sync

    def sync() -> None:
        really_sync()
        # contents and attributes are durable
        synced.append(existing(new, path) is not None)
        if synced[-2:] == [True, True]:
            new.unlink(path)

    with closing(tree), pytest.MonkeyPatch.context() as patched:
        patched.setattr(tree, "sync", sync)
        copied = Copied()
        Pass(replace(sides, new=tree), lambda: None, copied).run()
    assert (copied.changed, copied.files) == (1, len(FILES) - 1)
    one.migration.converge(Copied())
    assert one.cut_over().verdict.equal


def test_a_copy_of_another_state_of_its_source_is_not_the_same(one: Subject, mount: FakeMount) -> None:
    one.copy()
    # the same contents once more
    write(one.source, PATH + b"/one", FILES[b"/one"])
    mtime = one.new.stat(one.migration.sides(one.migration.required_record()).new_top + b"/one").mtime
    one.source.utimens(PATH + b"/one", 1000, mtime)
    verdict = one.verify(one.migration.required_record())
    assert verdict.listed == [("differ", b"/one", "changed since it was copied")]


def test_all_that_differs_is_copied_anew_however_many(mount: FakeMount) -> None:
    def many(tree: Tree, top: bytes) -> None:
        for number in range(103):
            write(tree, top + b"/%d" % number, b"old")

    one = Subject(mount, file_system(mount), make_source(mount, Direction.ENCRYPT, PATH, many))
    one.copy()
    sides = one.migration.sides(one.migration.required_record())
    for number in range(103):
        with sides.new.open(sides.new_top + b"/%d" % number, os.O_RDWR) as file:
            file.pwrite(b"bad", 0)
    sides.new.sync()
    with pytest.raises(BusyError, match="103 differ"):
        one.cut_over()
    assert one.cut_over().verdict.equal


def test_the_names_of_one_file_fill_a_batch(mount: FakeMount, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mgr_fscrypt.migrate.files.BATCH", 8)

    def many(tree: Tree, top: bytes) -> None:
        write(tree, top + b"/0", b"of many names")
        for number in range(1, 40):
            tree.link(top + b"/0", top + b"/%d" % number)

    one = Subject(mount, file_system(mount), make_source(mount, Direction.ENCRYPT, PATH, many))
    finish, waited = Copier.finish, list[int]()

    def finished(self: Copier) -> None:
        waited.append(sum(1 + len(item.names) for item in self._waiting))
        finish(self)

    monkeypatch.setattr(Copier, "finish", finished)
    one.copy()
    assert max(waited) <= 9
    assert one.cut_over().verdict.equal


def test_a_name_that_is_missing_in_the_new_tree_only_is_a_problem(
    one: Subject, mount: FakeMount, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise NotFoundError(2, "no anchors any more")

    monkeypatch.setattr(Copier, "_copy", missing)
    copied = one.copy()
    assert copied.problem_count == len(FILES) + len(LINKS)


# without the key, and without telling names


def directories_and_links(tree: Tree, top: bytes) -> None:
    tree.mkdir(top + b"/directory", 0o755)
    tree.symlink(b"target", top + b"/directory/link")
    tree.sync()


def without(mount: Mount, lost: bytes) -> FileSystem:
    keyring = Keyring()
    for identifier, key in KEYS.items():
        if identifier != lost:
            keyring.add(key)
    return FileSystem(mount, keyring)


def test_a_locked_source_is_refused_at_every_step(mount: FakeMount) -> None:
    way = make_source(mount, Direction.REENCRYPT, PATH, directories_and_links)
    one = Subject(mount, file_system(mount), way)
    policy = one.files.subtree(PATH).policy
    assert policy is not None
    locked = without(mount, policy.key)
    with pytest.raises(LockedError):
        require_way(mount, locked, way)
    with pytest.raises(LockedError):
        look_over(mount, locked, locked, way)
    one.migration.start(way, "")
    with pytest.raises(LockedError):
        Migration(mount, locked, PATH).converge(Copied())
    one.copy()
    record = one.migration.required_record()
    with pytest.raises(LockedError):
        compare(replace(one.migration.sides(record), source=locked), Verdict())
    assert one.cut_over().verdict.equal


def test_a_source_that_lost_its_policy_is_refused(mount: FakeMount) -> None:
    one = Subject(mount, file_system(mount), make_source(mount, Direction.DECRYPT, PATH))
    one.migration.start(one.way, "")
    sides = one.migration.sides(one.migration.required_record())
    mount.mkdir(b"/above/plain", 0o755)
    with pytest.raises(OSError, match="not encrypted any more"):
        Pass(replace(sides, top=b"/above/plain"), lambda: None, Copied())


def test_the_plan_keeps_no_name_on_disk(mount: FakeMount, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Subject(mount, file_system(mount), make_source(mount, Direction.REENCRYPT, PATH))
    (stored,) = (each.stored for each in one.files.scandir(PATH) if each.name == b"a link")
    mount.link(PATH + b"/" + stored, b"/above/outside")
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def connected(where: str) -> sqlite3.Connection:
        opened.append(connect(where))
        opened[-1].set_trace_callback(said.append)
        return opened[-1]

    said: list[str] = []
    monkeypatch.setattr(sqlite3, "connect", connected)
    plan = one.plan()
    outside = [path for obstacle, path, _ in plan.listed if obstacle is Obstacle.LINKED_OUTSIDE]
    assert len(outside) == 1
    assert outside[0].removeprefix(PATH) in (b"/d/linked", *LINKS)
    assert said
    assert not [each for each in said if "link" in each or b"link".hex() in each.lower()]


def test_the_record_tells_nothing_of_the_tree(one: Subject) -> None:
    plan = one.plan()
    one.copy()
    assert one.migration.required_record().plan == "-".join(plan.hash.split("-")[:2])
