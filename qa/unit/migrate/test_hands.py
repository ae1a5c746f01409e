"""Copying by several hands at once: who may, and what comes of those that die or do a thing twice."""

import copy
import errno
import os
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from functools import partial

import pytest

from mgr_fscrypt.ceph.errors import LeaseLostError, QuotaError, error_of
from mgr_fscrypt.ceph.interface import Kind
from mgr_fscrypt.engine import BusyError, DirEntry, FileSystem, LockedError, NotFencedError
from mgr_fscrypt.engine.making import UNFINISHED
from mgr_fscrypt.migrate import Copied, Direction, Migration, Record, Verdict
from mgr_fscrypt.migrate.ahead import Ahead
from mgr_fscrypt.migrate.pace import UNLIMITED, Asked, Limits
from mgr_fscrypt.migrate.record import hidden_of
from mgr_fscrypt.migrate.shards import InThisProcess, Shard, ShardEntry, carry_out
from mgr_fscrypt.migrate.trees import PlainTree, Tree, existing, walk
from mgr_fscrypt.migrate.turns import Turn
from qa.fakes.ceph import FakeCluster, FakeMount
from qa.fakes.migration_cases import (
    FILES,
    LINKS,
    SYMLINK,
    Subject,
    build_more,
    file_system,
    make_source,
    picture,
)

PATH = b"/above/tree"
MORE = 9


@pytest.fixture(params=Direction, ids=lambda each: each.value)
def one(request: pytest.FixtureRequest, mount: FakeMount, monkeypatch: pytest.MonkeyPatch) -> Subject:
    """Its shards have three entries at most."""
    monkeypatch.setattr("mgr_fscrypt.migrate.copying.BATCH", 3)
    way = make_source(mount, request.param, PATH, partial(build_more, more=MORE))
    return Subject(mount, file_system(mount), way)


class Others:
    """Hands with mounts of their own, which begin to die with the shard of that number, and do so for as long as
    `dying` counts down. One that dies leaves its shard half done and something half made."""

    width = 4

    def __init__(self, cluster: FakeCluster, turn: Turn, dies_at: int, dying: list[int]) -> None:
        self._cluster = cluster
        self._turn = turn
        self._dies_at = dies_at
        self._dying = dying
        self._count = 0
        self._number = threading.Lock()
        self.replaced = 0
        self._pool = ThreadPoolExecutor(2)

    def submit(self, shard: Shard, /) -> Future[Copied]:
        return self._pool.submit(self._carry_out, shard)

    def replace(self) -> None:
        self._pool.shutdown()
        self.replaced += 1
        self._pool = ThreadPoolExecutor(2)

    def end(self) -> None:
        self._pool.shutdown()

    def _carry_out(self, shard: Shard) -> Copied:
        with self._number:
            self._count += 1
            dies = self._count >= self._dies_at and self._dying[0] > 0
            self._dying[0] -= dies
        mount = FakeMount(self._cluster)
        with closing(file_system(mount)) as files:
            migration = Migration(mount, files, PATH)
            sides = migration.sides(migration.required_record())

            def go_on() -> None:
                migration.require_turn_of(self._turn)

            if not dies:
                return carry_out(sides, go_on, shard)
            carry_out(sides, go_on, Shard(shard.entries[:1]))
            if len(shard.entries) > 1 and shard.entries[1].kind is Kind.FILE:
                half = sides.new_top + shard.entries[1].below
                if existing(sides.new, half) is None:
                    with sides.new.open(half, os.O_RDWR | os.O_CREAT, 0o600) as file:
                        file.pwrite(b"half", 0)
                    if isinstance(sides.new, FileSystem):
                        sides.new.sync()
                        mount.chmod(stored_of(sides.new, half), UNFINISHED)
        raise BrokenExecutor("killed")


def stored_of(files: FileSystem, path: bytes) -> bytes:
    """Where a file of an encrypted tree lies."""
    above, _, name = path.rpartition(b"/")
    parent = above if above.count(b"/") < 4 else stored_of(files, above)
    with closing(files.scandir(above)) as entries:
        return next(parent + b"/" + each.stored for each in entries if each.name == name)


def by_others(one: Subject, dies_at: int = 0, dying: int = 0) -> tuple[Migration, list[Others]]:
    opened: list[Others] = []

    @contextmanager
    def hands(turn: Turn) -> Iterator[Others]:
        opened.append(Others(one.mount.cluster, turn, dies_at, [dying]))  # type: ignore[attr-defined]
        try:
            yield opened[-1]
        finally:
            opened[-1].end()

    return Migration(one.mount, one.files, PATH, hands=hands), opened


