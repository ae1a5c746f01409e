"""What a migration trusts before it changes or removes something: whose turn it is, whose directory, and what lies
where."""

import os
import stat
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from mgr_fscrypt.ceph.errors import LeaseLostError
from mgr_fscrypt.ceph.interface import Session
from mgr_fscrypt.engine import BusyError, DamagedError, NotFencedError, RefusedError
from mgr_fscrypt.engine.paths import joined
from mgr_fscrypt.migrate import Copied, Direction, Migration, Record, State, Step, Verdict
from mgr_fscrypt.migrate.record import Journal, hidden_of
from mgr_fscrypt.migrate.trees import PlainTree, fingerprint, remove_all
from qa.fakes.ceph import FakeLease, FakeMount
from qa.fakes.migration_cases import Subject, file_system, make_source, picture

PATH = b"/above/tree"
HIDDEN = hidden_of(PATH)
OLD = joined(HIDDEN, b"old")


@pytest.fixture
def one(mount: FakeMount) -> Subject:
    way = make_source(mount, Direction.ENCRYPT, PATH)
    return Subject(mount, file_system(mount), way)


def another(one: Subject, mount: FakeMount) -> Subject:
    other = FakeMount(mount.cluster)
    return Subject(other, file_system(other), one.way)


def test_whoever_lost_its_turn_clears_nothing(one: Subject, mount: FakeMount) -> None:
    one.copy()
    other = another(one, mount)

    def back(step: Step) -> None:
        if step is Step.CLEARING:
            mount.cluster.leases.clear()
            other.migration.rollback(evict=False)

    with pytest.raises(LeaseLostError):
        Migration(mount, one.files, PATH, back).cut_over(Copied(), one.verify, evict=False)
    anchors = joined(HIDDEN, b"work/anchors")
    assert other.state() is State.COPYING
    ino = (
        mount.stat(anchors).ino if any(e.name == b"anchors" for e in mount.scandir(HIDDEN + b"/work")) else 0
    )
    assert ino in (0, one.migration.required_record().anchors)
    again = another(one, mount)
    again.migration.start(again.way, "")
    again.migration.converge(Copied())
    assert again.cut_over().verdict.equal


