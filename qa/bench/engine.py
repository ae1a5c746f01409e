"""``python3 -m qa.bench.engine [--json] [CASE...]``: the data path beside what others have, on one cluster.

Plain python-cephfs, our engine, our mount, gocryptfs on ceph-fuse, and ceph-fuse alone do the same work in turns, so
that a slow minute of the machine hits all of them. Before anything is read, its client starts anew with empty caches.
Writes count until they are durable. Ours enciphers with the compiled accelerator. Ratios are of medians; the bars are
those of the project.
"""

import argparse
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from mgr_fscrypt.format.accelerator import DIRECTORY_VARIABLE, build_accelerator
from qa.load.memory import peak_of

from .data_path.cases import MIB, fill, listing, scattered, sequential, small_files, stream
from .data_path.subjects import Subject, peak_of_engine, subjects
from .report import Case, Ratio, Report, tell

RUNS = 5
SIZE = 1024 * MIB
SCATTERED = 256 * MIB
SMALL = 10_000
MANY = 100_000
MEMORY = 256.0
"""MiB that a process of ours may have at its peak."""

_CASES: dict[str, Callable[[Subject, int], dict[str, float]]] = {
    "sequential 4 MiB": lambda subject, _: sequential(subject, SIZE, 4 * MIB),
    "sequential 64 KiB": lambda subject, _: sequential(subject, SIZE, MIB // 16),
    "random 4 KiB": lambda subject, _: scattered(subject, SCATTERED, 5000),
    "small files": small_files,
    "100,000 entries": lambda subject, _: listing(subject, MANY),
}
_UNITS = {"sequential 4 MiB": "MiB/s", "sequential 64 KiB": "MiB/s"}
_BARS = (
    ("sequential 4 MiB write", "engine", "python-cephfs", 0.9),
    ("sequential 4 MiB read", "engine", "python-cephfs", 0.9),
    ("small files create", "engine", "python-cephfs", 0.45),
    ("100,000 entries list", "engine", "python-cephfs", 0.6),
    ("sequential 4 MiB write", "our mount", "gocryptfs", 1.5),
    ("sequential 4 MiB read", "our mount", "gocryptfs", 1.5),
    ("small files create", "our mount", "gocryptfs", 1.2),
    ("small files read", "our mount", "gocryptfs", 1.2),
)


def measure(wanted: list[str], ways: list[str], runs: int, small: int) -> Report:
    """All cases in turns, or those that are wanted, by all ways, or some; with so many small files."""
    figures: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as begun:
        # for the engine here and for the process of our mount
        os.environ[DIRECTORY_VARIABLE] = folder
        build_accelerator(Path(folder))
        taking_part = [one for one in subjects(Path(folder)) if not ways or one.name in ways]
        for subject in taking_part:
            subject.begin()
            begun.callback(subject.end)
        if "100,000 entries" in wanted:
            for subject in taking_part:
                fill(subject.place, MANY)
        for case in wanted:
            for _ in range(runs):
                for subject in taking_part:
                    for what, rate in _CASES[case](subject, small).items():
                        figures.setdefault((f"{case} {what}", subject.name), []).append(rate)
                        sys.stderr.write(f"{case} {what}, {subject.name}: {rate:.0f}\n")
        peaks = dict(_peaks(taking_part))
    cases = [Case(name, subject, _unit(name), runs) for (name, subject), runs in sorted(figures.items())]
    medians = {(case.name, case.subject): case.median for case in cases}
    ratios = [
        Ratio(f"{name}: {subject} / {other}", medians[name, subject] / medians[name, other], bar)
        for name, subject, other, bar in _BARS
        if {(name, subject), (name, other)} <= medians.keys()
    ]
    # higher is better, here too
    ratios += [Ratio(f"256 MiB / peak of {name}", MEMORY / peak, 1.0) for name, peak in peaks.items()]
    return Report.here(cases, ratios)


def _peaks(taking_part: list[Subject]) -> Iterator[tuple[str, float]]:
    for subject in taking_part:
        if subject.name == "engine":
            yield subject.name, peak_of_engine(SIZE)
        elif subject.name == "our mount":
            subject.forget()
            stream(subject.place, SIZE)
            process = subject.process()
            if process is not None:
                yield subject.name, peak_of(process) / MIB


def record(report: Report, command: str, before: Path) -> str:
    """The record in `before`, which has a report for each command, with this one in it; JSON."""
    known = json.loads(before.read_text())["calls"] if before.exists() else []
    calls = [call for call in known if call["command"] != command]
    return json.dumps({"name": "engine", "calls": [*calls, {"command": command} | asdict(report)]}, indent=2)


def _unit(name: str) -> str:
    return next((unit for case, unit in _UNITS.items() if name.startswith(case)), "1/s")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="the data path beside what others have")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--runs", type=int, default=RUNS, help="of each case")
    parser.add_argument("--small", type=int, default=SMALL, help="how many small files")
    parser.add_argument("--way", action="append", default=[], help="only these ways")
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="print the record in FILE with these measurements in it"
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help="only these")
    options = parser.parse_args()

    def measured() -> Report:
        return measure(options.cases or list(_CASES), options.way, options.runs, options.small)

    if options.record is None:
        return tell(measured, as_json=options.json)
    report = measured()
    ways = [word for way in options.way for word in ("--way", way)]
    words = ["--runs", str(options.runs), "--small", str(options.small), *ways, *options.cases]
    print(record(report, f"python3 -m qa.bench.engine {shlex.join(words)}", options.record))
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
