"""Migrations, as cases for the fake and for real clusters alike; fixtures as `engine_cases`."""

import os
import stat
import struct
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace

import pytest

from mgr_fscrypt.ceph.errors import CephError, NotFoundError
from mgr_fscrypt.ceph.interface import Kind, Layout, Mount
from mgr_fscrypt.engine import DamagedError, FileMode, FileSystem, Keyring, RefusedError
from mgr_fscrypt.engine.acls import DEFAULT_ACL
from mgr_fscrypt.engine.making import UNFINISHED
from mgr_fscrypt.format import MasterKey
from mgr_fscrypt.migrate import (
    Copied,
    Direction,
    Late,
    Migration,
    Obstacle,
    Plan,
    Record,
    State,
    Step,
    Verdict,
    Way,
    look_over,
)
from mgr_fscrypt.migrate.layouts import own_layout
from mgr_fscrypt.migrate.marks import MARK, Mark, mark_of
from mgr_fscrypt.migrate.plan import require_same
from mgr_fscrypt.migrate.record import hidden_of
from mgr_fscrypt.migrate.traits import traits_of
from mgr_fscrypt.migrate.trees import PlainTree, Tree, walk

from .engine_cases import OTHER, SECRET, remove

KEY, OTHER_KEY = MasterKey(SECRET), MasterKey(OTHER)
KEYS = {KEY.identifier: KEY, OTHER_KEY.identifier: OTHER_KEY}
HOLED = 256 << 10
FILES = {
    b"/empty": b"",
    b"/one": b"x",
    b"/d/block": b"y" * 4096,
    b"/d/more": b"z" * 10000,
    b"/d/linked": b"of three names",
    b"/d/e/holed": b"begin".ljust(8192, b".") + bytes(HOLED - 8192) + b"end",
    b"/not utf-8 \xff": b"odd",
}
LINKS = (b"/a link", b"/d/e/linked too")
FIFO = b"/d/fifo"
SYMLINK = b"/d/e/symlink"


