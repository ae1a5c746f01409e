"""`qa/run test`: the lab's own tests, lint and types, unit tests and cluster tests, releases side by side."""

import sys
import time
import unittest
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from . import assets, selfcheck
from .cache import Cache
from .releases import RELEASES, TENTACLE, Release
from .report import LabError, Progress, StepError, tail
from .source import SOURCE, commit, copy_source
from .workplace import Workplace, enter

_LINES_OF_A_FAILURE = 150
_ALL = "all"
# clusters of each release at first: most tests wait for Ceph's timers, so two of them take little more time than one.
# When a release is through, as many of the other one's come in their place
_SIDES = 2
_TOLD_AS_LONGEST = 12
# rooms of unit tests that touch neither Ceph nor what comes with a release: once is enough. (What ceph-mgr loads of
# them runs in that of 18.2, and its Python, in qa/cluster.)
_OF_NO_RELEASE = (
    "api",
    "control",
    "dashboard",
    "door",
    "format",
    "hygiene",
    "keys",
    "load",
    "manual",
    "messages",
    "migrate",
    "store",
)
# other files of a folder that one call of pytest runs: each call takes some seconds to begin
_TOGETHER = 3
# what `qa/run test` tells of at its end; the order matters, not the times
_LONGEST = (
    "qa/cluster/test_service.py",
    "qa/cluster/test_client_commands.py",
    "qa/cluster/test_dead_clients.py",
    "qa/cluster/test_fsx.py",
    "qa/cluster/test_engine_modes.py",
    "qa/cluster/test_gates.py",
    "qa/cluster/test_spikes.py",
    "qa/cluster/test_mode_kills.py",
    "qa/cluster/test_kills.py",
    "qa/cluster/test_hygiene.py",
    "qa/cluster/test_migration.py",
    "qa/cluster/test_manager.py",
    "qa/cluster/test_client_keys.py",
    "qa/cluster/test_subtree_acts.py",
    "qa/cluster/test_migration_jobs.py",
    "qa/cluster/test_demo.py",
)


@dataclass(frozen=True)
class Part:
    """One call of tox: what it is called in progress lines, its environment and what pytest is told."""

    what: str
    environment: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Took:
    """How long a part took, in seconds."""

    what: str
    seconds: float


_Worked = tuple[list[StepError], list[Took]]


@dataclass(frozen=True)
class Outcome:
    """What one release came to: how many tests, the steps that failed, and how long each part took."""

    subject: str
    passed: int
    failed: int
    skipped: int
    failures: tuple[StepError, ...]
    times: tuple[Took, ...] = ()


def run(releases: Sequence[Release], cache: Cache, progress: Progress, *, only: Sequence[str]) -> int:
    """Run everything (or the test files in `only`); answer the exit code. The log of what failed is shown."""
    with (
        copy_source(cache, "test") as source,
        ThreadPoolExecutor(len(releases) * _SIDES) as pool,
        # left before the pool: an interrupt ends the chambers, and with them what the pool's threads wait for
        ExitStack() as chambers,
    ):
        if TENTACLE in releases:
            assets.put(source, cache, progress)
        # chambers end with the thread that starts them: all start here, in the main one
        sides = {
            release: [
                chambers.enter_context(
                    enter(release, source.parent / f"{release.name}-{side}", cache, progress, source=source)
                )
                for side in range(_SIDES * len(releases))
            ]
            for release in releases
        }
        outcomes = [] if only else [_selfcheck(source.parent / "selfcheck.log", progress)]
        queues = {release: _queue(release, only) for release in releases}
        running: dict[Release, list[Future[_Worked]]] = {release: [] for release in releases}
        for turn in range(len(releases)):
            for release, places in sides.items():
                running[release] += [
                    pool.submit(_work, place, queues[release])
                    for place in places[turn * _SIDES : (turn + 1) * _SIDES]
                ]
        outcomes += [
            _outcome(release, sides[release], [side.result() for side in working])
            for release, working in running.items()
        ]
        code = _tell(outcomes, cache.place("logs"))
    if code == 0 and not only and set(releases) == set(RELEASES.values()):
        # what `qa/run release` asks for
        (cache.place("passed") / commit()).touch()
    return code