def test_several_hands_make_the_same_tree(one: Subject) -> None:
    before = picture(one.source, PATH)
    migration, opened = by_others(one)
    migration.start(one.way, one.plan().hash)
    copied, again = Copied(), Copied()
    migration.converge(copied)
    assert (copied.files, copied.problems) == (len(FILES) + MORE, [])
    migration.converge(again)
    assert (again.files, again.others, again.current) == (0, 0, len(FILES) + len(LINKS) + MORE)
    assert migration.cut_over(Copied(), one.verify, evict=False).verdict.equal
    assert picture(one.new, PATH) == before
    # each time all of them have let go before the next step, the last time before the last look at the sessions
    assert len(opened) == 4


@pytest.mark.parametrize("dies_at", [1, 4])
def test_what_hands_that_died_had_is_done_by_others(one: Subject, dies_at: int) -> None:
    before = picture(one.source, PATH)
    migration, opened = by_others(one, dies_at, dying=2)
    migration.start(one.way, one.plan().hash)
    copied = Copied()
    migration.converge(copied)
    assert (copied.problems, copied.changed) == ([], 0)
    assert opened[0].replaced in (1, 2)
    assert migration.cut_over(Copied(), one.verify, evict=False).verdict.equal
    assert picture(one.new, PATH) == before


@pytest.mark.parametrize("changes", [False, True])
def test_what_was_copied_late_by_hands_that_died_is_not_taken_for_verified(
    one: Subject, mount: FakeMount, changes: bool
) -> None:
    source, late, died = mount.stat(PATH).ino, list[bytes](), list[Shard]()

    class Dying:
        width = 0

        def submit(self, shard: Shard, /) -> Future[Copied]:
            done: Future[Copied] = Future()
            sides = one.migration.sides(one.migration.required_record())
            copied = carry_out(sides, lambda: None, shard)
            if not died and late[0:1] in [[each.below] for each in shard.entries]:
                died.append(shard)
                done.set_exception(BrokenExecutor("killed"))
            else:
                done.set_result(copied)
            return done

        def replace(self) -> None:
            """This process is alive."""

    def verify(record: Record) -> Verdict:
        verdict = one.verify(record)
        late.append(b"/d/e/0")
        if changes:
            with one.source.open(PATH + late[0], os.O_RDWR) as file:
                file.pwrite(b"late", 0)
            one.source.sync()
        return verdict

    migration = Migration(mount, one.files, PATH, hands=lambda _: nullcontext(Dying()))
    migration.start(one.way, one.plan().hash)
    migration.converge(Copied())
    if changes:
        with pytest.raises(BusyError, match=r"changed while it was verified.*have died"):
            migration.cut_over(Copied(), verify, evict=False)
    else:
        migration.cut_over(Copied(), verify, evict=False)
    assert len(died) == 1
    assert (mount.stat(PATH).ino == source) is changes


def test_hands_that_die_each_time_end_the_pass(one: Subject, mount: FakeMount) -> None:
    before, source = picture(one.source, PATH), mount.stat(PATH).ino
    migration, opened = by_others(one, 1, dying=1000)
    migration.start(one.way, one.plan().hash)
    with pytest.raises(BusyError, match="died 4 times in a row"):
        migration.converge(Copied())
    assert opened[0].replaced == 3
    assert mount.stat(PATH).ino == source
    assert picture(one.source, PATH) == before
    assert one.copy().problems == []
    assert one.cut_over().verdict.equal


def test_all_that_is_copied_counts_for_the_limits(mount: FakeMount, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Limits] = []
    counted = Counter[str]()
    timed = Counter[Asked]()

    class Counting:
        def __init__(self, limits: Limits, _: Callable[[], None]) -> None:
            kept.append(limits)

        def done(self, **more: int) -> None:
            counted.update(more)

        def timed(self, asked: Asked) -> nullcontext[None]:
            timed[asked] += 1
            return nullcontext()

        def wait_for_window(self) -> None:
            pass

    monkeypatch.setattr("mgr_fscrypt.migrate.files.Pace", Counting)
    one = Subject(mount, file_system(mount), make_source(mount, Direction.ENCRYPT, PATH))
    limits = Limits(files=3, size=1000)
    migration = Migration(mount, one.files, PATH, limits=limits)
    migration.start(one.way, "")
    migration.converge(Copied(), passes=1)
    assert set(kept) == {limits}
    # a link and a FIFO as well; zeros are read, too
    assert counted == {"files": len(FILES) + 2, "size": sum(map(len, FILES.values()))}
    assert timed == {Asked.MDS: len(FILES), Asked.OSD: len(FILES) - 1}


