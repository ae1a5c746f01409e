"""Whole migrations whose processes are killed at random moments, and what has to be true after each death.

Each has a root of its own in the file system, which its clients mount: so several may run side by side, though each
evicts whoever can reach its tree.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.interface import Mount
from mgr_fscrypt.engine import FileSystem
from mgr_fscrypt.migrate import Direction, State, Step, Way
from mgr_fscrypt.migrate.marks import MARK
from mgr_fscrypt.migrate.record import hidden_of
from mgr_fscrypt.migrate.trees import PlainTree, Tree, existing, walk
from qa.fakes.migration_cases import WAYS, Subject, build, file_system, finished, make_source, picture

PATH = b"/tree"
MANY = 80
"""Files of the tree, beside some of everything."""
_STEPS = (
    Step.COPYING,
    Step.COPYING,
    Step.COPYING,
    Step.FENCING,
    Step.FINISHING,
    Step.VERIFYING,
    Step.CUTTING,
)
_LIFE = {Step.COPYING: 2.5, Step.VERIFYING: 1.0}
"""Seconds after the begin of a step within which the kill comes, where it is not a tenth."""
_WORKERS = 2


@dataclass(frozen=True)
class Kill:
    """When the process that has the lease dies: seconds after a step began. With `worker`, one of its workers
    dies then, and it as much later."""

    step: Step
    life: float
    worker: bool = False


def drawn(chance: random.Random) -> Kill:
    """Some moment."""
    step = chance.choice(_STEPS)
    life = chance.uniform(0, _LIFE.get(step, 0.1))
    return Kill(step, life, worker=step is Step.COPYING and chance.random() < 0.5)


def way_of(direction: Direction) -> Way:
    """From what to what."""
    return Way(PATH, direction, WAYS[direction][1].identifier)


@dataclass
class Killed:
    """One migration.

    Attributes:
        root: a directory that does not exist yet.
    """

    root: bytes
    direction: Direction
    deaths: int = 0
    kept: int = 0

    def run(self, kills: Sequence[Kill]) -> str | None:
        """To its end, and purged; what was wrong. Raises what nobody foresaw."""
        with connect(Access()) as mount:
            make_source(mount, self.direction, self.root + PATH, _fill)
        with connect(Access(root=self.root)) as mount, file_system(mount) as files:
            before, source = picture(self._old(mount, files), PATH), mount.stat(PATH).ino
        kept = dict[bytes, int]()
        for kill in kills:
            self.deaths += self._migrate(kill)
            with connect(Access(root=self.root)) as mount, file_system(mount) as files:
                if wrong := self._lost(mount, files, source, before):
                    return f"{wrong}, after {kill}"
                kept = finished(Subject(mount, files, way_of(self.direction))) | kept
        self.kept = len(kept)
        self._migrate(None)
        with connect(Access(root=self.root)) as mount, file_system(mount) as files:
            one = Subject(mount, files, way_of(self.direction))
            if one.state() is not State.DONE:
                return f"it was not finished: {one.state()}"
            if {name: one.new.stat(PATH + name).ino for name in kept} != kept:
                return "a finished file was copied again"
            if wrong := self._lost(mount, files, source, before):
                return f"{wrong}, at the end"
            one.migration.purge()
            if existing(PlainTree(mount), hidden_of(PATH)) is not None:
                return "the hidden directory is left"
            if picture(one.new, PATH) != before:
                return "the new tree is not what the old one was"
            if any(MARK in mount.listxattr(PATH + met.below) for met in walk(PlainTree(mount), PATH)):
                return "a mark is left"
        return None

    def _old(self, mount: Mount, files: FileSystem) -> Tree:
        return PlainTree(mount) if self.direction is Direction.ENCRYPT else files

    def _lost(self, mount: Mount, files: FileSystem, source: int, before: object) -> str | None:
        """The source is at the path or in the trash, as it was."""
        for place in (PATH, hidden_of(PATH) + b"/old"):
            found = existing(PlainTree(mount), place)
            if found is not None and found.ino == source:
                same = picture(self._old(mount, files), place) == before
                return None if same else "the source was changed"
        return "the source is nowhere"

    def _migrate(self, kill: Kill | None) -> bool:
        """Let a process do it, or go on with it; was it ended by the kill?"""
        count = _WORKERS if kill is not None and kill.step is Step.COPYING else 0
        child = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "qa.load.migrating",
                os.fsdecode(self.root),
                self.direction.value,
                str(count),
            ],
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        with child.stdout as said:
            for line in said:
                if kill is not None and line.decode().strip() == kill.step.value:
                    time.sleep(kill.life)
                    if kill.worker:
                        _kill_a_worker(child.pid)
                        time.sleep(kill.life)
                    child.kill()
                    break
        code = child.wait()
        if code not in (0, -signal.SIGKILL):
            raise RuntimeError(f"the process ended with {code}; seen in {self.root!r}")
        return code != 0


def _kill_a_worker(process: int) -> None:
    """One of those that copy for it, if there are any just now."""
    children = Path(f"/proc/{process}/task/{process}/children")
    with suppress(OSError):
        for each in children.read_text().split():
            # its executor has another one, which only cleans up
            if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes():
                os.kill(int(each), signal.SIGKILL)
                return


def _fill(tree: Tree, top: bytes) -> None:
    build(tree, top)
    for number in range(MANY):
        with tree.open(top + b"/d/%d" % number, os.O_RDWR | os.O_CREAT, 0o600) as file:
            file.pwrite(b"%d " % number * (number + 1), 0)
    tree.sync()
