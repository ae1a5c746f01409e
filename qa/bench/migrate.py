"""``python3 -m qa.bench.migrate [--json] [--runs N]``: a migration's copying beside other ways to copy, on one cluster.

The same plain tree is copied in turns by `cp -a` between two directories of one ceph-fuse mount, by a loop over
python-cephfs in one process, and by the first pass of a migration that encrypts it, with 1, 2 and 4 workers. Each
begins with empty caches, and counts until all of it is durable; a migration's time has the start of its workers in
it, its bookkeeping, and the marks that let it go on. Ours enciphers with the compiled accelerator. How fast a plan is
made is measured on its own. Ratios are of medians.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import cephfs

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.gathering import gather_nothing
from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.format import MasterKey
from mgr_fscrypt.format.accelerator import DIRECTORY_VARIABLE, build_accelerator
from mgr_fscrypt.migrate import Copied, Direction, Migration, Way, look_over
from mgr_fscrypt.migrate.trees import PlainTree, remove_all
from mgr_fscrypt.migrate.workers import workers
from qa.load.memory import peak_of

from .data_path.subjects import SECRET, CephFuse
from .report import Case, Ratio, Report, tell

RUNS = 3
MIB = 1 << 20
WORKERS = (1, 2, 4)
MEMORY = 256.0
"""MiB that a worker may have at its peak."""
PLANNED = 10_000
PLANNING = 100_000 / 60
"""Entries a second that a plan has to look at."""
TOLD = 0.0
"""The bar of a ratio that is told, and not demanded."""
KEY = MasterKey(SECRET)
TOP = b"/bench-migrate"
_PIECE = 4 * MIB
_LOOK = 0.2
"""Seconds between two looks at the memory of workers."""
_DROP = Path("/proc/sys/vm/drop_caches")


class Tree:
    """What is copied: directories of files of one size. `amount` is what a rate counts, in `unit`."""

    def __init__(self, name: str, directories: int, files: int, size: int) -> None:
        self.name = name
        self.directories = [f"{number:04d}" for number in range(directories)]
        self.files = [f"{number:04d}" for number in range(files)]
        self.size = size
        self.count = directories * files
        small = size < MIB
        self.unit = "1/s" if small else "MiB/s"
        self.amount = self.count if small else self.count * size / MIB

    @property
    def path(self) -> bytes:
        """Where it lies."""
        return TOP + b"/" + self.name.replace(" ", "-").encode()

    def fill(self) -> None:
        """Make it."""
        with connect(Access()) as mount:
            mount.mkdir(self.path, 0o755)
            for directory in self.directories:
                above = self.path + b"/" + directory.encode()
                mount.mkdir(above, 0o755)
                for file in self.files:
                    fd = mount.open(above + b"/" + file.encode(), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
                    for offset in range(0, self.size, _PIECE):
                        mount.pwrite(fd, os.urandom(min(_PIECE, self.size - offset)), offset)
                    mount.close(fd)
            mount.sync()


SMALL = Tree("small files", 30, 100, 4096)
UNEVEN = Tree("uneven files", 30, 100, 4000)
"""As most files are, and encrypted ones never: no whole blocks, so nobody asks the MDS whether they are encrypted."""
LARGE = Tree("large files", 4, 1, 128 * MIB)


def by_cp(fuse: CephFuse, tree: Tree) -> float:
    """Seconds."""
    fuse.forget()
    # the mount's root is where the trees lie
    top = fuse.directory
    begun = time.perf_counter()
    subprocess.run(["cp", "-a", top / os.fsdecode(tree.path.rpartition(b"/")[2]), top / "copy"], check=True)
    fuse.place.sync()
    seconds = time.perf_counter() - begun
    _remove(TOP + b"/copy")
    return seconds


def by_python_cephfs(tree: Tree) -> float:
    """Seconds."""
    _forget()
    with _library() as library:
        begun, to = time.perf_counter(), TOP + b"/copy"
        library.mkdir(to, 0o755)
        for directory in tree.directories:
            library.mkdir(to + b"/" + directory.encode(), 0o755)
            for file in tree.files:
                below = f"/{directory}/{file}".encode()
                _copy_one(library, tree.path + below, to + below)
        library.sync_fs()
        seconds = time.perf_counter() - begun
    _remove(TOP + b"/copy")
    return seconds


def by_migration(count: int, peaks: list[float], tree: Tree) -> float:
    """Seconds; `peaks` gets the MiB of each worker."""
    _forget()

    looked = 0.0

    def watched() -> None:
        nonlocal looked
        now = time.monotonic()
        if now - looked < _LOOK:
            return
        looked = now
        for each in multiprocessing.active_children():
            # one that has ended meanwhile
            with suppress(OSError, RuntimeError):
                peaks.append(peak_of(each.pid or 0) / MIB)

    keyring = Keyring()
    keyring.add(KEY)
    with connect(Access()) as mount, FileSystem(mount, keyring) as files:
        hands = partial(workers, Access(), [KEY], count)
        migration = Migration(mount, files, tree.path, watched=watched, hands=hands)
        migration.start(Way(tree.path, Direction.ENCRYPT, KEY.identifier), "")
        begun, copied = time.perf_counter(), Copied()
        migration.converge(copied, passes=1)
        seconds = time.perf_counter() - begun
        if copied.files != tree.count:
            raise RuntimeError(f"{copied.files} of {tree.count} files were copied: {copied.problems}")
        migration.cancel()
    return seconds


def planning() -> float:
    """Entries a second of a plan, with empty caches."""
    tree = Tree("to be planned", PLANNED // 100, 100, 0)
    tree.fill()
    _forget()
    keyring = Keyring()
    keyring.add(KEY)
    with connect(Access()) as mount, FileSystem(mount, keyring) as files:
        begun = time.perf_counter()
        plan = look_over(mount, files, PlainTree(mount), Way(tree.path, Direction.ENCRYPT, KEY.identifier))
        return plan.files / (time.perf_counter() - begun)


def measure(runs: int) -> Report:
    """All in turns, so that a slow minute of the machine hits all of them."""
    figures: dict[tuple[str, str], list[float]] = {}
    peaks: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        # for this process and for its workers
        os.environ[DIRECTORY_VARIABLE] = folder
        build_accelerator(Path(folder))
        with connect(Access()) as mount:
            mount.mkdir(TOP, 0o755)
        with _fuse(Path(folder)) as fuse:
            ways: dict[str, Callable[[Tree], float]] = {
                "cp -a": partial(by_cp, fuse),
                "python-cephfs": by_python_cephfs,
            }
            ways |= {f"{count} workers": partial(by_migration, count, peaks) for count in WORKERS}
            for tree in (SMALL, UNEVEN, LARGE):
                tree.fill()
                for _ in range(runs):
                    for name, way in ways.items():
                        rate = tree.amount / way(tree)
                        figures.setdefault((tree.name, name), []).append(rate)
                        sys.stderr.write(f"{tree.name}, {name}: {rate:.0f} {tree.unit}\n")
        figures["plan", "one process"] = [planning()]
    units = {tree.name: tree.unit for tree in (SMALL, UNEVEN, LARGE)}
    cases = [Case(case, way, units.get(case, "1/s"), rates) for (case, way), rates in figures.items()]
    return Report.here(cases, list(_ratios(cases, max(peaks))))


def _ratios(cases: list[Case], peak: float) -> Iterator[Ratio]:
    medians = {(case.name, case.subject): case.median for case in cases}
    for tree, bar in ((SMALL, 1.5), (UNEVEN, TOLD), (LARGE, 1.0)):
        for other in ("cp -a", "python-cephfs"):
            for count in WORKERS:
                demanded = other == "cp -a" and count == WORKERS[-1]
                yield Ratio(
                    f"{tree.name}: {count} workers / {other}",
                    medians[tree.name, f"{count} workers"] / medians[tree.name, other],
                    bar if demanded else TOLD,
                )
    yield Ratio("plan / 100,000 in a minute", medians["plan", "one process"] / PLANNING, 1.0)
    # higher is better, here too
    yield Ratio("256 MiB / peak of a worker", MEMORY / peak, 1.0)


@contextmanager
def _fuse(folder: Path) -> Iterator[CephFuse]:
    fuse = CephFuse(TOP.decode(), folder)
    fuse.begin()
    try:
        yield fuse
    finally:
        fuse.end()


@contextmanager
def _library() -> Iterator[Any]:
    """As large a cache and as little of a log as ours."""
    access = Access()
    library = cephfs.LibCephFS(conffile=access.conf_file, auth_id="admin")
    gather_nothing(library)
    for name, value in access.options.items():
        library.conf_set(name, value)
    library.mount()
    try:
        yield library
    finally:
        library.shutdown()


def _copy_one(library: Any, source: bytes, to: bytes) -> None:
    found = library.stat(source)
    old = library.open(source, os.O_RDONLY, 0)
    new = library.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, found.st_mode & 0o7777)
    for offset in range(0, found.st_size, MIB):
        data = library.read(old, offset, MIB)
        if library.write(new, data, offset) != len(data):
            raise RuntimeError("short write")
    library.futimens(new, (found.st_atime.timestamp(), found.st_mtime.timestamp()))
    library.close(new)
    library.close(old)


def _forget() -> None:
    _DROP.write_text("1")


def _remove(path: bytes) -> None:
    with connect(Access()) as mount:
        remove_all(PlainTree(mount), path)
        mount.sync()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="a migration's copying beside other ways to copy")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--runs", type=int, default=RUNS, help="of each case")
    options = parser.parse_args()
    return tell(lambda: measure(options.runs), as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
