"""``python3 -m qa.bench.migrate_growth [--json] [--most N]``: how a migration's cost grows with its tree.

Trees of 1000 files and ten times as many, up to N (100,000 by default), of 4 KiB each, 100 in a directory: how fast
each is planned, copied (the first pass, by two workers), looked through again (a pass that finds nothing to do) and
compared by another process, in files a second, and the memory that the process which walks has at its peak. A cost that
grows as the tree does keeps its rate. `pictures/growth.py` draws the record.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.format.accelerator import DIRECTORY_VARIABLE, build_accelerator
from mgr_fscrypt.migrate import Copied, Direction, Migration, Verdict, Way, look_over
from mgr_fscrypt.migrate.proving import compared
from mgr_fscrypt.migrate.trees import PlainTree
from mgr_fscrypt.migrate.workers import workers
from qa.load.memory import peak_from_now, peak_of

from .migrate import KEY, MEMORY, MIB, TOP, Tree
from .report import Case, Ratio, Report, tell

LEAST = 1000
MOST = 100_000
WORKERS = 2
KEPT = 0.5
"""The part of the smallest tree's rate that the largest has at least."""
_IN_ONE = 100
_SIZE = 4096
WALKS = "peak of the process that walks"
STEPS = ("plan", "copy", "a pass with nothing to do", "compare")


def sizes(most: int) -> list[int]:
    """Files of each tree."""
    found = [LEAST]
    while found[-1] * 10 <= most:
        found.append(found[-1] * 10)
    return found


@dataclass(frozen=True)
class Cost:
    """What a tree took: the seconds of each step, and the MiB of the process that walks at its peak."""

    seconds: dict[str, float]
    memory: float


def cost_of(count: int) -> Cost:
    """Fill a tree of so many files, and migrate it."""
    tree = Tree(f"{count} files", count // _IN_ONE, _IN_ONE, _SIZE)
    # by another process: what its client keeps of the contents it wrote is none of the migration's memory
    filling = multiprocessing.get_context("spawn").Process(target=tree.fill)
    filling.start()
    filling.join()
    if filling.exitcode != 0:
        raise RuntimeError(f"the tree of {count} files was not made: exit code {filling.exitcode}")
    peak_from_now()
    keyring = Keyring()
    keyring.add(KEY)
    took: dict[str, float] = {}
    way = Way(tree.path, Direction.ENCRYPT, KEY.identifier)
    with connect(Access()) as mount, FileSystem(mount, keyring) as files:
        begun = time.perf_counter()
        plan = look_over(mount, files, PlainTree(mount), way)
        took["plan"] = time.perf_counter() - begun
        migration = Migration(mount, files, tree.path, hands=partial(workers, Access(), [KEY], WORKERS))
        migration.start(way, plan.hash)
        for step in STEPS[1:3]:
            begun, copied = time.perf_counter(), Copied()
            migration.converge(copied, passes=1)
            took[step] = time.perf_counter() - begun
            if copied.problem_count or copied.files not in (0, count):
                raise RuntimeError(f"{copied.files} of {count} files were copied: {copied.problems}")
        begun = time.perf_counter()
        verdict: Verdict = compared(Access(), tree.path, [KEY], lambda _: None)
        took["compare"] = time.perf_counter() - begun
        if not verdict.equal:
            raise RuntimeError(f"not the same: {verdict.listed}")
        migration.cancel()
    cost = Cost(took, peak_of(os.getpid()) / MIB)
    steps = ", ".join(f"{step} {took[step]:.1f} s" for step in STEPS)
    sys.stderr.write(f"{count} files: {steps}; {cost.memory:.0f} MiB\n")
    return cost


def measure(most: int) -> Report:
    """From the smallest to the largest."""
    with tempfile.TemporaryDirectory() as folder:
        # for this process and for its workers
        os.environ[DIRECTORY_VARIABLE] = folder
        build_accelerator(Path(folder))
        with connect(Access()) as mount:
            mount.mkdir(TOP, 0o755)
        found = {count: cost_of(count) for count in sizes(most)}
    cases = [
        case
        for count, cost in found.items()
        for case in (
            *(Case(f"{count} files", step, "1/s", [count / cost.seconds[step]]) for step in STEPS),
            Case(f"{count} files", WALKS, "MiB", [cost.memory]),
        )
    ]
    return Report.here(cases, list(_ratios(found)))


def _ratios(found: dict[int, Cost]) -> Iterator[Ratio]:
    least, most = min(found), max(found)
    for step in STEPS:
        rates = [count / found[count].seconds[step] for count in (least, most)]
        yield Ratio(f"{step}: {most} files / {least} files", rates[1] / rates[0], KEPT)
    # higher is better, here too
    yield Ratio(f"256 MiB / {WALKS}", MEMORY / max(cost.memory for cost in found.values()), 1.0)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="how a migration's cost grows with its tree")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--most", type=int, default=MOST, help="files of the largest tree")
    options = parser.parse_args()
    return tell(lambda: measure(options.most), as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
