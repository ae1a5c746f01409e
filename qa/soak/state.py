"""A long test: numbered cases drawn from one seed, gone on with where it stopped, and the record of a full run."""

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from qa.lab.cluster import Cluster

_SAVE_EVERY = 5.0

Case = Callable[[random.Random], str | None]
"""One case: draws what it does from the chance it is given; answers what was wrong, or None."""


@dataclass
class Run:
    """What a run has come to; saved every few seconds, so that a killed one goes on."""

    seed: int
    done: int = 0
    seconds: float = 0.0
    failures: list[dict[str, object]] = field(default_factory=list)


def main(name: str, size: int, case: Case, arguments: Sequence[str]) -> int:
    """Run the cases of the long test NAME up to its full `size` (or --n); write its record; 1 if any failed.

    Case i depends on the seed and i alone, so that a failure is shown again by its number.
    """
    parser = argparse.ArgumentParser(prog=f"qa/run soak {name}")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--n", type=int, default=size)
    parser.add_argument("--seed", type=int)
    options = parser.parse_args(arguments)
    run = _resume(options.state, options.seed)
    sys.stderr.write(f"{name}: seed {run.seed}, {run.done} of {options.n} cases were done before\n")
    started, saved = time.monotonic() - run.seconds, time.monotonic()
    while run.done < options.n:
        wrong = case(random.Random(f"{run.seed}:{run.done}"))
        if wrong is not None:
            run.failures.append({"case": run.done, "what": wrong})
            sys.stderr.write(f"{name}: case {run.done}: {wrong}\n")
        run.done += 1
        run.seconds = time.monotonic() - started
        if time.monotonic() - saved > _SAVE_EVERY:
            saved = time.monotonic()
            _save(options.state, run)
            sys.stderr.write(f"{name}: {run.done} of {options.n}, {len(run.failures)} failed\n")
    record = {
        "name": name,
        "commit": os.environ.get("FSCRYPT_QA_COMMIT", "unknown"),
        "versions": {
            "ceph": Cluster.current().ceph("--version").split()[2],
            "python": sys.version.split()[0],
        },
        "n": run.done,
        "seed": run.seed,
        "seconds": round(run.seconds, 1),
        "failures": run.failures,
    }
    options.state.with_suffix(".result").write_text(json.dumps(record, indent=2) + "\n")
    sys.stderr.write(f"{name}: {run.done} cases in {run.seconds:.0f} s, {len(run.failures)} failed\n")
    return 1 if run.failures else 0


def _resume(state: Path, seed: int | None) -> Run:
    if state.exists():
        run = Run(**json.loads(state.read_text()))
        if seed in (None, run.seed):
            return run
    return Run(random.SystemRandom().randrange(1 << 32) if seed is None else seed)


def _save(state: Path, run: Run) -> None:
    whole = state.with_suffix(".new")
    whole.write_text(json.dumps(asdict(run)))
    whole.replace(state)