def run_kms(name: str, cache: Cache, progress: Progress) -> int:
    """Run the tests of one kind of key manager against its real server, or of all; answer the exit code.

    Raises:
        LabError: there is no such kind.
    """
    kinds = sorted(file.stem.removeprefix("test_") for file in (SOURCE / "qa/kms").glob("test_*.py"))
    if name not in (*kinds, _ALL):
        raise LabError(f"there is no key manager {name!r}; there are: {', '.join((*kinds, _ALL))}")
    files = "qa/kms" if name == _ALL else f"qa/kms/test_{name}.py"
    with (
        copy_source(cache, "kms") as source,
        enter(TENTACLE, source.parent / TENTACLE.name, cache, progress, source=source) as place,
    ):
        failures: list[StepError] = []
        try:
            _tox(place, Part(f"key managers {name}", "kms", (files,)))
        except StepError as error:
            failures.append(error)
        return _tell([_outcome(TENTACLE, [place], [(failures, [])])], cache.place("logs"))


def _selfcheck(log: Path, progress: Progress) -> Outcome:
    progress.say("the lab checks itself")
    with log.open("w") as output:
        suite = unittest.defaultTestLoader.loadTestsFromModule(selfcheck)
        result = unittest.TextTestRunner(output).run(suite)
    failed = len(result.failures) + len(result.errors)
    failures = (StepError("the lab's own tests", log),) if failed else ()
    return Outcome("the lab", result.testsRun - failed, failed, len(result.skipped), failures)


def _parts(release: Release, only: Sequence[str]) -> list[Part]:
    """What is to be run of a release, longest first: what is begun last should not be waited for long."""
    if only:
        return [Part(_title(name), "tests", (name,)) for path in only for name in _files(path)]
    if release is TENTACLE:
        # style, types, key managers and the manual do not depend on it; Ceph's dashboard has our API on this one alone
        parts = [
            Part("unit tests", "tests", ("qa/unit",)),
            Part("key managers", "kms", ("qa/kms",)),
            Part("the API", "web", ("qa/web",)),
            Part("types", "types"),
            Part("tenants", "kms", ("qa/tenants",)),
            Part("commands of the manual", "kms", ("qa/manual",)),
            Part("the manual", "manual"),
            Part("lint", "lint"),
            Part("Python programs", "fsspec", ("qa/fsspec",)),
        ]
    else:
        # what their libraries ask of ours is the same on all releases: fsspec's many own tests run on one
        lean = ("qa/fsspec/test_documentation.py", "qa/fsspec/test_frames.py")
        parts = [Part("unit tests", "tests", _units()), Part("Python programs", "fsspec", lean)]
    parts += [Part(_title(name), "tests", (name,)) for name in _LONGEST]
    for folder in ("qa/cluster", "qa/facts"):
        files = [name for name in _files(folder) if name not in _LONGEST]
        parts += [_together(files[n : n + _TOGETHER]) for n in range(0, len(files), _TOGETHER)]
    return parts


def _together(files: Sequence[str]) -> Part:
    more = f" to {_title(files[-1]).split()[-1]}" if len(files) > 1 else ""
    return Part(_title(files[0]) + more, "tests", tuple(files))


def _units() -> tuple[str, ...]:
    """Unit tests of what depends on the release."""
    places = (SOURCE / "qa/unit").glob("[a-z]*")
    return tuple(sorted(f"qa/unit/{each.name}" for each in places if each.name not in _OF_NO_RELEASE))


def _files(path: str) -> list[str]:
    """The test files of a folder, or the file itself, as seen from the source."""
    if not (SOURCE / path).is_dir():
        return [path]
    return sorted(str(file.relative_to(SOURCE)) for file in (SOURCE / path).rglob("test_*.py"))