@pytest.mark.parametrize("act", ["purge", "cancel"])
def test_a_removal_looks_at_its_turn_before_each_entry(
    one: Subject, mount: FakeMount, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    one.copy()
    if act == "purge":
        one.cut_over()
    unlink, removed = mount.unlink, []

    def slow(path: bytes) -> None:
        unlink(path)
        removed.append(path)
        mount.cluster.leases.clear()

    monkeypatch.setattr(mount, "unlink", slow)
    with pytest.raises(LeaseLostError):
        getattr(one.migration, act)()
    assert len(removed) == 1


def test_anchors_that_are_not_the_recorded_ones_are_left(one: Subject, mount: FakeMount) -> None:
    one.copy()
    one.cut_over()
    work = joined(HIDDEN, b"work")
    mount.rename(PATH, joined(work, b"anchors"))
    with pytest.raises(DamagedError, match="somebody else"):
        one.migration.rollback(evict=False)
    mount.rename(joined(work, b"anchors"), PATH)
    one.migration.rollback(evict=False)


def session() -> Session:
    return Session(7, "client.other", "1.2.3.4:0/1", PATH, {"hostname": "there"}, 1, manager=False)


def test_a_rollback_looks_again_for_strangers_and_changes(one: Subject, mount: FakeMount) -> None:
    one.copy()
    one.cut_over()
    new = mount.stat(PATH).ino

    def came(record: Record) -> Verdict:
        mount.cluster.sessions = [session()]
        return one.verify(record)

    with pytest.raises(NotFencedError):
        one.migration.rollback(evict=False, verify=came)
    mount.cluster.sessions = []

    def wrote(record: Record) -> Verdict:
        verdict = one.verify(record)
        with one.files.create(PATH + b"/acknowledged") as file:
            file.pwrite(b"kept", 0)
        return verdict

    with pytest.raises(BusyError, match="changed it while"):
        one.migration.rollback(evict=False, verify=wrote)
    assert (mount.stat(PATH).ino, one.state()) == (new, State.DONE)


def test_a_purge_wants_the_new_tree_at_the_path(one: Subject, mount: FakeMount) -> None:
    one.copy()
    one.cut_over()
    mount.rename(PATH, b"/above/elsewhere")
    for in_its_way in (False, True):
        if in_its_way:
            mount.mkdir(PATH, 0o755)
        with pytest.raises(DamagedError, match="somebody else"):
            one.migration.purge()
    assert one.state() is State.DONE
    mount.rmdir(PATH)
    mount.rename(b"/above/elsewhere", PATH)
    one.migration.purge()


def test_a_cancel_wants_the_source_at_the_path_until_the_end(one: Subject, mount: FakeMount) -> None:
    one.copy()
    setxattr = mount.setxattr

    def moved(path: bytes, name: str, value: bytes, flags: int = 0) -> None:
        setxattr(path, name, value, flags)
        mount.rename(PATH, b"/above/aside")

    mount.setxattr = moved  # type: ignore[method-assign]
    with pytest.raises(DamagedError, match="somebody else"):
        one.migration.cancel()
    mount.setxattr = setxattr  # type: ignore[method-assign]
    assert mount.stat(joined(HIDDEN, b"work/tree")).ino == one.migration.required_record().new
    mount.rename(b"/above/aside", PATH)
    one.migration.cancel()
    assert one.state() is None


def test_the_tree_that_is_kept_is_never_removed_wherever_it_lies(one: Subject, mount: FakeMount) -> None:
    before, kept = picture(one.source, PATH), mount.stat(PATH).ino
    mount.mkdir(b"/above/gone", 0o700)
    mount.rename(PATH, b"/above/gone/tree")
    for top in (b"/above/gone", b"/above/gone/tree"):
        with pytest.raises(DamagedError, match="must not go"):
            remove_all(PlainTree(mount), top, kept=kept)
    assert picture(one.source, b"/above/gone/tree") == before


def test_a_record_without_a_new_tree_proves_nothing(one: Subject, mount: FakeMount) -> None:
    one.copy()
    record = one.migration.required_record()
    mount.rename(PATH, OLD)
    mount.rename(joined(HIDDEN, b"work/tree"), b"/above/aside")
    Journal(mount, HIDDEN, lambda: None).write(replace(record, new=0, state=State.CUTTING))
    with pytest.raises(DamagedError, match="somebody else"):
        one.migration.purge()
    assert mount.stat(OLD).ino == record.source


def test_a_lease_of_a_directory_that_was_replaced_is_none(
    one: Subject, mount: FakeMount, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.copy()
    other = another(one, mount)
    lease = other.mount.lease

    def late(ino: int) -> FakeLease:
        """While it waits, the holder ends the migration, and a third begins one anew."""
        one.migration.cancel()
        one.migration.start(one.way, "")
        return lease(ino)  # type: ignore[return-value]

    monkeypatch.setattr(other.mount, "lease", late)
    with pytest.raises(BusyError, match="replaced"):
        other.migration.start(other.way, "")


def test_a_hidden_directory_that_is_moved_away_meanwhile_stops_it(one: Subject, mount: FakeMount) -> None:
    one.copy()
    one.cut_over()
    unlink = mount.unlink

    def swapped(path: bytes) -> None:
        unlink(path)
        mount.rename(HIDDEN, b"/above/aside")
        mount.mkdir(HIDDEN, 0o700)
        mount.unlink = unlink  # type: ignore[method-assign]

    mount.unlink = swapped  # type: ignore[method-assign]
    with pytest.raises(BusyError, match="replaced"):
        one.migration.purge()


def hidden_of_another_user(mount: FakeMount) -> None:
    mount.mkdir(HIDDEN, 0o700)
    mount.chown(HIDDEN, os.geteuid() + 1000, -1)


def hidden_as_a_link(mount: FakeMount) -> None:
    mount.mkdir(b"/victim", 0o700)
    mount.symlink(b"/victim", HIDDEN)


def above_for_everybody(mount: FakeMount) -> None:
    mount.chmod(b"/above", 0o777)


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (hidden_of_another_user, "no directory of user"),
        (hidden_as_a_link, "no directory of user"),
        (above_for_everybody, "everybody may rename"),
    ],
)
def test_what_others_made_or_may_replace_is_not_trusted(
    one: Subject, mount: FakeMount, prepare: Callable[[FakeMount], None], words: str
) -> None:
    prepare(mount)
    with pytest.raises(RefusedError, match=words):
        one.migration.start(one.way, "")


