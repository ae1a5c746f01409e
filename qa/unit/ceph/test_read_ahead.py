"""Reading on: who reads in order, and only who does, finds more in the cache."""

from threading import Event, Thread
from time import sleep

import pytest

from mgr_fscrypt.ceph.read_ahead import AHEAD, PIECE, RUN, ReadAhead

FD = 7


class Reads:
    """What was read on."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, int, int]] = []
        self.go = Event()
        self.go.set()
        self.waiting = 0
        self.cached = True
        self.ahead = ReadAhead(self.read, lambda fd: self.cached)

    def read(self, fd: int, length: int, offset: int) -> None:
        self.waiting += 1
        self.go.wait(10)
        self.begun.append((fd, length, offset))

    def in_order(self, start: int, stop: int, step: int) -> None:
        for offset in range(start, stop, step):
            self.ahead.after(FD, offset, offset + step)

    def settle(self) -> None:
        """Until nothing is under way."""
        while any(not read.done() for run in self.ahead._runs.values() for read in run.reads):
            sleep(0.001)

    def all(self) -> list[tuple[int, int, int]]:
        self.settle()
        return self.begun


@pytest.fixture
def reads():
    made = Reads()
    yield made
    made.go.set()
    made.ahead.end()


def test_a_small_file_is_not_read_on(reads):
    reads.in_order(0, RUN - 4096, 4096)
    assert reads.all() == []


def pieces(start: int, stop: int) -> list[tuple[int, int, int]]:
    return [(FD, PIECE, offset) for offset in range(start, stop, PIECE)]


def test_who_reads_in_order_is_ahead(reads):
    reads.in_order(0, RUN, 4096)
    assert sorted(reads.all()) == pieces(RUN, RUN + AHEAD)


def test_a_piece_is_asked_for_when_one_was_used(reads):
    reads.in_order(0, RUN + PIECE - 4096, 4096)
    assert sorted(reads.all()) == pieces(RUN, RUN + AHEAD)
    reads.in_order(RUN + PIECE - 4096, RUN + PIECE, 4096)
    assert sorted(reads.all()) == pieces(RUN, RUN + PIECE + AHEAD)


def test_a_leap_begins_anew(reads):
    reads.in_order(0, RUN - 4096, 4096)
    reads.in_order(10 * AHEAD, 10 * AHEAD + RUN - 4096, 4096)
    assert reads.all() == []
    reads.in_order(20 * AHEAD, 20 * AHEAD + RUN, 4096)
    assert sorted(reads.all()) == pieces(20 * AHEAD + RUN, 21 * AHEAD + RUN)


def test_pieces_that_come_out_of_turn_are_asked_for_once(reads):
    reads.in_order(0, 8 * RUN, RUN)
    for late in range(8 * RUN, 8 * PIECE, 2 * RUN):
        reads.ahead.after(FD, late + RUN, late + 2 * RUN)
        reads.ahead.after(FD, late, late + RUN)
    assert sorted(reads.all()) == pieces(2 * RUN, 2 * RUN + 7 * PIECE + AHEAD)


def test_who_reads_all_of_it_again_is_ahead_again(reads):
    reads.in_order(0, 2 * AHEAD, RUN)
    before = len(reads.all())
    reads.in_order(0, RUN, 4096)
    assert sorted(reads.all()[before:]) == pieces(RUN, RUN + AHEAD)


def test_what_is_not_kept_is_not_read_on(reads):
    reads.cached = False
    reads.in_order(0, AHEAD, PIECE)
    assert reads.all() == []


def test_a_descriptor_is_let_go_only_when_nobody_reads_it(reads):
    reads.go.clear()
    reads.in_order(0, RUN, 4096)
    while reads.waiting < 1:
        sleep(0.001)
    closing = Thread(target=reads.ahead.forget, args=(FD,))
    closing.start()
    closing.join(0.1)
    assert closing.is_alive()
    reads.go.set()
    closing.join(10)
    begun = len(reads.begun)
    assert begun >= 1
    reads.ahead.end()
    assert len(reads.begun) == begun
