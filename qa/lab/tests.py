"""`qa/run test`: the lab's own tests, lint and types, unit tests and cluster tests, releases side by side."""

import shutil
import sys
import unittest
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from . import selfcheck
from .cache import Cache
from .releases import TENTACLE, Release
from .report import LabError, Progress, StepError, tail
from .source import SOURCE, copy_source
from .workplace import Workplace, enter

_LINES_OF_A_FAILURE = 150
_ALL = "all"


@dataclass(frozen=True)
class Outcome:
    """What one part of the run came to: how many tests, and the steps that failed."""

    subject: str
    passed: int
    failed: int
    skipped: int
    failures: tuple[StepError, ...]


def run(releases: Sequence[Release], cache: Cache, progress: Progress, *, only: Sequence[str]) -> int:
    """Run everything (or the test files in `only`); answer the exit code. The log of what failed is shown."""
    with (
        copy_source(cache, "test") as source,
        ThreadPoolExecutor(len(releases)) as pool,
        # left before the pool: an interrupt ends the chambers, and with them what the pool's threads wait for
        ExitStack() as chambers,
    ):
        # chambers end with the thread that starts them: all start here, in the main one
        places = [
            chambers.enter_context(
                enter(release, source.parent / release.name, cache, progress, source=source)
            )
            for release in releases
        ]
        outcomes = [] if only else [_selfcheck(source.parent / "selfcheck.log", progress)]
        outcomes += pool.map(lambda place: _test(place, only), places)
        return _tell(outcomes, cache.place("logs"))


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
            _tox(place, f"key managers {name}", "kms", files, "--junitxml=/cluster/results-kms.xml")
        except StepError as error:
            failures.append(error)
        return _tell([_outcome(place, failures)], cache.place("logs"))


def _selfcheck(log: Path, progress: Progress) -> Outcome:
    progress.say("the lab checks itself")
    with log.open("w") as output:
        suite = unittest.defaultTestLoader.loadTestsFromModule(selfcheck)
        result = unittest.TextTestRunner(output).run(suite)
    failed = len(result.failures) + len(result.errors)
    failures = (StepError("the lab's own tests", log),) if failed else ()
    return Outcome("the lab", result.testsRun - failed, failed, len(result.skipped), failures)


def _test(place: Workplace, only: Sequence[str]) -> Outcome:
    failures: list[StepError] = []

    def attempt(what: str, environment: str, *arguments: str) -> None:
        try:
            _tox(place, what, environment, *arguments)
        except StepError as error:
            failures.append(error)

    if not only:
        # style and types do not depend on the release
        if place.release is TENTACLE:
            attempt("lint", "lint")
            attempt("types", "types")
        attempt("unit tests", "tests", "qa/unit", "--junitxml=/cluster/results-unit.xml")
        if place.release is TENTACLE:
            attempt("key managers", "kms", "qa/kms", "--junitxml=/cluster/results-kms.xml")
    try:
        place.boot()
    except StepError as error:
        failures.append(error)
    else:
        files = only or ["qa/cluster", "qa/facts"]
        attempt("cluster tests", "tests", *files, "--junitxml=/cluster/results-cluster.xml")
        if not only and place.release is TENTACLE:
            attempt("tenants", "kms", "qa/tenants", "--junitxml=/cluster/results-tenants.xml")
    return _outcome(place, failures)


def _outcome(place: Workplace, failures: Sequence[StepError]) -> Outcome:
    counts = [_counts(file) for file in (place.folder / "cluster").glob("results-*.xml")]
    passed, failed, skipped = (sum(column) for column in zip((0, 0, 0), *counts, strict=True))
    return Outcome(
        f"{place.release.name} ({place.release.version})", passed, failed, skipped, tuple(failures)
    )


def _tox(place: Workplace, what: str, environment: str, *arguments: str) -> None:
    # nothing behind the dashes would take the place of the environment's own arguments
    words = ["--", *arguments] if arguments else []
    log = place.step(what, "tox", "run", "-q", "--skip-pkg-install", "-e", environment, *words)
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith("sampled: "):
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
            kept = shutil.copy(failure.log, logs / f"failed-{outcome.subject.split()[0]}-{failure.log.name}")
            sys.stdout.write(
                f"---- {failure}; the end of {kept}:\n{tail(failure.log, _LINES_OF_A_FAILURE)}\n"
            )
    for outcome in outcomes:
        verdict = "; ".join(str(failure) for failure in outcome.failures) or "all steps passed"
        counts = f"{outcome.passed} passed, {outcome.failed} failed, {outcome.skipped} skipped"
        sys.stdout.write(f"{outcome.subject}: {counts}; {verdict}\n")
    passed = sum(outcome.passed for outcome in outcomes)
    # a step that fails outside of a test (lint, boot) counts as one failure
    failed = sum(max(outcome.failed, len(outcome.failures)) for outcome in outcomes)
    sys.stdout.write(
        f"{passed} passed, {failed} failed, {sum(outcome.skipped for outcome in outcomes)} skipped\n"
    )
    return 1 if failed or not passed else 0
