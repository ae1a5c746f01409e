"""`release`, `hold` and `hold --copy`, killed at random moments and run again: each completes, and all is readable
(with `hold --copy` also before that)."""

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.engine import FileMode, FileSystem
from mgr_fscrypt.format import MasterKey
from qa.fakes.engine_cases import SECRET, remove
from qa.load.kills import opened
from qa.load.seeds import seed

pytestmark = pytest.mark.usefixtures("settled_manager")

FILES = 60
LINKED = 6
"""Each of so many files has a second name."""
KILLS = 3
"""Of each of `release` and `hold`."""
COPY_KILLS = 3
MOST = 0.8
"""The latest moment of a kill, as a share of the time that the job took before: later ones find it through."""
JOB = """
import sys
from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from qa.load.kills import opened
job, top = sys.argv[1:]
with connect(Access()) as mount, opened(mount) as files:
    print("ready", flush=True)
    report = getattr(files, job)(top, **({} if job == "hold_by_copy" else {"evict": True}))
    assert report.complete, report.problems
"""
MODES = {"release": FileMode.KERNEL, "hold": FileMode.ENGINE, "hold_by_copy": FileMode.ENGINE}
PATIENCE = 90.0
"""Seconds for `hold --copy`: it leaves alone what a killed one has open, for as long as that session lives."""


def content(number: int) -> bytes:
    return f"{number}.".encode() * (number * 37)


def name(top: bytes, number: int) -> bytes:
    return top + b"/%d/%d" % (number % 5, number)


def second_name(top: bytes, number: int) -> bytes:
    return top + b"/%d/%d too" % ((number + 1) % 5, number)


@pytest.fixture
def top() -> Iterator[bytes]:
    """A subtree in engine mode with files in several directories; no client has it in sight."""
    path = f"/modes-{uuid.uuid4().hex[:8]}".encode()
    with connect(Access()) as mount, opened(mount) as files:
        files.mkdir(path)
        files.create_subtree(path, MasterKey(SECRET).identifier)
        for number in range(5):
            files.mkdir(path + b"/%d" % number)
        for number in range(FILES):
            with files.create(name(path, number)) as file:
                file.pwrite(content(number), 0)
            if number % LINKED == 0:
                files.link(name(path, number), second_name(path, number))
    yield path
    with connect(Access()) as mount:
        remove(mount, path)


def kill(job: str, top: bytes, life: float) -> bool:
    """Let a client do it, and kill it after so many seconds; was it before it was through?"""
    child = subprocess.Popen([sys.executable, "-c", JOB, job, os.fsdecode(top)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout as said:
        assert said.readline() == b"ready\n"
        time.sleep(life)
        child.kill()
    assert child.wait() in (0, -signal.SIGKILL)
    return child.returncode != 0


def names(top: bytes, number: int) -> list[bytes]:
    """All of one file."""
    return [name(top, number)] + [second_name(top, number)] * (number % LINKED == 0)


def require_found(files: FileSystem, top: bytes) -> None:
    """Every name is there, and reads as before."""
    for number in range(FILES):
        for each in names(top, number):
            with files.open(each) as file:
                assert file.pread(1 << 20, 0) == content(number)


def require_all(files: FileSystem, top: bytes) -> None:
    """As `require_found`; names of one file are names of one file, and there is nothing else."""
    require_found(files, top)
    for number in range(FILES):
        assert len({files.stat(each).ino for each in names(top, number)}) == 1
    expected = FILES + len(range(0, FILES, LINKED))
    assert sum(len(list(files.scandir(top + b"/%d" % each))) for each in range(5)) == expected


def complete(job: str, top: bytes) -> float:
    """Do it; the seconds that it took. Afterwards everything is readable, and of the new mode."""
    with connect(Access()) as mount, opened(mount) as files:
        begun = time.monotonic()
        if job == "hold_by_copy":
            while not (report := files.hold_by_copy(top)).complete and time.monotonic() < begun + PATIENCE:
                time.sleep(0.5)
        else:
            report = getattr(files, job)(top, evict=True)
        lasted = time.monotonic() - begun
        assert report.complete, report.problems
        assert files.subtree(top).mode is MODES[job]
        require_all(files, top)
        for number in range(FILES):
            assert files.stat(name(top, number)).file_mode is MODES[job]
        return lasted


def test_jobs_killed_at_random_moments(top: bytes) -> None:
    chosen, begun = seed(), time.monotonic()
    chance = random.Random(chosen)
    jobs = ("release", "hold")
    lasts = {job: complete(job, top) for job in jobs}
    killed = dict.fromkeys(jobs, 0)
    for _ in range(KILLS):
        for job in jobs:
            killed[job] += kill(job, top, chance.uniform(0, MOST * lasts[job]))
            complete(job, top)
    print(
        f"sampled: release and hold: {FILES} files, seed {chosen}, killed {killed} of {KILLS} times each; "
        f"{time.monotonic() - begun:.0f} s"
    )
    assert any(killed.values()), f"FSCRYPT_QA_SEED={chosen}"


def test_copies_killed_at_random_moments(top: bytes) -> None:
    chosen, begun = seed(), time.monotonic()
    chance = random.Random(chosen)
    complete("release", top)
    lasted = complete("hold_by_copy", top)
    killed, again = 0, 0.0
    for _ in range(COPY_KILLS):
        complete("release", top)
        killed += kill("hold_by_copy", top, chance.uniform(0, MOST * lasted))
        with connect(Access()) as mount, opened(mount) as files:
            require_found(files, top)
        again = max(again, complete("hold_by_copy", top))
    print(
        f"sampled: hold --copy: {FILES} files, seed {chosen}, killed {killed} of {COPY_KILLS} times, through within "
        f"{again:.1f} s afterwards; {time.monotonic() - begun:.0f} s"
    )
    assert killed, f"FSCRYPT_QA_SEED={chosen}"
