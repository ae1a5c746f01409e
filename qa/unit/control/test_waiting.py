import errno
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from mgr_fscrypt.control import Result
from mgr_fscrypt.control.waiting import Waiting


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=1) as made:
        yield made


def test_gives_the_result(executor: ThreadPoolExecutor):
    assert Waiting(executor, 5).answer(lambda: Result(status="done")) == Result(status="done")


def test_raises_what_the_work_raises(executor: ThreadPoolExecutor):
    with pytest.raises(ZeroDivisionError):
        Waiting(executor, 5).answer(lambda: Result(code=1 // 0))


def test_a_timeout_of_the_work_itself_is_not_our_own(executor: ThreadPoolExecutor):
    def work() -> Result:
        raise BlockingIOError

    with pytest.raises(BlockingIOError):
        Waiting(executor, 5).answer(work)


def test_answers_in_time_when_the_work_hangs_and_drops_what_had_not_begun(executor: ThreadPoolExecutor):
    free = threading.Event()
    done: list[str] = []

    def hang() -> Result:
        free.wait(30)
        done.append("hung")
        return Result()

    def quick() -> Result:
        done.append("quick")
        return Result()

    waiting = Waiting(executor, 0.05)
    begun = waiting.answer(hang)
    assert begun.code == errno.EAGAIN
    assert "may yet be carried out" in begun.status
    queued = waiting.answer(quick)
    assert queued.code == errno.EAGAIN
    assert "nothing was changed" in queued.status
    free.set()
    assert Waiting(executor, 5).answer(Result).success
    assert done == ["hung"]


def test_a_module_that_is_stopping(executor: ThreadPoolExecutor):
    executor.shutdown()
    result = Waiting(executor, 5).answer(lambda: Result(status="done"))
    assert (result.code, "nothing was changed" in result.status) == (errno.EAGAIN, True)