def _title(name: str) -> str:
    return name.removeprefix("qa/").replace("/", " ").removesuffix(".py")


def _queue(release: Release, only: Sequence[str]) -> SimpleQueue[Part]:
    parts: SimpleQueue[Part] = SimpleQueue()
    for part in _parts(release, only):
        parts.put(part)
    return parts


def _work(place: Workplace, parts: SimpleQueue[Part]) -> _Worked:
    """Boot one cluster, and run parts on it until none is left; what failed, and how long each took."""
    failures: list[StepError] = []
    times: list[Took] = []
    if parts.empty():
        return failures, times
    try:
        place.boot()
    except StepError as error:
        return [error], times
    while True:
        try:
            part = parts.get_nowait()
        except Empty:
            return failures, times
        begun = time.monotonic()
        try:
            _tox(place, part)
        except StepError as error:
            failures.append(error)
        times.append(Took(part.what, time.monotonic() - begun))


def _outcome(release: Release, places: Sequence[Workplace], sides: Sequence[_Worked]) -> Outcome:
    results = [file for place in places for file in (place.folder / "cluster").glob("results-*.xml")]
    passed, failed, skipped = (sum(column) for column in zip((0, 0, 0), *map(_counts, results), strict=True))
    failures = tuple(failure for side, _ in sides for failure in side)
    times = tuple(took for _, side in sides for took in side)
    return Outcome(f"{release.name} ({release.version})", passed, failed, skipped, failures, times)


def _tox(place: Workplace, part: Part) -> None:
    results = f"--junitxml=/cluster/results-{part.what.replace(' ', '-')}.xml"
    # nothing behind the dashes would take the place of the environment's own arguments
    words = ["--", *part.files, results] if part.files else []
    log = place.step(part.what, "tox", "run", "-q", "--skip-pkg-install", "-e", part.environment, *words)
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith(("sampled: ", "RERUN ")):
            place.progress.say(f"{place.release.name}: {line}")


def _counts(file: Path) -> tuple[int, int, int]:
    """(passed, failed, skipped) of one JUnit file, which is pytest's own and made by this run."""
    passed = failed = skipped = 0
    for suite in ElementTree.parse(file).getroot().iter("testsuite"):  # noqa: S314 - see the docstring
        bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        left_out = int(suite.get("skipped", 0))
        passed += int(suite.get("tests", 0)) - bad - left_out
        failed += bad
        skipped += left_out
    return passed, failed, skipped


def _tell(outcomes: Sequence[Outcome], logs: Path) -> int:
    for outcome in outcomes:
        for failure in outcome.failures:
            failure.keep_log(logs, outcome.subject.split()[0])
            sys.stdout.write(
                f"---- {failure}; the end of {failure.log}:\n{tail(failure.log, _LINES_OF_A_FAILURE)}\n"
            )
    for outcome in outcomes:
        verdict = "; ".join(str(failure) for failure in outcome.failures) or "all steps passed"
        counts = f"{outcome.passed} passed, {outcome.failed} failed, {outcome.skipped} skipped"
        sys.stdout.write(f"{outcome.subject}: {counts}; {verdict}\n")
        longest = sorted(outcome.times, key=lambda took: took.seconds, reverse=True)[:_TOLD_AS_LONGEST]
        if longest:
            told = ", ".join(f"{took.what} {took.seconds:.0f} s" for took in longest)
            sys.stdout.write(f"{outcome.subject}: longest: {told}\n")
    passed = sum(outcome.passed for outcome in outcomes)
    # a step that fails outside of a test (lint, boot) counts as one failure
    failed = sum(max(outcome.failed, len(outcome.failures)) for outcome in outcomes)
    sys.stdout.write(
        f"{passed} passed, {failed} failed, {sum(outcome.skipped for outcome in outcomes)} skipped\n"
    )
    return 1 if failed or not passed else 0
