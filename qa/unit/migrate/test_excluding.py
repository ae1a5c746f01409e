"""What a migration leaves out by name: it is nowhere in the new tree, stays in the trash, and is not lost unsaid."""

import copy
import errno
import os
from collections.abc import Callable, Generator
from dataclasses import replace

import pytest

from mgr_fscrypt.ceph.errors import CephError, NotFoundError, error_of
from mgr_fscrypt.ceph.interface import Entry
from mgr_fscrypt.engine import BusyError, RefusedError
from mgr_fscrypt.engine.paths import joined
from mgr_fscrypt.migrate import Copied, Direction, Obstacle, State, Verdict, compare
from mgr_fscrypt.migrate.excluding import MOST_EXCLUDED, left_in
from mgr_fscrypt.migrate.files import Copier
from mgr_fscrypt.migrate.problems import Problem
from mgr_fscrypt.migrate.record import hidden_of
from mgr_fscrypt.migrate.trees import Tree, existing
from qa.fakes.ceph import DiedError, FakeCluster, FakeMount
from qa.fakes.migration_cases import FILES, LINKS, Subject, file_system, make_source, picture

PATH = b"/above/tree"
OLD = joined(hidden_of(PATH), b"old")


@pytest.fixture(params=Direction, ids=lambda each: each.value)
def one(request: pytest.FixtureRequest, mount: FakeMount) -> Subject:
    return Subject(mount, file_system(mount), make_source(mount, request.param, PATH))


def without(all_of_it: dict[bytes, tuple[object, ...]], *left_out: bytes) -> set[bytes]:
    return {name for name in all_of_it if not any((name + b"/").startswith(each + b"/") for each in left_out)}


def failing(monkeypatch: pytest.MonkeyPatch, end: bytes) -> None:
    copy_one = Copier._copy

    def fails(self: Copier, item: object) -> None:
        if getattr(item, "source", b"").endswith(end):
            raise error_of(errno.EIO, "read", end)
        copy_one(self, item)  # type: ignore[arg-type]

    monkeypatch.setattr(Copier, "_copy", fails)


