"""Sources that go, turn into something else, or were never what they seem; and room that runs out."""

import errno
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import pytest

from mgr_fscrypt.ceph.errors import CephError, QuotaError, error_of
from mgr_fscrypt.engine import BusyError, DamagedError
from mgr_fscrypt.migrate import Copied, Direction, Migration, Obstacle, State, Way
from mgr_fscrypt.migrate.marks import MARK, Mark
from mgr_fscrypt.migrate.record import hidden_of
from mgr_fscrypt.migrate.shards import Hands, InThisProcess, Shard
from mgr_fscrypt.migrate.trees import Tree, existing, remove_all
from mgr_fscrypt.migrate.turns import Turn
from qa.fakes.ceph import FakeMount
from qa.fakes.migration_cases import KEY, Subject, file_system, make_source, picture

PATH = b"/above/tree"
LARGE = (1 << 20) + 5000


@pytest.fixture(params=Direction, ids=lambda each: each.value)
def one(request: pytest.FixtureRequest, mount: FakeMount) -> Subject:
    return Subject(mount, file_system(mount), make_source(mount, request.param, PATH))


def write(tree: Tree, path: bytes, data: bytes) -> None:
    with tree.open(path, os.O_RDWR | os.O_CREAT, 0o640) as file:
        file.pwrite(data, 0)
    tree.sync()


def through(one: Subject) -> None:
    """Whatever was found before, it ends well."""
    before = picture(one.source, PATH)
    one.migration.start(one.way, "")
    one.migration.converge(Copied())
    assert one.cut_over().verdict.equal
    assert picture(one.new, PATH) == before


def file_to_directory(tree: Tree) -> None:
    tree.unlink(PATH + b"/one")
    tree.mkdir(PATH + b"/one", 0o755)
    write(tree, PATH + b"/one/in it", b"new")


def file_to_link(tree: Tree) -> None:
    tree.unlink(PATH + b"/one")
    tree.symlink(b"elsewhere", PATH + b"/one")


def link_to_file(tree: Tree) -> None:
    tree.unlink(PATH + b"/d/e/symlink")
    write(tree, PATH + b"/d/e/symlink", b"a file now")


def directory_to_file(tree: Tree) -> None:
    remove_all(tree, PATH + b"/d/e")
    write(tree, PATH + b"/d/e", b"a file now")


def all_gone(tree: Tree) -> None:
    remove_all(tree, PATH + b"/d")


@pytest.mark.parametrize(
    "change", [file_to_directory, file_to_link, link_to_file, directory_to_file, all_gone]
)
def test_what_turns_into_something_else_between_a_listing_and_its_copy(
    one: Subject, change: Callable[[Tree], None]
) -> None:
    changed: list[int] = []

    class Late(InThisProcess):
        def submit(self, shard: Shard, /) -> Future[Copied]:
            if not changed:
                changed.append(1)
                change(one.source)
                one.source.sync()
            return super().submit(shard)

    @contextmanager
    def hands(turn: Turn) -> Iterator[Hands]:
        sides = one.migration.sides(one.migration.required_record())
        yield Late(sides, lambda: one.migration.require_turn_of(turn), migration._limits)

    migration = Migration(one.mount, one.files, PATH, hands=hands)
    migration.start(one.way, "")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("mgr_fscrypt.migrate.copying.BATCH", 3)
        migration.converge(Copied())
    assert changed
    through(one)


def test_a_source_that_goes_is_told_and_nothing_is_removed(one: Subject, mount: FakeMount) -> None:
    seen: list[int] = []

    def moved() -> None:
        seen.append(1)
        if len(seen) == 5:
            mount.rename(PATH, b"/above/moved")

    def copied_and_cut_over() -> None:
        Migration(mount, one.files, PATH, watched=moved).converge(Copied())
        one.cut_over()

    one.migration.start(one.way, "")
    with pytest.raises((CephError, DamagedError)):
        copied_and_cut_over()
    for act in (one.migration.cancel, lambda: one.migration.start(one.way, "")):
        with pytest.raises(DamagedError, match="somebody else"):
            act()
    mount.rename(b"/above/moved", PATH)
    through(one)