def default_acl() -> bytes:
    """user::rwx, group::r-x, other::--- as a directory has it for its children."""
    entries = [(0x01, 7, 0xFFFFFFFF), (0x04, 5, 0xFFFFFFFF), (0x20, 0, 0xFFFFFFFF)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def file_system(mount: Mount) -> FileSystem:
    """With all keys."""
    keyring = Keyring()
    for key in KEYS.values():
        keyring.add(key)
    return FileSystem(mount, keyring)


def build(tree: Tree, top: bytes) -> None:
    """Some of everything."""
    for name in (b"/d", b"/d/e"):
        tree.mkdir(top + name, 0o755)
    for name, data in FILES.items():
        with tree.open(top + name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640) as file:
            for at in range(0, len(data), 4096):
                if any(data[at : at + 4096]):
                    file.pwrite(data[at : at + 4096], at)
    tree.sync()
    for name in LINKS:
        tree.link(top + b"/d/linked", top + name)
    tree.symlink(b"../more", top + SYMLINK)
    tree.mknod(top + FIFO, stat.S_IFIFO | 0o620, 0)
    tree.chown(top + b"/d/block", 12, 34)
    tree.chmod(top + b"/d/block", 0o4750)
    tree.setxattr(top + b"/d/more", "user.note", b"kept")
    tree.setxattr(top + b"/d/e", DEFAULT_ACL, default_acl())
    tree.utimens(top + b"/d/block", 1000, 2000)
    tree.utimens(top + SYMLINK, 1000, 3000)
    tree.chmod(top + b"/d/e", 0o2750)
    tree.utimens(top + b"/d/e", 1000, 4000)
    tree.sync()


def build_more(tree: Tree, top: bytes, *, more: int) -> None:
    """As `build`, and so many files more in one directory: enough for several shards."""
    build(tree, top)
    for number in range(more):
        with tree.open(top + b"/d/e/%d" % number, os.O_RDWR | os.O_CREAT, 0o600) as file:
            file.pwrite(b"%d" % number, 0)
    tree.sync()


def picture(tree: Tree, top: bytes) -> dict[bytes, tuple[object, ...]]:
    """All that is to be kept, by name."""
    found: dict[bytes, tuple[object, ...]] = {}
    numbers: dict[bytes, int] = {}
    for met in walk(tree, top):
        if met.leaving:
            continue
        each = tree.stat(top + met.below)
        data = b""
        if each.kind is Kind.FILE:
            with tree.open(top + met.below, os.O_RDONLY) as file:
                data = file.pread(file.size, 0)
        numbers[met.below] = each.ino
        nlink = each.nlink if each.kind is Kind.FILE else 1
        found[met.below] = (traits_of(tree, top + met.below, each), nlink, data)
    names: dict[int, set[bytes]] = {}
    for name, number in numbers.items():
        names.setdefault(number, set()).add(name)
    return {name: (*what, sorted(names[numbers[name]])) for name, what in found.items()}


def finished(one: "Subject") -> dict[bytes, int]:
    """The inodes of all copies beside the source that are finished and current."""
    record = one.migration.record()
    if record is None or record.state is not State.COPYING or not record.new:
        return {}
    sides = one.migration.sides(record)
    found: dict[bytes, int] = {}
    for met in walk(sides.new, sides.new_top):
        if met.entry is None or met.entry.kind is not Kind.FILE:
            continue
        try:
            mark = mark_of(sides.new, sides.new_top + met.below)
            old = sides.source.stat(sides.top + met.below)
        except (DamagedError, NotFoundError):
            continue  # half made, or just about to go
        if mark == Mark(old.ino, old.version or 0):
            found[met.below] = met.entry.ino
    return found


@dataclass(frozen=True)
class Subject:
    """A tree to be migrated, and a client that does it."""

    mount: Mount
    files: FileSystem
    way: Way

    @property
    def source(self) -> Tree:
        return PlainTree(self.mount) if self.way.direction is Direction.ENCRYPT else self.files

    @property
    def new(self) -> Tree:
        return PlainTree(self.mount) if self.way.direction is Direction.DECRYPT else self.files

    @property
    def path(self) -> bytes:
        return self.way.path

    @property
    def migration(self) -> Migration:
        return Migration(self.mount, self.files, self.path)

    def plan(self, exclude: Iterable[bytes] = ()) -> Plan:
        return look_over(self.mount, self.files, self.source, self.way, exclude=exclude)

    def copy(self) -> Copied:
        """All but the cut-over."""
        copied = Copied()
        self.migration.start(self.way, self.plan().hash)
        self.migration.converge(copied)
        return copied

    def verify(self, record: Record) -> Verdict:
        """By a client of its own."""
        with self.mount.fresh() as fresh, file_system(fresh) as files:
            migration = Migration(fresh, files, self.path)
            assert migration.required_record().state is record.state
            return migration.compare(Verdict(), manifest=True)

    def cut_over(self) -> Late:
        return self.migration.cut_over(Copied(), self.verify, evict=False)

    def state(self) -> State | None:
        record = self.migration.record()
        return record.state if record else None


WAYS: dict[Direction, tuple[MasterKey | None, MasterKey]] = {
    Direction.ENCRYPT: (None, KEY),
    Direction.REENCRYPT: (KEY, OTHER_KEY),
    Direction.DECRYPT: (KEY, KEY),
}


def make_source(
    mount: Mount, direction: Direction, path: bytes, fill: Callable[[Tree, bytes], None] = build
) -> Way:
    """A tree that `fill` makes, in a directory of its own."""
    old, key = WAYS[direction]
    mount.mkdir(path.rpartition(b"/")[0], 0o755)
    mount.mkdir(path, 0o755)
    with file_system(mount) as files:
        if old is not None:
            files.create_subtree(path, old.identifier)
        fill(PlainTree(mount) if old is None else files, path)
        mount.chmod(path, 0o751)
        mount.utimens(path, 1000, 5000)
        mount.sync()
    return Way(path, direction, key.identifier)


class MigrationCases:
    """What a cluster has its part in."""

    @pytest.fixture
    def place(self, mount: Mount) -> Iterator[bytes]:
        """Where nothing is; removed afterwards."""
        above = f"/migration-{uuid.uuid4().hex[:8]}".encode()
        yield above + b"/tree"
        with mount.fresh() as fresh:
            remove(fresh, above)

    @pytest.fixture
    def made(self, mount: Mount, place: bytes) -> Iterator[Callable[[Direction], Subject]]:
        opened: list[FileSystem] = []

        def make(direction: Direction) -> Subject:
            way = make_source(mount, direction, place)
            opened.append(file_system(mount))
            return Subject(mount, opened[-1], way)

        yield make
        for files in opened:
            files.close()

    @pytest.mark.parametrize("direction", Direction)
    def test_a_tree_comes_out_as_it_went_in_and_back(
        self, made: Callable[[Direction], Subject], direction: Direction, mount: Mount
    ) -> None:
        one = made(direction)
        before = picture(one.source, one.path)
        plan = one.plan()
        assert plan.clear, plan.listed
        assert (plan.files, plan.names, plan.special, plan.links) == (len(FILES), len(LINKS), 1, 1)
        copied = one.copy()
        assert (copied.problems, copied.files) == ([], len(FILES))
        assert mount.stat(hidden_of(one.path)).mode & 0o7777 == 0o700
        late = one.cut_over()
        assert late.verdict.equal, late.verdict.listed
        assert (late.written, late.evicted) == ([], ())
        assert 0 < late.gap < 60
        with mount.fresh() as fresh, file_system(fresh) as files:
            after = picture(PlainTree(fresh) if direction is Direction.DECRYPT else files, one.path)
            assert after == before
            subtree = files.subtree(one.path)
            if direction is Direction.DECRYPT:
                assert subtree.policy is None
            else:
                assert subtree.policy is not None
                assert (subtree.policy.key, subtree.mode) == (one.way.key, FileMode.ENGINE)
        one.migration.rollback(evict=False)
        with mount.fresh() as fresh, file_system(fresh) as files:
            old = PlainTree(fresh) if direction is Direction.ENCRYPT else files
            assert picture(old, one.path) == before
        again = Copied()
        one.migration.start(one.way, "")
        one.migration.converge(again)
        assert (again.files, again.current) == (0, len(FILES) + len(LINKS)), "nothing is copied twice"
        one.cut_over()
        one.migration.purge()
        assert one.state() is None
        with pytest.raises(NotFoundError):
            mount.stat(hidden_of(one.path))
        with mount.fresh() as fresh, file_system(fresh) as files:
            assert picture(PlainTree(fresh) if direction is Direction.DECRYPT else files, one.path) == before
            for met in walk(PlainTree(fresh), one.path):
                assert MARK not in fresh.listxattr(one.path + met.below)

    @pytest.mark.parametrize("direction", Direction)
    def test_without_a_key_the_new_tree_is_compared_with_its_manifest(
        self, made: Callable[[Direction], Subject], direction: Direction, mount: Mount
    ) -> None:
        one = made(direction)
        one.copy()
        with pytest.raises(RefusedError, match="not verified yet"):
            one.migration.compare_without_key(Verdict())
        before = len(picture(one.source, one.path))
        one.cut_over()

        def looked() -> Verdict:
            # nobody has a key here
            with mount.fresh() as fresh, FileSystem(fresh, Keyring()) as files:
                return Migration(fresh, files, one.path).compare_without_key(Verdict())

        assert (looked().same, looked().listed) == (before, [])
        stored = {each.name: each.stored for each in one.new.scandir(one.path)}
        named = {name: b"/" + stored[name] for name in (b"one", b"empty", b"d", b"a link")}
        (fifo,) = (each.stored for each in one.new.scandir(one.path + b"/d") if each.name == FIFO[3:])
        with PlainTree(mount).open(one.path + named[b"one"], os.O_RDWR) as file:
            file.pwrite(b"?", file.size)
        mount.utimens(one.path + named[b"one"], 1000, 2000)
        mount.chmod(one.path + named[b"empty"], 0o604)
        mount.unlink(one.path + named[b"a link"])
        mount.mknod(one.path + b"/more", stat.S_IFIFO | 0o600, 0)
        mount.unlink(one.path + named[b"d"] + b"/" + fifo)
        mount.utimens(one.path, 1000, 5000)
        mount.utimens(one.path + named[b"d"], 1000, 4500)
        mount.sync()
        found = looked()
        assert {(kind, below): how for kind, below, how in found.listed} == {
            ("differ", named[b"one"]): "size, attributes, contents",
            ("differ", named[b"empty"]): "attributes",
            ("differ", named[b"d"]): "attributes",
            ("missing", named[b"a link"]): "",
            ("missing", named[b"d"] + b"/" + fifo): "",
            ("extra", b"/more"): "",
        }
        assert (found.same, found.error) == (before - 5, 0)
        with PlainTree(mount).open(hidden_of(one.path) + b"/manifest", os.O_RDWR) as file:
            lines = file.pread(file.size, 0)
            if direction is not Direction.DECRYPT:
                assert not any(name.rpartition(b"/")[2] in lines for name in (b"holed", b"linked too"))
            file.pwrite(b" ", file.size)
        mount.sync()
        with pytest.raises(DamagedError, match="is not the one"):
            looked()
        one.migration.rollback(evict=False, verify=None)
        one.migration.cancel()

    def test_what_changes_meanwhile_is_brought_over_by_the_next_pass(
        self, made: Callable[[Direction], Subject], mount: Mount, plain: Mount
    ) -> None:
        one = made(Direction.ENCRYPT)
        one.copy()
        # another client: contents, attributes, names, kinds
        other = PlainTree(plain)
        with other.open(one.path + b"/one", os.O_RDWR) as file:
            file.pwrite(b"not one any more", 0)
        other.chmod(one.path + b"/empty", 0o604)
        other.unlink(one.path + LINKS[0])
        other.mkdir(one.path + LINKS[0], 0o755)
        with other.open(one.path + LINKS[0] + b"/in it", os.O_RDWR | os.O_CREAT, 0o600) as file:
            file.pwrite(b"new", 0)
        other.unlink(one.path + b"/d/block")
        remove(plain, one.path + b"/d/e")
        plain.rename(one.path + b"/d/more", one.path + b"/moved")
        plain.sync()
        before = picture(PlainTree(plain), one.path)
        late = one.cut_over()
        assert late.verdict.equal, late.verdict.listed
        with mount.fresh() as fresh, file_system(fresh) as files:
            assert picture(files, one.path) == before

    def test_what_is_written_into_the_trash_is_told(
        self, made: Callable[[Direction], Subject], mount: Mount, plain: Mount
    ) -> None:
        one = made(Direction.ENCRYPT)
        one.copy()
        fd = plain.open(one.path + b"/one", os.O_RDWR)

        def write(step: Step) -> None:
            # a client that nobody knew of
            if step is Step.CUTTING:
                plain.pwrite(fd, b"too late", 0)
                plain.fsync(fd)

        migration = Migration(mount, one.files, one.path, write)
        late = migration.cut_over(Copied(), one.verify, evict=False)
        plain.close(fd)
        assert late.written == [b"/one"]

    def test_a_layout_below_the_top_is_carried_over(
        self, made: Callable[[Direction], Subject], mount: Mount
    ) -> None:
        one = made(Direction.REENCRYPT)
        layout = Layout(1 << 20, 1, 1 << 20, mount.layout(b"/").pool, "apart")
        one.files.mkdir(one.path + b"/apart", 0o755, attributes=layout.attributes)
        with one.files.create(one.path + b"/apart/file") as file:
            file.pwrite(b"there", 0)
        one.copy()
        assert one.cut_over().verdict.equal
        with mount.fresh() as fresh, file_system(fresh) as files:
            assert own_layout(files, one.path + b"/apart") == layout
            with closing(files.scandir(one.path + b"/apart")) as entries:
                (name,) = (each.stored for each in entries)
            (above,) = (each.stored for each in files.scandir(one.path) if each.name == b"apart")
            assert fresh.layout(b"/".join((one.path, above, name))) == layout

    def test_a_trash_with_snapshots_is_kept_until_they_are_gone(
        self, made: Callable[[Direction], Subject], mount: Mount
    ) -> None:
        one = made(Direction.ENCRYPT)
        mount.mkdir(one.path + b"/d/.snap/before", 0o755)
        one.copy()
        one.cut_over()
        with pytest.raises(RefusedError, match="has snapshots"):
            one.migration.purge()
        mount.rmdir(hidden_of(one.path) + b"/old/d/.snap/before")
        one.migration.purge()
        assert one.state() is None

    def test_a_plan_names_what_is_in_the_way(
        self, made: Callable[[Direction], Subject], mount: Mount, place: bytes
    ) -> None:
        one = made(Direction.ENCRYPT)
        top, long = one.path, one.path + b"/" + b"n" * 129
        mount.mkdir(long, 0o755)
        mount.mkdir(top + b"/nested", 0o755)
        one.files.create_subtree(top + b"/nested", OTHER_KEY.identifier)
        mount.chmod(top + b"/empty", UNFINISHED)
        mount.link(top + b"/one", top.rpartition(b"/")[0] + b"/outside")
        mount.mkdir(top + b"/.snap/before", 0o755)
        mount.mkdir(top + b"/volume", 0o755)
        mount.mkdir(top + b"/Case", 0o755)
        known = []
        # 18.2 has no case-insensitive directories, and does not tell of subvolumes
        with suppress(CephError):
            mount.setxattr(top + b"/volume", "ceph.dir.subvolume", b"1")
            mount.getxattr(top + b"/volume", "ceph.dir.subvolume")
            known.append((Obstacle.SUBVOLUME, top + b"/volume"))
        with suppress(CephError):
            mount.setxattr(top + b"/Case", "ceph.dir.casesensitive", b"0")
            known.append((Obstacle.CASE, top + b"/Case"))
        mount.sync()
        try:
            plan = one.plan()
        finally:
            mount.rmdir(top + b"/.snap/before")
        found = {(obstacle, path) for obstacle, path, _ in plan.listed}
        assert not plan.clear
        for wanted in (
            (Obstacle.NAME, long),
            (Obstacle.NESTED, top + b"/nested"),
            (Obstacle.HALF_MADE, top + b"/empty"),
            (Obstacle.LINKED_OUTSIDE, top + b"/one"),
            (Obstacle.SPECIAL, top + FIFO),
            (Obstacle.SNAPSHOTS, top),
            *known,
        ):
            assert wanted in found


class MoreMigrationCases(MigrationCases):
    """And what is decided without one: only the fake is asked."""

    def test_cancelled_it_leaves_everything_as_it_was(
        self, made: Callable[[Direction], Subject], mount: Mount
    ) -> None:
        one = made(Direction.ENCRYPT)
        before = picture(one.source, one.path)
        one.copy()
        one.migration.cancel()
        assert picture(one.source, one.path) == before
        with pytest.raises(NotFoundError):
            mount.stat(hidden_of(one.path))
        with pytest.raises(NotFoundError):
            one.migration.cancel()

    def test_what_cannot_be_done_in_that_state_is_refused(self, made: Callable[[Direction], Subject]) -> None:
        one = made(Direction.ENCRYPT)
        one.copy()
        for act in (one.migration.purge, lambda: one.migration.rollback(evict=False)):
            with pytest.raises(RefusedError, match="not cut over"):
                act()
        with pytest.raises(RefusedError, match="another migration"):
            one.migration.start(replace(one.way, key=OTHER_KEY.identifier), "")
        one.cut_over()
        with pytest.raises(RefusedError, match="was cut over"):
            one.migration.cancel()
        with pytest.raises(RefusedError, match="it is done"):
            one.cut_over()

    def test_a_difference_keeps_the_source_in_place(
        self, made: Callable[[Direction], Subject], mount: Mount
    ) -> None:
        one = made(Direction.ENCRYPT)
        one.copy()
        record = one.migration.required_record()
        new_top = one.migration.sides(record).new_top
        ino = mount.stat(one.path).ino
        # the mark says that it is current
        with one.files.open(new_top + b"/d/more", os.O_RDWR) as file:
            file.pwrite(b"?", 5000)
        one.files.chmod(new_top + b"/one", 0o600)
        one.files.symlink(b"x", new_top + b"/extra")
        one.files.unlink(new_top + b"/empty")
        one.files.sync()
        verdict = one.verify(record)
        found = {(kind, below): how for kind, below, how in verdict.listed}
        assert (verdict.missing, verdict.extra, verdict.error) == (1, 1, 0)
        assert "contents" in found["differ", b"/d/more"]
        assert "permissions" in found["differ", b"/one"]
        assert ("missing", b"/empty") in found
        assert ("extra", b"/extra") in found
        with pytest.raises(OSError, match="not the same"):
            one.cut_over()
        assert mount.stat(one.path).ino == ino
        assert one.state() is State.COPYING
        # the next run copies anew what was not the same
        assert one.cut_over().verdict.equal

    def test_a_plan_holds_for_what_it_was_made_of(
        self, made: Callable[[Direction], Subject], mount: Mount
    ) -> None:
        one = made(Direction.ENCRYPT)
        plan = one.plan()
        require_same(plan.hash, one.plan(), even_changed=False)
        other_key = look_over(mount, one.files, one.source, replace(one.way, key=OTHER_KEY.identifier))
        with pytest.raises(RefusedError, match="another directory, direction or key"):
            require_same(plan.hash, other_key, even_changed=True)
        elsewhere = "-".join(["0" * 16, *plan.hash.split("-")[1:]])
        with pytest.raises(RefusedError, match="another cluster"):
            require_same(elsewhere, plan, even_changed=True)
        with pytest.raises(RefusedError, match="no plan"):
            require_same("yes", plan, even_changed=True)
        mount.chmod(one.path + b"/one", 0o600)
        mount.sync()
        changed = one.plan()
        with pytest.raises(RefusedError, match="has changed"):
            require_same(plan.hash, changed, even_changed=False)
        require_same(plan.hash, changed, even_changed=True)

    @pytest.mark.parametrize("direction", Direction)
    def test_what_is_of_the_wrong_kind_is_refused(
        self, made: Callable[[Direction], Subject], direction: Direction
    ) -> None:
        one = made(direction)
        for other in Direction:
            wrong = replace(one.way, direction=other)
            if other is Direction.REENCRYPT:
                wrong = replace(wrong, key=KEY.identifier)
            elif other is direction or (other is Direction.DECRYPT and direction is Direction.REENCRYPT):
                wrong = replace(wrong, path=one.path + b"/d")
                if direction is Direction.ENCRYPT:
                    continue
            with pytest.raises(RefusedError):
                look_over(one.mount, one.files, one.source, wrong)