def test_a_shard_that_is_carried_out_twice_does_no_harm(one: Subject) -> None:
    one.migration.start(one.way, one.plan().hash)
    sides = one.migration.sides(one.migration.required_record())
    shard = Shard(
        tuple(
            ShardEntry(below, kind, fresh=False)
            for below, kind in ((b"/one", Kind.FILE), (b"/empty", Kind.FILE))
        )
    )
    assert carry_out(sides, lambda: None, shard).files == 2
    before = [sides.new.stat(sides.new_top + each.below).ino for each in shard.entries]
    again = carry_out(sides, lambda: None, shard)
    assert (again.files, again.current) == (0, 2)
    assert [sides.new.stat(sides.new_top + each.below).ino for each in shard.entries] == before


SHAPES = {
    b"/both/below": 2,
    b"/empty": 0,
    b"/fits": 2,
    b"/linked": 2,
    b"/more": 4,
    b"/one": 1,
}
"""Directories, and how many files are in each; `/both` has one, too."""


def build_shapes(tree: Tree, top: bytes) -> None:
    tree.mkdir(top + b"/both", 0o750)
    for name, count in ((b"/both", 1), *SHAPES.items()):
        if name != b"/both":
            tree.mkdir(top + name, 0o750)
        for number in range(count):
            with tree.open(top + name + b"/%d" % number, os.O_RDWR | os.O_CREAT, 0o600) as file:
                file.pwrite(name, 0)
    tree.sync()
    tree.link(top + b"/linked/0", top + b"/linked/again")
    tree.sync()


def shapes(mount: FakeMount, direction: Direction) -> tuple[Subject, Migration, list[Shard]]:
    """A source of these, and what shards of four entries at most are handed out of it."""
    one = Subject(mount, file_system(mount), make_source(mount, direction, PATH, build_shapes))
    shards: list[Shard] = []

    class Told(InThisProcess):
        def submit(self, shard: Shard, /) -> Future[Copied]:
            shards.append(shard)
            return super().submit(shard)

    def hands(_: Turn) -> nullcontext[Told]:
        return nullcontext(Told(migration.sides(migration.required_record()), lambda: None, UNLIMITED))

    migration = Migration(mount, one.files, PATH, hands=hands)
    migration.start(one.way, "")
    return one, migration, shards