def test_a_sticky_directory_is_good_enough(one: Subject, mount: FakeMount) -> None:
    mount.chmod(b"/above", stat.S_ISVTX | 0o777)
    one.migration.start(one.way, "")


def test_a_record_of_another_path_is_refused(one: Subject, mount: FakeMount) -> None:
    one.copy()
    mount.rename(b"/above", b"/moved")
    moved = Migration(mount, one.files, b"/moved/tree")
    for act in (moved.cancel, partial(moved.start, replace(one.way, path=b"/moved/tree"), "")):
        with pytest.raises(RefusedError, match="its record is of /above/tree"):
            act()


def test_what_was_written_late_is_not_purged_without_a_word(one: Subject, mount: FakeMount) -> None:
    """Whoever finished the cut-over."""
    one.copy()
    fd = mount.open(PATH + b"/one", os.O_RDWR)

    def dies(step: Step) -> None:
        if step is Step.CUTTING:
            mount.pwrite(fd, b"too late", 0)
            mount.fsync(fd)
        if step is Step.CLEARING:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Migration(mount, one.files, PATH, dies).cut_over(Copied(), one.verify, evict=False)
    mount.close(fd)
    record = one.migration.start(one.way, "")
    assert record.state is State.DONE
    assert one.migration.late_writes(record) == [b"/one"]
    with pytest.raises(BusyError, match="written after it was compared"):
        one.migration.purge()
    assert one.state() is State.DONE
    one.migration.purge(lose_changes=True)
    assert one.state() is None


def test_a_purge_sees_a_snapshot_before_it_removes_anything(one: Subject, mount: FakeMount) -> None:
    mount.mkdir(b"/above/.snap/daily", 0o755)
    mount.mkdir(PATH + b"/d/e/.snap/before", 0o755)
    one.copy()
    one.cut_over()
    before = picture(one.source, OLD)
    with pytest.raises(RefusedError, match=r"Remove the snapshots \(in .*/old/d/e/\.snap\)|has snapshots"):
        one.migration.purge()
    assert picture(one.source, OLD) == before
    assert one.state() is State.DONE
    mount.rmdir(OLD + b"/d/e/.snap/before")
    assert one.migration.purge() == [b"/above/.snap/daily"]


def test_a_fingerprint_is_of_names_numbers_and_changes(mount: FakeMount) -> None:
    make_source(mount, Direction.ENCRYPT, PATH)

    def now() -> str:
        return fingerprint(mount, PATH, lambda: None)

    seen = [now()]
    assert now() == seen[0]
    changes: list[Callable[[], None]] = [
        lambda: mount.chmod(PATH + b"/one", 0o600),
        lambda: mount.rename(PATH + b"/one", PATH + b"/two"),
        lambda: mount.unlink(PATH + b"/two"),
        lambda: mount.mkdir(PATH + b"/new", 0o700),
    ]
    for change in changes:
        change()
        assert now() not in seen
        seen.append(now())
