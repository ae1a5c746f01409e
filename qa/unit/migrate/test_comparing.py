"""Comparing by several at once: it comes to the same as by one, in the same order, and one that dies ends it."""

import errno
import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from threading import local
from time import sleep
from typing import Any

import pytest

from mgr_fscrypt.ceph.errors import SessionLostError, error_of
from mgr_fscrypt.engine import BusyError
from mgr_fscrypt.migrate import Copied, Direction, Migration, Record, Verdict
from mgr_fscrypt.migrate.comparing import compare
from mgr_fscrypt.migrate.judging import Findings, Questions
from mgr_fscrypt.migrate.record import hidden_of
from mgr_fscrypt.migrate.trees import PlainTree
from qa.fakes.ceph import FakeCluster, FakeMount
from qa.fakes.migration_cases import FILES, LINKS, Subject, build_more, file_system, make_source, picture

PATH = b"/above/tree"
MANIFEST = hidden_of(PATH) + b"/manifest"
MORE = 20


@pytest.fixture(params=Direction, ids=lambda each: each.value)
def one(request: pytest.FixtureRequest, mount: FakeMount, monkeypatch: pytest.MonkeyPatch) -> Subject:
    """Copied; its shards have three entries at most."""
    monkeypatch.setattr("mgr_fscrypt.migrate.comparing.BATCH", 3)
    monkeypatch.setattr("mgr_fscrypt.migrate.ahead._MANY", 2)
    found = Subject(
        mount, file_system(mount), make_source(mount, request.param, PATH, partial(build_more, more=MORE))
    )
    found.copy()
    return found


class Others:
    """Judges with mounts of their own, who are through in any order.

    Attributes:
        most: shards that were under way at once.
    """

    width = 4

    def __init__(self, cluster: FakeCluster, record: Record, hinder: Callable[[Questions], None]) -> None:
        self._cluster = cluster
        self._record = record
        self._hinder = hinder
        self._chance = random.Random(7)
        self._under_way: list[Future[Findings]] = []
        self._opened = ExitStack()
        self._judges = local()
        self._pool = ThreadPoolExecutor(3, initializer=self._begin)
        self.asked: list[Questions] = []
        self.most = 0

    def submit(self, questions: Questions, /) -> Future[Findings]:
        self.asked.append(questions)
        self._under_way = [each for each in self._under_way if not each.done()]
        self._under_way.append(self._pool.submit(self._judged, questions, self._chance.uniform(0, 0.003)))
        self.most = max(self.most, len(self._under_way))
        return self._under_way[-1]

    def _judged(self, questions: Questions, pause: float) -> Findings:
        sleep(pause)
        self._hinder(questions)
        return self._judges.judge.judged(questions)

    def _begin(self) -> None:
        mount = FakeMount(self._cluster)
        files = self._opened.enter_context(closing(file_system(mount)))
        self._judges.judge = Migration(mount, files, PATH).judge(self._record, lambda: None)

    def end(self) -> None:
        self._pool.shutdown()
        self._opened.close()


@contextmanager
def others(one: Subject, hinder: Callable[[Questions], None] = lambda _: None) -> Iterator[Others]:
    found = Others(one.mount.cluster, one.migration.required_record(), hinder)  # type: ignore[attr-defined] # a fake
    try:
        yield found
    finally:
        found.end()


def alone(one: Subject) -> tuple[Verdict, list[tuple[str, bytes, str]]]:
    told: list[tuple[str, bytes, str]] = []
    return one.migration.compare(Verdict(), told=lambda *each: told.append(each), manifest=True), told


def by_others(
    one: Subject, hinder: Callable[[Questions], None] = lambda _: None
) -> tuple[Verdict, list[tuple[str, bytes, str]]]:
    told: list[tuple[str, bytes, str]] = []
    with others(one, hinder) as judges:
        verdict = one.migration.compare(
            Verdict(), told=lambda *each: told.append(each), manifest=True, judges=judges
        )
        assert 1 < judges.most <= judges.width + 1
        assert len(judges.asked) > 2 * (MORE + len(FILES)) // 3
    return verdict, told


def manifest(one: Subject) -> bytes:
    with PlainTree(one.mount).open(MANIFEST) as file:
        return file.pread(file.size, 0)


