"""Jobs in `ceph -s`: shown while they go on, and no longer."""

import logging
from collections.abc import Collection
from dataclasses import replace

import pytest

from mgr_fscrypt.control.job_watch import PREFIX, BoardError, JobWatch
from mgr_fscrypt.messages.job import JobBrief, Jobs

JOB = JobBrief("0" * 32, "verify", 1, "/a", "running", "", 5.0, 5, 10, "entries", None)
EVENT = PREFIX + JOB.id


class Board:
    """The module `progress`, in memory."""

    def __init__(self) -> None:
        self.shown: dict[str, tuple[str, float]] = {}
        self.ended: list[tuple[str, str]] = []
        self.updates = 0
        self.away = False

    def events(self) -> Collection[str]:
        self._require()
        return list(self.shown)

    def update(self, event: str, message: str, share: float) -> None:
        self._require()
        self.updates += 1
        self.shown[event] = (message, share)

    def complete(self, event: str) -> None:
        self._require()
        del self.shown[event]
        self.ended.append((event, ""))

    def fail(self, event: str, why: str) -> None:
        self._require()
        del self.shown[event]
        self.ended.append((event, why))

    def _require(self) -> None:
        if self.away:
            raise BoardError("away")


@pytest.fixture
def board() -> Board:
    return Board()


def watch(board: Board) -> JobWatch:
    return JobWatch(board, logging.getLogger("test"))


def jobs(*told: JobBrief, active: int | None = None) -> Jobs:
    going = sum(job.state not in ("done", "failed", "cancelled") for job in told)
    return Jobs(going if active is None else active, 0, 0, told)


def test_a_job_is_shown_and_goes_when_it_is_done(board: Board):
    shown = watch(board)
    shown.look(jobs(JOB))
    assert board.shown == {EVENT: ("fscrypt verify /a", 0.5)}
    shown.look(jobs(JOB))
    assert board.updates == 1
    shown.look(jobs(replace(JOB, state="paused", done=7)))
    assert board.shown == {EVENT: ("fscrypt verify /a (paused)", 0.7)}
    shown.look(jobs(replace(JOB, state="done")))
    shown.look(jobs(replace(JOB, state="done")))
    assert (board.shown, board.ended) == ({}, [(EVENT, "")])


@pytest.mark.parametrize(("state", "why"), [("failed", "no key"), ("cancelled", "cancelled")])
def test_one_that_comes_to_no_end_is_marked(board: Board, state: str, why: str):
    shown = watch(board)
    shown.look(jobs(JOB))
    shown.look(jobs(replace(JOB, state=state, why="no key")))
    assert board.ended == [(EVENT, why)]


def test_the_amount_may_not_be_known(board: Board):
    watch(board).look(jobs(replace(JOB, total=None), replace(JOB, id="1" * 32, done=20)))
    assert [share for _, share in board.shown.values()] == [0.0, 1.0]


def test_what_was_shown_before_is_found_again(board: Board):
    board.shown = {EVENT: ("old", 0.1), PREFIX + "1" * 32: ("gone", 0.1), "of another": ("x", 0.1)}
    watch(board).look(jobs(JOB))
    assert board.shown == {EVENT: ("fscrypt verify /a", 0.5), "of another": ("x", 0.1)}
    assert board.ended == [(PREFIX + "1" * 32, "")]


def test_one_that_is_not_told_of_may_go_on(board: Board):
    shown = watch(board)
    shown.look(jobs(JOB))
    other = replace(JOB, id="1" * 32)
    shown.look(jobs(other, active=2))
    assert EVENT in board.shown
    shown.look(jobs(other, active=1))
    assert EVENT not in board.shown


def test_where_nobody_tells_none_is_left(board: Board):
    shown = watch(board)
    shown.look(jobs(JOB))
    shown.look(None)
    assert (board.shown, board.ended) == ({}, [(EVENT, "this manager asks no engine service any more")])
    shown.look(None)


def test_a_board_that_is_away_is_tried_again(board: Board):
    shown = watch(board)
    board.away = True
    shown.look(jobs(JOB))
    board.away = False
    shown.look(jobs(JOB))
    assert EVENT in board.shown
    board.away = True
    shown.look(jobs(replace(JOB, done=6)))
    board.shown.clear()
    board.away = False
    shown.look(jobs(replace(JOB, done=6)))
    assert board.shown[EVENT] == ("fscrypt verify /a", 0.6)