@pytest.mark.parametrize("direction", Direction)
def test_a_directory_is_made_by_the_hand_that_has_all_of_it(
    direction: Direction, mount: FakeMount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mgr_fscrypt.migrate.copying.BATCH", 4)
    one, migration, shards = shapes(mount, direction)
    before, copied = picture(one.source, PATH), Copied()
    migration.converge(copied, passes=1)
    assert copied.problems == []
    made = dict[bytes, Shard]()
    for shard in shards:
        assert len(shard.entries) <= 4
        made |= {each.below: shard for each in shard.entries if each.kind is Kind.DIRECTORY}
    assert set(made) == {b"/both/below", b"/fits", b"/one"}
    for directory, shard in made.items():
        names = [each.below for each in shard.entries]
        within = [directory + b"/%d" % number for number in range(SHAPES[directory])]
        assert sorted(names[names.index(directory) + 1 :][: len(within)]) == within
    assert migration.cut_over(Copied(), one.verify, evict=False).verdict.equal
    assert picture(one.new, PATH) == before


@pytest.mark.parametrize("refused", [b"/fits", b"/more", b"/both", b"/linked", b"/empty"])
def test_a_directory_that_cannot_be_made_keeps_no_other_from_being_copied(
    refused: bytes, mount: FakeMount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mgr_fscrypt.migrate.copying.BATCH", 4)
    one, migration, _ = shapes(mount, Direction.DECRYPT)
    before, make, copied = picture(one.source, PATH), mount.mkdir, Copied()

    def mkdir(path: bytes, mode: int) -> None:
        if path.endswith(refused):
            raise error_of(errno.EACCES, "mkdir", path)
        make(path, mode)

    with monkeypatch.context() as patched:
        patched.setattr(mount, "mkdir", mkdir)
        migration.converge(copied, passes=1)
    assert copied.problems[0] == (PATH + refused, "Permission denied (mkdir)")
    sides = migration.sides(migration.required_record())
    there = {met.below for met in walk(sides.new, sides.new_top)}
    assert there == {below for below in before if not (below + b"/").startswith(refused + b"/")}
    assert migration.cut_over(Copied(), one.verify, evict=False).verdict.equal
    assert picture(one.new, PATH) == before


def test_a_shard_is_listed_before_its_entries_are_looked_at(
    mount: FakeMount, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_source(mount, Direction.ENCRYPT, PATH, partial(build_more, more=MORE))
    monkeypatch.setattr("mgr_fscrypt.migrate.ahead._AHEAD", 2)
    tree, listed, ended = PlainTree(mount), list[bytes](), list[bytes]()

    def scandir(path: bytes) -> Generator[DirEntry]:
        try:
            for entry in PlainTree(mount).scandir(path):
                listed.append(path)
                yield entry
        finally:
            ended.append(path)

    monkeypatch.setattr(tree, "scandir", scandir)
    ahead = Ahead()
    many = [b"/d/e/%d" % number for number in range(MORE)]
    for entries in ([b"/d/block", *many], many, [b"/d/gone/%d" % number for number in range(MORE)], many):
        ahead.look(tree, PATH, entries)
    # not the one of which one entry is wanted, not all of it, and not twice after each other
    assert listed == [PATH + b"/d/e"] * 4
    assert ended == [PATH + b"/d/e", PATH + b"/d/gone", PATH + b"/d/e"]


def test_hands_know_when_it_is_not_their_turn_any_more(mount: FakeMount) -> None:
    one = Subject(mount, file_system(mount), make_source(mount, Direction.ENCRYPT, PATH))
    one.migration.start(one.way, "")
    ino = mount.stat(hidden_of(PATH)).ino
    helper = Migration(FakeMount(mount.cluster), one.files, PATH)
    with mount.lease(ino) as lease:
        lease.acquire(0)
        turn = Turn(PATH, ino, lease.token)
        helper.require_turn_of(turn)
        mount.cluster.leases.clear()
        with pytest.raises(LeaseLostError):
            helper.require_turn_of(turn)
        with mount.lease(ino) as other:
            other.acquire(0)
            with pytest.raises(LeaseLostError):
                helper.require_turn_of(turn)
    with mount.lease(ino) as lease:
        lease.acquire(0)
        turn = Turn(PATH, ino, lease.token)
        mount.rename(hidden_of(PATH), b"/above/moved")
        mount.mkdir(hidden_of(PATH), 0o700)
        with pytest.raises(LeaseLostError):
            helper.require_turn_of(turn)


def test_a_helper_that_slept_past_the_turn_changes_nothing_more(one: Subject, mount: FakeMount) -> None:
    asked: list[int] = []

    def lose(turn: Turn) -> Callable[[], None]:
        def go_on() -> None:
            asked.append(1)
            if len(asked) == 3:
                mount.cluster.leases.clear()
            one.migration.require_turn_of(turn)

        return go_on

    @contextmanager
    def hands(turn: Turn) -> Iterator[Others]:
        class Asleep(Others):
            def submit(self, shard: Shard, /) -> Future[Copied]:
                sides = one.migration.sides(one.migration.required_record())
                return self._pool.submit(carry_out, sides, lose(turn), shard)

        found = Asleep(mount.cluster, turn, 0, [0])
        try:
            yield found
        finally:
            found.end()

    one.migration.start(one.way, one.plan().hash)
    with pytest.raises(LeaseLostError):
        Migration(mount, one.files, PATH, hands=hands).converge(Copied())
    sides = one.migration.sides(one.migration.required_record())
    assert existing(sides.new, sides.new_top + SYMLINK) is None
    assert isinstance(sides.source, PlainTree) or sides.source is one.files


@pytest.mark.parametrize(
    "error",
    [
        LockedError(b"/path", bytes(16)),
        NotFencedError(b"/path", []),
        BusyError(5, "what happened", remedy="what to do"),
        QuotaError(122, "full", b"/path"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_errors_come_over_from_other_processes(error: OSError) -> None:
    found = copy.copy(error)
    assert (type(found), str(found), found.filename) == (type(error), str(error), error.filename)
    assert vars(found) == vars(error)
