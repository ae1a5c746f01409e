"""How long a migration may take."""

import os
from dataclasses import replace

import pytest

from mgr_fscrypt.ceph.errors import LeaseLostError
from mgr_fscrypt.engine import BusyError
from mgr_fscrypt.migrate import Direction
from mgr_fscrypt.migrate.sample import Estimate, Sample
from mgr_fscrypt.migrate.trees import PlainFile, PlainTree
from qa.fakes.ceph import FakeMount
from qa.fakes.migration_cases import Subject, file_system, make_source

PATH = b"/above/tree"
MIB = 1 << 20


def write(tree: PlainTree, path: bytes, size: int) -> None:
    with tree.open(path, os.O_RDWR | os.O_CREAT, 0o600) as file:
        file.pwrite(b"x" * size, 0)


def test_files_and_bytes_are_measured_apart(mount: FakeMount, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    tree = PlainTree(mount)
    write(tree, b"/small", 10)
    write(tree, b"/large", 3 * MIB)
    pread, opened = PlainFile.pread, PlainTree.open

    def slow_pread(self: PlainFile, length: int, offset: int) -> bytes:
        now[0] += length / MIB
        return pread(self, length, offset)

    def slow_open(self: PlainTree, path: bytes, flags: int = os.O_RDONLY, mode: int = 0) -> PlainFile:
        now[0] += 0.25
        return opened(self, path, flags, mode)

    monkeypatch.setattr(PlainFile, "pread", slow_pread)
    monkeypatch.setattr(PlainTree, "open", slow_open)
    monkeypatch.setattr("mgr_fscrypt.migrate.sample._SECONDS", 60)
    sample = Sample()
    sample.offer(b"/small", 10, 1)
    sample.offer(b"/large", 3 * MIB, 0)
    found = sample.measured(tree, lambda: None, met=0.5, enciphers=False, clock=lambda: now[0])
    assert found is not None
    assert (found.files, found.size, found.cipher_time) == (2, 3 * MIB + 10, 0)
    assert found.file_time == pytest.approx(0.5 + 0.25 + 1 / 2 / 16, rel=0.01)
    assert found.read_time == pytest.approx(1 / MIB)


def test_a_sample_is_of_files_from_everywhere_and_ends_in_time(mount: FakeMount) -> None:
    now = [0.0]
    tree, sample = PlainTree(mount), Sample()
    for number in range(200):
        path = b"/%d" % number
        write(tree, path, 1)
        sample.offer(path, 1, hash(path))
    found = sample.measured(tree, lambda: None, met=0, enciphers=True, clock=lambda: now[0])
    assert found is not None
    assert found.files == 200

    def clock() -> float:
        now[0] += 0.1
        return now[0]

    found = sample.measured(tree, lambda: None, met=0, enciphers=True, clock=clock)
    assert found is not None
    assert found.files < 10


def test_what_went_meanwhile_is_passed_over_and_whoever_must_stop_does(mount: FakeMount) -> None:
    sample = Sample()
    sample.offer(b"/gone", 1, 1)
    assert sample.measured(PlainTree(mount), lambda: None, met=0, enciphers=True) is None
    write(PlainTree(mount), b"/gone", MIB)

    def lost() -> None:
        raise LeaseLostError(116, "lost")

    with pytest.raises(LeaseLostError):
        sample.measured(PlainTree(mount), lost, met=0, enciphers=True)


def test_more_takes_longer() -> None:
    estimate = Estimate(10, 1000, file_time=0.001, read_time=1e-9, cipher_time=1e-9)
    assert estimate.seconds(1000, 0) == pytest.approx(6.3)
    assert estimate.seconds(0, 10**9) == pytest.approx(6)
    assert replace(estimate, cipher_time=0.0).seconds(0, 10**9) == pytest.approx(4)


@pytest.mark.parametrize("direction", Direction)
def test_a_plan_has_one_and_writes_nothing(
    mount: FakeMount, monkeypatch: pytest.MonkeyPatch, direction: Direction
) -> None:
    one = Subject(mount, file_system(mount), make_source(mount, direction, PATH))
    mount.sync()

    def change(*_: object) -> None:
        raise BusyError(1, "nothing is to be changed", b"", remedy="")

    monkeypatch.setattr(mount, "_change", change)
    plan = one.plan()
    assert plan.estimate is not None
    assert plan.estimate.files > 1
    assert plan.expected is not None
    assert 0 < plan.expected < 60


def test_an_empty_tree_has_none(mount: FakeMount) -> None:
    way = make_source(mount, Direction.ENCRYPT, PATH, lambda *_: None)
    assert Subject(mount, file_system(mount), way).plan().expected is None