def test_what_cannot_be_moved_holds_up_nothing_once_it_is_left_out(
    one: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = picture(one.source, PATH)
    failing(monkeypatch, b"/block")
    copied = one.copy()
    assert copied.classes == {Problem.UNREADABLE: 1}
    with pytest.raises(BusyError, match=r"1 could not be copied \(1 unreadable\)") as told:
        one.cut_over()
    assert "--exclude" in told.value.remedy
    record = one.migration.start(one.way, "", exclude=[b"/d/block"])
    left = one.migration.left_out(record)
    assert len(left) == 1
    assert one.cut_over().verdict.equal
    after = picture(one.new, PATH)
    assert set(after) == without(before, b"/d/block")
    assert one.source.stat(OLD + b"/d/block").size == 4096
    with pytest.raises(BusyError, match="1 were excluded, and are in the trash only") as told:
        one.migration.purge()
    assert "--lose-excluded" in told.value.remedy
    assert one.state() is State.DONE
    one.migration.purge(lose_excluded=True)
    assert one.state() is None


def test_a_directory_is_left_out_with_all_in_it_also_when_it_was_copied(one: Subject) -> None:
    before = picture(one.source, PATH)
    one.copy()
    one.migration.start(one.way, "", exclude=[b"/d/e"])
    # one of its files has other names outside of it, which would miss one
    with pytest.raises(BusyError, match="names"):
        one.cut_over()
    one.migration.start(one.way, "", exclude=[b"/d/linked"])
    assert one.cut_over().verdict.equal
    after = picture(one.new, PATH)
    assert set(after) == without(before, b"/d/e", b"/d/linked", *LINKS)
    one.migration.rollback(evict=False)
    assert picture(one.source, PATH) == before
    one.migration.start(one.way, "", include=[b"/d/e", b"/d/linked"])
    one.migration.converge(Copied())
    assert one.cut_over().verdict.equal
    assert picture(one.new, PATH) == before
    one.migration.purge()


def test_what_is_left_out_can_be_named_by_its_inode(one: Subject) -> None:
    before = picture(one.source, PATH)
    block, linked, top = (one.source.stat(PATH + each).ino for each in (b"/d/block", b"/d/linked", b""))
    plan = one.plan([block, linked, b"/d/more"])
    assert {path for each, path, _ in plan.listed if each is Obstacle.EXCLUDED} >= {
        PATH + b"/d/block",
        PATH + b"/d/more",
    }
    one.copy()
    record = one.migration.start(one.way, "", exclude=[block, linked])
    assert record.excluded == tuple(sorted((block, linked)))
    for wrong, error in ((top, RefusedError), (1 << 60, NotFoundError)):
        with pytest.raises(error, match=r"whole tree|nothing with the inode"):
            one.migration.start(one.way, "", exclude=[block, wrong])
    assert one.migration.required_record() == record
    # one that is not there any more is no reason to refuse
    assert one.migration.start(one.way, "", include=[linked, 1 << 60]).excluded == (block,)
    one.migration.converge(Copied())
    assert one.cut_over().verdict.equal
    assert set(picture(one.new, PATH)) == without(before, b"/d/block")
    # said again by a run that begins anew
    assert one.migration.start(one.way, "", exclude=[block]).excluded == (block,)


def test_what_was_copied_and_is_left_out_now_is_too_much(one: Subject) -> None:
    one.copy()
    record = one.migration.start(one.way, "", exclude=[b"/one"])
    told: list[tuple[str, bytes, str]] = []
    verdict = compare(one.migration.sides(record), Verdict(), told=lambda *each: told.append(each))
    assert [(kind, below) for kind, below, _ in verdict.listed] == [("extra", b"/one")]
    # each entry is told
    assert len(told) == verdict.same + 1
    assert ("same", b"/empty", "") in told
    one.migration.converge(Copied())
    assert existing(one.new, one.migration.sides(record).new_top + b"/one") is None


def test_what_takes_its_place_is_copied(one: Subject) -> None:
    one.migration.start(one.way, "", exclude=[b"/one"])
    one.source.unlink(PATH + b"/one")
    with one.source.open(PATH + b"/one", os.O_RDWR | os.O_CREAT, 0o600) as file:
        file.pwrite(b"another", 0)
    one.source.sync()
    before = picture(one.source, PATH)
    one.migration.converge(Copied())
    assert one.cut_over().verdict.equal
    assert picture(one.new, PATH) == before
    one.migration.purge()


def test_what_was_moved_out_of_the_trash_is_not_lost(one: Subject, mount: FakeMount) -> None:
    record = one.migration.start(one.way, "", exclude=[b"/one"])
    one.migration.converge(Copied())
    one.cut_over()
    (left,) = one.migration.left_out(one.migration.required_record())
    assert left.startswith(OLD + b"/")
    mount.rename(left, b"/above/kept")
    one.migration.purge(lose_changes=True)
    assert mount.stat(b"/above/kept").ino in record.excluded


def test_a_directory_that_cannot_be_listed_is_not_taken_for_one_with_nothing_left_out(
    mount: FakeMount, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = mount.scandir

    def scandir(path: bytes) -> Generator[Entry]:
        if path.endswith(b"/d"):
            raise error_of(errno.EIO, "opendir", path)
        yield from listed(path)

    make_source(mount, Direction.ENCRYPT, PATH)
    file, folder = (frozenset({mount.stat(PATH + below).ino}) for below in (b"/d/block", b"/d"))
    monkeypatch.setattr(mount, "scandir", scandir)
    with pytest.raises(CephError):
        left_in(mount, PATH, file, lambda: None)
    assert left_in(mount, PATH, folder, lambda: None) == [PATH + b"/d"]


@pytest.mark.parametrize(
    ("named", "error"),
    [(b"/nothing here", NotFoundError), (b"/", RefusedError), (b"/../tree/one", RefusedError)],
)
def test_what_is_no_entry_of_it_cannot_be_left_out(
    one: Subject, named: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        one.migration.start(one.way, "", exclude=[named])
    assert one.migration.required_record().excluded == ()


def test_no_more_is_left_out_than_a_record_holds(mount: FakeMount, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Subject(mount, file_system(mount), make_source(mount, Direction.ENCRYPT, PATH))
    largest = replace(one.migration.start(one.way, ""), excluded=(2**63,) * MOST_EXCLUDED, path="p" * 4096)
    assert len(largest.encode()) < 32 << 10
    monkeypatch.setattr("mgr_fscrypt.migrate.migration.MOST_EXCLUDED", 2)
    before = one.migration.start(one.way, "", exclude=[b"/one", b"/empty"])
    with pytest.raises(RefusedError, match="3 entries would be left out, and 2 are the most"):
        one.migration.start(one.way, "", exclude=[b"/d"])
    assert one.migration.required_record() == before
    assert len(one.migration.start(one.way, "", exclude=[b"/d"], include=[b"/one"]).excluded) == 2


def test_a_plan_without_it_is_clear(mount: FakeMount) -> None:
    way = make_source(mount, Direction.ENCRYPT, PATH)
    one = Subject(mount, file_system(mount), way)
    long = b"/d/" + b"n" * 129
    mount.mkdir(PATH + long, 0o755)
    assert not one.plan().clear
    plan = one.plan(exclude=[long])
    assert plan.clear
    assert plan.files == len(FILES)
    assert (Obstacle.EXCLUDED, PATH + long) in [(kind, path) for kind, path, _ in plan.listed]


def test_nothing_is_left_out_once_it_is_cut_over(one: Subject) -> None:
    one.copy()
    one.cut_over()
    with pytest.raises(RefusedError, match="it is done"):
        one.migration.start(one.way, "", exclude=[b"/one"])


def test_the_same_words_go_on_after_a_cut_over(one: Subject) -> None:
    record = one.migration.start(one.way, "", exclude=[b"/one"])
    one.migration.converge(Copied())
    one.cut_over()
    again = one.migration.start(one.way, "", exclude=[b"/one"])
    assert (again.state, again.excluded) == (State.DONE, record.excluded)


def small(tree: Tree, top: bytes) -> None:
    tree.mkdir(top + b"/d", 0o755)
    for name in (b"/one", b"/d/two"):
        with tree.open(top + name, os.O_RDWR | os.O_CREAT, 0o600) as file:
            file.pwrite(name, 0)
    tree.sync()


def choosing(one: Subject) -> None:
    record = one.migration.record()
    chosen = [] if record is not None and record.excluded else [b"/one"]
    one.migration.start(one.way, "", exclude=chosen)
    if one.state() is State.COPYING:
        one.migration.converge(Copied())
        one.cut_over()


def purging(one: Subject) -> None:
    if one.state() is not None:
        one.migration.purge(lose_excluded=True)


@pytest.mark.parametrize(("act", "first"), [(choosing, None), (purging, choosing)])
def test_a_process_that_dies_at_any_change_loses_nothing_of_it(
    act: Callable[[Subject], None], first: Callable[[Subject], None] | None
) -> None:
    base = FakeCluster()
    mount = FakeMount(base)
    way = make_source(mount, Direction.ENCRYPT, PATH, small)
    one = Subject(mount, file_system(mount), way)
    whole = picture(one.source, PATH)
    if first is not None:
        first(one)
    one.files.close()
    for changes in range(2000):
        cluster = copy.deepcopy(base)
        dying = FakeMount(cluster)
        subject = Subject(dying, file_system(dying), way)
        dying.die_after(changes)
        try:
            act(subject)
        except DiedError:
            cluster.leases.clear()
        else:
            break
        heir = Subject(FakeMount(cluster), file_system(FakeMount(cluster)), way)
        act(heir)
        if act is choosing:
            assert picture(heir.source, OLD)[b"/one"] == whole[b"/one"], f"before change {changes}"
        else:
            assert heir.state() is None
        assert set(picture(heir.new, PATH)) == without(whole, b"/one")
        heir.files.close()
    print(f"sampled: {act.__name__}: died at {changes} points")
    assert changes > 12