def test_it_comes_to_the_same_in_the_same_order(one: Subject) -> None:
    before, wanted, lines = *alone(one), manifest(one)
    found, told = by_others(one)
    assert (found, told, manifest(one)) == (before, wanted, lines)
    assert found.equal
    assert (found.same, found.manifest != "") == (len(picture(one.source, PATH)), True)


def test_what_differs_is_told_wherever_it_lies(one: Subject) -> None:
    top = one.migration.sides(one.migration.required_record()).new_top
    one.new.chmod(top + b"/d/e/7", 0o640)
    one.new.unlink(top + b"/d/e/9")
    # a name less of three: both that are left differ, in whatever shards
    one.new.unlink(top + LINKS[0])
    with one.new.open(top + b"/d/extra", os.O_RDWR | os.O_CREAT, 0o600) as file:
        file.pwrite(b"new", 0)
    with one.new.open(top + b"/d/e/holed", os.O_RDWR, 0o600) as file:
        file.pwrite(b"B", 0)
    one.new.sync()
    before, wanted = alone(one)
    found, told = by_others(one)
    assert (found, told) == (before, wanted)
    assert found.manifest == ""
    kinds = {below: kind for kind, below, _ in told if kind != "same"}
    assert kinds[b"/d/e/7"] == kinds[b"/d/e/holed"] == kinds[b"/d/linked"] == kinds[LINKS[1]] == "differ"
    assert kinds[b"/d/e/9"] == kinds[LINKS[0]] == "missing"
    assert kinds[b"/d/extra"] == "extra"


def test_a_cut_over_by_others(one: Subject) -> None:
    before = picture(one.source, PATH)

    def verify(_: Record) -> Verdict:
        return by_others(one)[0]

    late = one.migration.cut_over(Copied(), verify, evict=False)
    assert late.verdict.equal
    assert picture(one.new, PATH) == before
    assert one.migration.compare_without_key(Verdict()).equal


def test_one_that_dies_ends_it(one: Subject) -> None:
    def dies(questions: Questions) -> None:
        if any(each.below == b"/d/e/5" for each in questions.entries):
            raise BrokenExecutor("killed")

    with pytest.raises(BusyError, match="a process that compares died") as caught:
        by_others(one, dies)
    assert caught.value.errno == errno.EIO
    assert alone(one)[0].equal


def test_what_concerns_all_ends_it(one: Subject) -> None:
    def lost(questions: Questions) -> None:
        if questions.of_copy:
            raise SessionLostError(errno.ESHUTDOWN, "evicted", PATH)

    with pytest.raises(SessionLostError):
        by_others(one, lost)


def test_a_tree_of_one_shard_is_nothing_for_others(one: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mgr_fscrypt.migrate.comparing.BATCH", 1000)
    with others(one) as judges:
        assert one.migration.compare(Verdict(), judges=judges).equal
        assert judges.asked == []


def test_large_files_are_shards_of_their_own(one: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mgr_fscrypt.migrate.comparing.BATCH", 1000)
    monkeypatch.setattr("mgr_fscrypt.migrate.comparing.BATCH_BYTES", 4096)
    with others(one) as judges:
        assert one.migration.compare(Verdict(), manifest=True, judges=judges).equal
        large = {b"/d/block", b"/d/more", b"/d/e/holed"}
        # the last of its shard, of either tree
        ends = [each.entries[-1].below for each in judges.asked]
        assert all(ends.count(each) == 2 for each in large)


def test_a_directory_that_cannot_be_listed_is_told(one: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    sides = one.migration.sides(one.migration.required_record())
    scandir = type(sides.source).scandir

    def fails(self: Any, path: bytes) -> Iterator[object]:
        if path == PATH + b"/d/e":
            raise error_of(errno.EACCES, "scandir", path)
        yield from scandir(self, path)

    monkeypatch.setattr(type(sides.source), "scandir", fails)
    told: list[tuple[str, bytes, str]] = []
    verdict = compare(sides, Verdict(), told=lambda *each: told.append(each))
    assert ("error", b"/d/e") in [each[:2] for each in told]
    assert not verdict.equal
