"""A long test: numbered cases drawn from one seed, gone on with where it stopped, and the record of a full run."""

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import SystemRandom

from qa.lab.cluster import Cluster

from .workers import Opened, Outcome, outcomes

_SAVE_EVERY = 5.0


@dataclass
class Run:
    """What a run has come to; saved every few seconds, so that a killed one goes on.

    All cases below `done` were done, and those `ahead` of it. `operations` counts them by kind; `commits` are those of
    the code that did it, in turn.
    """

    seed: int
    done: int = 0
    ahead: list[int] = field(default_factory=list)
    seconds: float = 0.0
    operations: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, object]] = field(default_factory=list)
    commits: list[str] = field(default_factory=list)

    @property
    def cases(self) -> int:
        """How many were done."""
        return self.done + len(self.ahead)

    def left(self, size: int) -> Iterator[int]:
        """The numbers of the cases that are still to be done."""
        known = set(self.ahead)
        return (number for number in range(self.done, size) if number not in known)

    def take(self, outcome: Outcome, operations: int) -> None:
        """A case was done, of so many operations."""
        self.operations = dict(Counter(self.operations) + Counter({outcome.kind: operations}))
        if outcome.wrong is not None:
            self.failures.append({"case": outcome.number, "kind": outcome.kind, "what": outcome.wrong})
        self.ahead.append(outcome.number)
        while self.done in self.ahead:
            self.ahead.remove(self.done)
            self.done += 1


def main(name: str, size: int, opened: Opened, arguments: Sequence[str], *, operations: int = 1) -> int:
    """Run the cases of the long test NAME up to its full `size` (or --n); write its record; 1 if any failed.

    Case i depends on the seed and i alone, so that a failure is shown again by its number, whoever else runs beside
    it. Each counts as so many `operations` in the record.
    """
    parser = argparse.ArgumentParser(prog=f"qa/run soak {name}")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--n", type=int, default=size)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args(arguments)
    run = _resume(options.state, options.seed)
    sys.stderr.write(f"{name}: seed {run.seed}, {run.cases} of {options.n} cases were done before\n")
    started, saved = time.monotonic() - run.seconds, time.monotonic()
    try:
        with closing(outcomes(opened, run.seed, run.left(options.n), options.jobs)) as stream:
            for outcome in stream:
                run.take(outcome, operations)
                if outcome.wrong is not None:
                    sys.stderr.write(f"{name}: case {outcome.number} ({outcome.kind}): {outcome.wrong}\n")
                run.seconds = time.monotonic() - started
                if time.monotonic() - saved > _SAVE_EVERY:
                    saved = time.monotonic()
                    _save(options.state, run)
                    sys.stderr.write(f"{name}: {run.cases} of {options.n}, {len(run.failures)} failed\n")
    finally:
        _save(options.state, run)
    record = {
        "name": name,
        "commits": run.commits,
        "versions": {
            "ceph": Cluster.current().ceph("--version").split()[2],
            "python": sys.version.split()[0],
        },
        "n": run.cases,
        "operations": run.operations,
        "seed": run.seed,
        "seconds": round(run.seconds, 1),
        "failures": run.failures,
    }
    options.state.with_suffix(".result").write_text(json.dumps(record, indent=2) + "\n")
    sys.stderr.write(f"{name}: {run.cases} cases in {run.seconds:.0f} s, {len(run.failures)} failed\n")
    return 1 if run.failures else 0


def _resume(state: Path, seed: int | None) -> Run:
    run = Run(SystemRandom().randrange(1 << 32) if seed is None else seed)
    if state.exists():
        kept = Run(**json.loads(state.read_text()))
        if seed in (None, kept.seed):
            run = kept
    commit = os.environ.get("FSCRYPT_QA_COMMIT", "unknown")
    if run.commits[-1:] != [commit]:
        run.commits.append(commit)
    return run


def _save(state: Path, run: Run) -> None:
    whole = state.with_suffix(".new")
    whole.write_text(json.dumps(asdict(run)))
    whole.replace(state)
