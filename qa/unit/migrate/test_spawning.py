"""What spawned processes run, and what they are told."""

import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from pathlib import Path
from threading import Thread
from time import sleep
from types import FrameType

import pytest

from mgr_fscrypt.migrate.spawning import SPAWNED, Stop, apart_from_here, wake

_TOLD = 7


def test_spawned_processes_import_nothing_from_the_callers_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = tmp_path / "ran"
    (tmp_path / "multiprocessing.py").write_text(f"open({str(ran)!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    with apart_from_here(), ProcessPoolExecutor(1, mp_context=SPAWNED) as executor:
        assert executor.submit(os.getpid).result() != os.getpid()
    assert not ran.exists()


@pytest.mark.parametrize("before", [None, "", "1"])
def test_the_environment_is_as_it_was(before: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if before is None:
        monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    else:
        monkeypatch.setenv("PYTHONSAFEPATH", before)
    with apart_from_here():
        assert os.environ["PYTHONSAFEPATH"]
    assert os.environ.get("PYTHONSAFEPATH") == before


def _die_at(line: int) -> Callable[[FrameType, str, object], object]:
    """For `sys.settrace`: this process is killed before it runs the line of that number."""
    lines = count(1)

    def trace(_: FrameType, event: str, __: object) -> object:
        if event == "line" and next(lines) == line:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return trace


# the child only asks, so no thread that it has not can keep it waiting
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_one_that_is_killed_while_it_asks_keeps_nobody_from_stopping_the_others() -> None:
    for line in count(1):
        stop = Stop()
        child = os.fork()
        if child == 0:
            sys.settrace(_die_at(line))
            os._exit(stop.said)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said = Thread(target=stop.say, daemon=True)
        said.start()
        said.join(10)
        assert not said.is_alive()
        assert stop.said
        if code == 0:
            assert line > 1
            return
        assert code == -signal.SIGKILL


def test_a_spawned_process_is_told() -> None:
    stop = Stop()
    stop.say()
    child = SPAWNED.Process(target=_exit_if_told, args=(stop,))
    child.start()
    child.join()
    assert child.exitcode == _TOLD


def _exit_if_told(stop: Stop) -> None:
    sys.exit(_TOLD if stop.said else 0)


def test_those_that_were_stopped_can_end() -> None:
    child = SPAWNED.Process(target=sleep, args=(600,))
    child.start()
    assert child.pid is not None
    os.kill(child.pid, signal.SIGSTOP)
    os.waitpid(child.pid, os.WUNTRACED)
    child.terminate()
    wake()
    child.join(60)
    ended = child.exitcode
    child.kill()
    child.join()
    assert ended == -signal.SIGTERM
