"""Whole migrations whose processes are killed at random moments, and what has to be true after each death.

Each has a root of its own in the file system, which its clients mount; what is above is mounted by nobody but who
makes and removes it, in a home of its own: so several may run side by side, though each evicts whoever can reach its
tree. A word of its own is in names, targets and contents of the tree, and all objects are searched for it.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import rados

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.interface import Mount
from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.engine import FileSystem
from mgr_fscrypt.engine.paths import joined
from mgr_fscrypt.migrate import Direction, State, Step, Way
from mgr_fscrypt.migrate.marks import MARK
from mgr_fscrypt.migrate.record import hidden_of
from mgr_fscrypt.migrate.trees import PlainTree, Tree, existing, walk
from qa.demo.scan import scan_pool
from qa.fakes.engine_cases import remove
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
_GONE = 180.0
"""Seconds within which the objects of what was removed have to be gone: the MDS deletes them when it has time."""


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
        home: a directory that nobody else uses.
        name: what does not exist in it yet.
        searching: look for plaintext in all objects of the cluster after each death, and wait until those of what was
            removed are gone.
    """

    home: bytes
    name: bytes
    direction: Direction
    searching: bool = True
    deaths: int = 0
    kept: int = 0

    @property
    def root(self) -> bytes:
        """What its clients mount."""
        return joined(self.home, self.name)

    @property
    def word(self) -> bytes:
        """What is in names, targets and contents of this tree, and nowhere else: a case that is done again has another
        home."""
        return b"of " + self.root[1:].replace(b"/", b" ")

    def run(self, kills: Sequence[Kill]) -> str | None:
        """To its end, and purged; what was wrong, else it is removed as well. Raises what nobody foresaw."""
        with connect(Access(root=self.home)) as mount:
            make_source(mount, self.direction, b"/" + self.name + PATH, partial(fill, self.word))
        with connect(Access(root=self.root)) as mount, file_system(mount) as files:
            before, source = picture(self._old(mount, files), PATH), mount.stat(PATH).ino
        kept = dict[bytes, int]()
        for kill in kills:
            self.deaths += self._migrate(kill)
            with connect(Access(root=self.root)) as mount, file_system(mount) as files:
                wrong = self._lost(mount, files, source, before) or self._open_to_servers(mount)
                if wrong:
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
            mount.sync()
            if wrong := self._left_to_servers(mount):
                return wrong
            if existing(PlainTree(mount), hidden_of(PATH)) is not None:
                return "the hidden directory is left"
            if picture(one.new, PATH) != before:
                return "the new tree is not what the old one was"
            if any(MARK in mount.listxattr(PATH + met.below) for met in walk(PlainTree(mount), PATH)):
                return "a mark is left"
        with connect(Access(root=self.home)) as mount:
            remove(mount, b"/" + self.name)
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

    def _open_to_servers(self, mount: CephMount) -> str | None:
        """While the source is there: what is in the clear is the source's own, where that is plain."""
        if self.direction is Direction.DECRYPT or not self.searching:
            return None
        plain = set[int]()
        if self.direction is Direction.ENCRYPT:
            for place in (PATH, hidden_of(PATH) + b"/old"):
                if existing(PlainTree(mount), place) is not None:
                    plain |= _inodes(mount, place)
        strange = self._found(_contents, mount) - plain
        return f"contents in the clear, of inodes {_hex(strange)}" if strange else None

    def _left_to_servers(self, mount: CephMount) -> str | None:
        """When the source is gone: nothing is in the clear, but for a new tree that is plain, which is all there."""
        if not self.searching:
            return None
        plain = _inodes(mount, PATH) if self.direction is Direction.DECRYPT else set[int]()
        deadline = time.monotonic() + _GONE
        while left := self._found(_contents, mount) - plain:
            if time.monotonic() > deadline:
                return f"contents in the clear are left, of inodes {_hex(left)}"
            time.sleep(1)
        if self.direction is Direction.DECRYPT and not self._found(_contents, mount):
            return "the search finds nothing where all is in the clear"
        if self.direction is Direction.REENCRYPT and (named := self._found(_names, mount)):
            return f"names in the clear, in objects of {_hex(named)}"
        return None

    def _found(self, where: Callable[[CephMount], str], mount: CephMount) -> set[int]:
        """The inodes of objects of a pool, attributes and all, that have the word."""
        with rados.Rados(conffile=mount.cluster.access.conf_file) as cluster:
            scanned = scan_pool(cluster, where(mount), [self.word], with_omap=True)
        return {int(name.partition(".")[0], 16) for name in scanned.found}

    def _migrate(self, kill: Kill | None) -> bool:
        """Let a process do it, or go on with it; was it ended by the kill?"""
        count = _WORKERS if kill is not None and kill.step is Step.COPYING else 0
        child = subprocess.Popen(
            [
                sys.executable,
                # where a library brings it down, one wants to know what it was at
                "-X",
                "faulthandler",
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


def _contents(mount: CephMount) -> str:
    return mount.data_pool()


def _names(mount: CephMount) -> str:
    return mount.cluster.file_system().metadata_pool


def _inodes(mount: Mount, top: bytes) -> set[int]:
    return {met.entry.ino for met in walk(PlainTree(mount), top) if met.entry is not None}


def _hex(inodes: set[int]) -> str:
    return ", ".join(f"{ino:x}" for ino in sorted(inodes)[:5])


def fill(word: bytes, tree: Tree, top: bytes) -> None:
    """Some of everything, and many files; the word is in names, targets and contents."""
    build(tree, top)
    for number in range(MANY):
        with tree.open(top + b"/d/%d %b" % (number, word), os.O_RDWR | os.O_CREAT, 0o600) as file:
            file.pwrite(word + b"%d " % number * (number + 1), 0)
    tree.symlink(word, top + b"/d/e/" + word)
    tree.sync()
