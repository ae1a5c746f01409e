"""The checkout, and copies of it for runs: what is tested does not change under the test, nor the other way round."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .cache import Cache, remove_tree
from .report import StepError

SOURCE = Path(__file__).resolve().parents[2]
_NOT_SOURCE = shutil.ignore_patterns(".git", "__pycache__", "*.egg-info", ".tox", ".*_cache", "build")


@contextmanager
def run_folder(cache: Cache, what: str) -> Iterator[Path]:
    """A folder for one run, gone when the run ends; the log of a step that ended it stays in the cache's `logs`.

    A lock tells the folders of runs that were killed: the next run removes them.
    """
    runs = cache.place("runs")
    # between its making and its lock a folder looks dead, and between its end and its removal as well
    with cache.lock("runs"):
        for old in runs.iterdir():
            _remove_if_dead(old)
        folder = runs / f"{what}-{os.getpid()}"
        folder.mkdir()
        lock = (folder / "lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    with lock:
        try:
            yield folder
        except StepError as error:
            if error.log.is_relative_to(folder):
                error.keep_log(cache.place("logs"), what)
            raise
        finally:
            with cache.lock("runs"):
                remove_tree(folder)


@contextmanager
def copy_source(cache: Cache, what: str) -> Iterator[Path]:
    """A copy of the checkout's files as they are now, in a run folder of its own."""
    with run_folder(cache, what) as folder:
        shutil.copytree(SOURCE, folder / "source", ignore=_NOT_SOURCE, symlinks=True)
        yield folder / "source"


def commit() -> str:
    """The commit of the checkout, `+` behind it when files differ; `unknown` outside of git, or where there is none."""
    if shutil.which("git") is None:
        return "unknown"
    answer = subprocess.run(
        ["git", "-C", str(SOURCE), "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"],
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout.strip() or "unknown"


def _remove_if_dead(folder: Path) -> None:
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        remove_tree(folder)
