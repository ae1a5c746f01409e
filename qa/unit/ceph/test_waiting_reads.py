"""A read that has no answer for a moment has the MDS asked for the size, once, while its descriptor is open."""

import threading
import time

import pytest

from mgr_fscrypt.ceph.waiting_reads import PATIENCE, WaitingReads
from qa.load.promptness import prompt

FD = 7


@pytest.fixture
def asked():
    return []


@pytest.fixture
def waiting(asked):
    made = WaitingReads(asked.append)
    yield made
    made.end()


def test_who_waits_is_helped_once(waiting, asked):
    with waiting.reading(FD):
        time.sleep(10 * PATIENCE)
    assert asked == [FD]


def test_who_is_answered_at_once_is_not(waiting, asked):
    for _ in range(1000):
        with waiting.reading(FD):
            pass
    time.sleep(3 * PATIENCE)
    assert asked == []


def test_it_begins_again_after_a_pause(waiting, asked):
    with waiting.reading(FD):
        pass
    time.sleep(1.2)
    with waiting.reading(FD + 1):
        time.sleep(10 * PATIENCE)
    assert asked == [FD + 1]


def test_a_read_does_not_end_while_somebody_asks_with_its_descriptor():
    asking, answer, ended = threading.Event(), threading.Event(), threading.Event()

    def ask(fd: int) -> None:
        asking.set()
        answer.wait(10)

    def read() -> None:
        with waiting.reading(FD):
            asking.wait(10)
        ended.set()

    waiting = WaitingReads(ask)
    reader = threading.Thread(target=read)
    reader.start()
    assert asking.wait(10)
    assert not ended.wait(0.1)
    answer.set()
    reader.join()
    assert ended.is_set()
    waiting.end()


def test_the_end_does_not_wait_for_reads(waiting):
    with waiting.reading(FD):
        pass
    begun = time.monotonic()
    waiting.end()
    prompt(time.monotonic() - begun, 1)
