"""Who may act: leases that ran out while a process slept, and clients that can reach the tree."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import pytest

from mgr_fscrypt.ceph.errors import LeaseLostError
from mgr_fscrypt.ceph.interface import Session
from mgr_fscrypt.engine import BusyError, DamagedError, NotFencedError, RefusedError
from mgr_fscrypt.engine.paths import joined
from mgr_fscrypt.migrate import Copied, Direction, Migration, Obstacle, Record, State, Step, Verdict
from mgr_fscrypt.migrate.files import Copier
from mgr_fscrypt.migrate.record import RECORD, Journal, hidden_of
from qa.fakes.ceph import FakeCluster, FakeMount
from qa.fakes.migration_cases import FILES, Subject, file_system, make_source, picture

PATH = b"/above/tree"


@pytest.fixture
def one(mount: FakeMount) -> Subject:
    way = make_source(mount, Direction.ENCRYPT, PATH)
    return Subject(mount, file_system(mount), way)


def another(cluster: FakeCluster, one: Subject) -> Subject:
    mount = FakeMount(cluster)
    return Subject(mount, file_system(mount), one.way)


@dataclass
class Sleeper:
    """Sleeps at a step until its lease has run out, and somebody else did something."""

    cluster: FakeCluster
    step: Step
    meanwhile: Callable[[], object]

    def __call__(self, step: Step) -> None:
        if step is self.step:
            self.cluster.leases.clear()
            self.meanwhile()


@pytest.mark.parametrize("step", [Step.COPYING, Step.FINISHING, Step.VERIFYING, Step.CUTTING])
def test_whoever_slept_past_its_lease_stops(one: Subject, mount: FakeMount, step: Step) -> None:
    before, source = picture(one.source, PATH), mount.stat(PATH).ino
    other = another(mount.cluster, one)
    one.migration.start(one.way, "")
    if step is not Step.COPYING:
        one.migration.converge(Copied())
    slept = Migration(mount, one.files, PATH, Sleeper(mount.cluster, step, other.migration.cancel))
    act = slept.converge if step is Step.COPYING else partial(slept.cut_over, verify=one.verify, evict=False)
    with pytest.raises(LeaseLostError):
        act(Copied())
    assert mount.stat(PATH).ino == source
    assert picture(one.source, PATH) == before


@pytest.mark.parametrize("renames", [0, 1])
def test_whoever_slept_before_a_rename_does_not_make_it(
    one: Subject, mount: FakeMount, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    one.copy()
    before, source = picture(one.source, PATH), mount.stat(PATH).ino
    rename, enter, made = mount.rename, Journal.enter, list[bytes]()

    def renamed(old: bytes, new: bytes) -> None:
        rename(old, new)
        made.append(old)
        if len(made) == renames:
            mount.cluster.leases.clear()

    def entered(journal: Journal, record: Record, state: State) -> Record:
        record = enter(journal, record, state)
        if state is State.CUTTING and not renames:
            mount.cluster.leases.clear()
        return record

    monkeypatch.setattr(mount, "rename", renamed)
    monkeypatch.setattr(Journal, "enter", entered)
    with pytest.raises(LeaseLostError):
        one.cut_over()
    assert len(made) == renames
    monkeypatch.undo()
    other = another(mount.cluster, one)
    other.migration.start(one.way, "")
    assert (mount.stat(PATH).ino == source) is (renames == 0)
    if renames:
        other.migration.rollback(evict=False)
    assert picture(one.source, PATH) == before


def test_whoever_sleeps_while_it_copies_copies_no_other_entry(one: Subject, mount: FakeMount) -> None:
    one.migration.start(one.way, "")
    seen: list[int] = []

    def watched() -> None:
        seen.append(1)
        if len(seen) == 3:
            mount.cluster.leases.clear()

    with pytest.raises(LeaseLostError):
        Migration(mount, one.files, PATH, watched=watched).converge(Copied())
    assert len(seen) == 3


@pytest.mark.parametrize("gone", ["directory", "replaced", "entries"])
def test_whoever_sleeps_while_it_removes_removes_nothing_more(
    one: Subject, mount: FakeMount, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    mount.mkdir(PATH + b"/many", 0o755)
    for number in range(9):
        mount.symlink(b"target", PATH + b"/many/%d" % number)
    one.copy()
    for number in range(9):
        mount.unlink(PATH + b"/many/%d" % number)
    if gone != "entries":
        mount.rmdir(PATH + b"/many")
    if gone == "replaced":
        mount.symlink(b"target", PATH + b"/many")
    unlink, removed = mount.unlink, list[bytes]()

    def asleep(path: bytes) -> None:
        unlink(path)
        removed.append(path)
        mount.cluster.leases.clear()

    monkeypatch.setattr(mount, "unlink", asleep)
    with pytest.raises(LeaseLostError):
        one.migration.converge(Copied())
    assert len(removed) == 1


def test_one_rename_too_many_of_a_sleeper_is_undone(one: Subject, mount: FakeMount) -> None:
    source = mount.stat(PATH).ino
    one.copy()
    # it asked for its lease in time, slept before the rename, and woke after another process had taken over
    mount.rename(PATH, joined(hidden_of(PATH), b"old"))
    other = another(mount.cluster, one)
    other.migration.start(one.way, "")
    assert mount.stat(PATH).ino == source
    other.migration.cancel()
    assert mount.stat(PATH).ino == source


def test_two_at_once_are_refused(one: Subject, mount: FakeMount, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mgr_fscrypt.migrate.turns._LEASE_TIMEOUT", 0)
    other = another(mount.cluster, one)
    refused: list[BaseException] = []

    def try_it(_: Step) -> None:
        with pytest.raises(BusyError, match="another process") as told:
            other.migration.start(one.way, "")
        refused.append(told.value)

    one.migration.start(one.way, "")
    Migration(mount, one.files, PATH, try_it).converge(Copied())
    assert len(refused) == 1


def session(root: bytes, *, manager: bool = False) -> Session:
    return Session(7, "client.other", "1.2.3.4:0/1", root, {"hostname": "there"}, 1, manager=manager)


@pytest.mark.parametrize(
    "root",
    [b"/", b"/above", PATH, PATH + b"/d", b"//above/./tree/", b"above", b"/moved away since it mounted"],
)
def test_clients_that_can_reach_the_tree_block_the_cut_over(
    one: Subject, mount: FakeMount, root: bytes
) -> None:
    source = mount.stat(PATH).ino
    mount.mkdir(b"/elsewhere", 0o755)
    one.copy()
    mount.cluster.sessions = [session(root), session(b"/elsewhere"), session(b"/", manager=True)]
    with pytest.raises(NotFencedError, match=r"1 other client.*on there"):
        one.cut_over()
    assert (mount.stat(PATH).ino, one.state()) == (source, State.COPYING)
    late = one.migration.cut_over(Copied(), one.verify, evict=True)
    assert [each.root for each in late.evicted] == [root]
    mount.cluster.sessions = [session(root)]
    with pytest.raises(NotFencedError):
        one.migration.rollback(evict=False)
    one.migration.rollback(evict=True)
    assert mount.stat(PATH).ino == source


@pytest.mark.parametrize("later", [0, 1])
def test_what_a_client_that_was_cut_off_wrote_is_copied_though_nobody_counted_it(
    one: Subject, mount: FakeMount, later: int
) -> None:
    one.copy()
    mount.cluster.sessions = [session(PATH)]
    written = mount._find(PATH + b"/d/more")

    def wrote(step: Step) -> None:
        # the OSDs have it, the MDS was not told: it finds the time, in whole seconds maybe the same
        if step is Step.FENCING:
            written.data[:5] = b"wrote"
            written.mtime += later

    verified: list[Verdict] = []

    def verify(record: Record) -> Verdict:
        verified.append(one.verify(record))
        return verified[-1]

    migration = Migration(mount, one.files, PATH, wrote)
    late = migration.cut_over(Copied(), verify, evict=True)
    assert late.verdict.equal
    assert len(verified) == 2 - later
    with one.files.open(PATH + b"/d/more") as file:
        assert file.pread(5, 0) == b"wrote"


def test_clients_that_come_while_it_is_verified_block_it_too(one: Subject, mount: FakeMount) -> None:
    one.copy()

    def verified(record: Record) -> Verdict:
        mount.cluster.sessions = [session(PATH)]
        return one.verify(record)

    with pytest.raises(NotFencedError):
        one.migration.cut_over(Copied(), verified, evict=True)
    assert one.state() is State.COPYING


def test_what_cannot_be_copied_blocks_the_cut_over_and_is_named(
    one: Subject, mount: FakeMount, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_one = Copier._copy

    def failing(self: Copier, item: object) -> None:
        if getattr(item, "source", b"").endswith(b"/block"):
            raise BusyError(5, "the disk says no", b"", remedy="")
        copy_one(self, item)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Copier, "_copy", failing)
        copied = one.copy()
        assert copied.problems == [(PATH + b"/d/block", "the disk says no")]
        assert copied.files == len(FILES) - 1
        with pytest.raises(BusyError, match="could not be copied"):
            one.cut_over()
    assert one.cut_over().verdict.equal


def test_a_stranger_at_the_path_is_not_touched(one: Subject, mount: FakeMount) -> None:
    one.copy()
    mount.rename(PATH, b"/above/aside")
    mount.mkdir(PATH, 0o755)
    with pytest.raises(DamagedError, match="somebody else"):
        one.migration.start(one.way, "")
    mount.rmdir(PATH)
    mount.rename(b"/above/aside", PATH)
    one.migration.start(one.way, "")


def test_a_copy_of_a_file_system_does_not_go_on(one: Subject, mount: FakeMount) -> None:
    one.copy()
    mount.cluster.identity = "another one"
    with pytest.raises(RefusedError, match="another cluster"):
        one.migration.start(one.way, "")


@pytest.mark.parametrize("content", [b"{}", b"no", b'{"version": 2}', b'{"version": 1, "state": "x"}'])
def test_a_record_that_is_none_is_refused(one: Subject, mount: FakeMount, content: bytes) -> None:
    one.copy()
    mount.setxattr(hidden_of(PATH), RECORD, content)
    with pytest.raises(DamagedError, match="no record"):
        one.migration.start(one.way, "")


def test_a_hidden_directory_of_somebody_else_is_left_alone(one: Subject, mount: FakeMount) -> None:
    mount.mkdir(hidden_of(PATH), 0o755)
    mount.mkdir(joined(hidden_of(PATH), b"theirs"), 0o755)
    with pytest.raises(RefusedError, match="of no migration"):
        one.migration.start(one.way, "")


def test_a_plan_says_who_can_reach_the_tree_and_who_is_a_danger(one: Subject, mount: FakeMount) -> None:
    stray = replace(session(b"/"), metadata={"hostname": "there", "kernel_version": "6.1"}, capabilities=7)
    mount.cluster.sessions = [stray, replace(stray, number=8, metadata={"fscrypt_engine": "1"})]
    found = [(obstacle, how) for obstacle, _, how in one.plan().listed]
    assert (Obstacle.SESSION, f"{stray}, 7 capabilities, 6.1") in found
    assert [how for obstacle, how in found if obstacle is Obstacle.UNSAFE] == [str(stray)]


def test_a_tree_in_a_case_insensitive_directory_cannot_be_encrypted(one: Subject, mount: FakeMount) -> None:
    mount.setxattr(b"/above", "ceph.dir.casesensitive", b"0")
    plan = one.plan()
    assert not plan.clear
    assert (Obstacle.CASE, b"/above") in [(obstacle, path) for obstacle, path, _ in plan.listed]