@pytest.mark.parametrize("same_size", [True, False])
def test_half_a_file_is_not_taken_for_what_took_its_source_s_place(
    one: Subject, mount: FakeMount, *, same_size: bool
) -> None:
    write(one.source, PATH + b"/large", b"1" * LARGE)
    asked: list[int] = []

    class StopError(Exception):
        pass

    def stop() -> None:
        asked.append(1)
        record = one.migration.record()
        sides = record and one.migration.sides(record)
        try:
            half = sides and existing(sides.new, sides.new_top + b"/large")
        except DamagedError:
            raise StopError from None
        if half:
            raise StopError

    one.migration.start(one.way, "")
    with pytest.raises(StopError):
        Migration(mount, one.files, PATH, watched=stop).converge(Copied())
    one.source.unlink(PATH + b"/large")
    write(one.source, PATH + b"/large", b"2" * (LARGE if same_size else 7))
    through(one)


@pytest.mark.parametrize("size", [1 << 20, LARGE])
def test_half_a_file_with_the_mark_of_its_source_is_found_and_copied_anew(one: Subject, size: int) -> None:
    """As somebody leaves it who slept past its turn, and marked what another one had just begun."""
    write(one.source, PATH + b"/large", b"1" * LARGE)
    one.copy()
    sides = one.migration.sides(one.migration.required_record())
    copy, found = sides.new_top + b"/large", one.source.stat(PATH + b"/large")
    with sides.new.open(copy, os.O_RDWR) as file:
        file.truncate(1 << 20)
        file.truncate(size)
    sides.new.utimens(copy, found.atime, int(found.mtime))
    sides.new.sync()
    sides.new.setxattr(copy, MARK, Mark(found.ino, found.version or 0).encode())
    if size == LARGE:
        # only who reads it knows
        with pytest.raises(BusyError, match="not the same"):
            one.cut_over()
        assert one.state() is State.COPYING
    through(one)


NAMES = ("\u00e9", "e\u0301", "A", "a", "\u1e9e", "\u00df", "\u212b", "\u00c5")
"""Pairs that are one name to those who normalise, or do not look at the case."""


def test_names_that_others_take_for_one_stay_two(one: Subject) -> None:
    for name in NAMES:
        write(one.source, PATH + b"/" + name.encode(), name.encode())
    through(one)
    for name in NAMES:
        with one.new.open(PATH + b"/" + name.encode()) as file:
            assert file.pread(9, 0) == name.encode()


def test_a_migration_in_a_migration_holds_up_the_outer_one(mount: FakeMount) -> None:
    outer = Subject(mount, file_system(mount), make_source(mount, Direction.ENCRYPT, PATH))
    mount.rename(PATH + b"/a link", PATH + b"/d/a link")
    outer.copy()
    inner = Subject(mount, outer.files, Way(PATH + b"/d", Direction.ENCRYPT, KEY.identifier))
    inner.copy()
    nested = [path for obstacle, path, _ in outer.plan().listed if obstacle is Obstacle.NESTED]
    assert nested
    assert all(path.startswith(hidden_of(inner.path) + b"/work/") for path in nested)
    with pytest.raises(BusyError, match="nested"):
        outer.cut_over()
    inner.cut_over()
    with pytest.raises(BusyError, match="nested"):
        outer.cut_over()
    before = picture(inner.new, inner.path)
    inner.migration.purge()
    assert picture(inner.new, inner.path) == before
    outer.migration.cancel()
    assert picture(inner.new, inner.path) == before


@pytest.mark.parametrize(
    "full",
    [
        error_of(errno.ENOSPC, "write"),
        QuotaError(errno.EDQUOT, "full", b"/"),
        error_of(errno.EDQUOT, "write"),
    ],
    ids=lambda each: f"{type(each).__name__}-{each.errno}",
)
@pytest.mark.parametrize("after", [0, 2])
def test_room_that_runs_out_ends_a_pass_and_costs_nothing(
    one: Subject, mount: FakeMount, full: CephError, after: int
) -> None:
    before = picture(one.source, PATH)
    pwrite, written = mount.pwrite, list[int]()

    def fill(fd: int, data: bytes, offset: int) -> None:
        written.append(fd)
        if len(written) > after:
            raise full
        pwrite(fd, data, offset)

    one.migration.start(one.way, "")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(mount, "pwrite", fill)
        with pytest.raises(CephError) as told:
            one.migration.converge(Copied())
        assert told.value.errno == full.errno
    assert picture(one.source, PATH) == before
    through(one)
