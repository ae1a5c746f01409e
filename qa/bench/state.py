"""``python3 -m qa.bench.state [--json]``: what the manager answers with a million registered subtrees, and how fast.

The register lies in the manager's own database, in RADOS. Each question is asked at random places; its time is that of
a client, from the question to the answer. The bars are in milliseconds, for the median.
"""

import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

from qa.lab.cluster import Cluster

from .manager_load.asking import Asking, asking
from .manager_load.million import GROUPS, SUBTREES, TENANTS, fill, key_of, path_of
from .report import Case, Ratio, Report, run_bench

ROUNDS = 30
PAGE = 100
BAR = 50.0
"""Milliseconds for a page of so many."""


@dataclass(frozen=True)
class Question:
    """A command, its arguments at a random place, and the milliseconds that it may take."""

    command: str
    arguments: Callable[[random.Random], Mapping[str, object]]
    bar: float


def _page(**filters: Callable[[random.Random], object]) -> Question:
    def arguments(chance: random.Random) -> Mapping[str, object]:
        return {"limit": PAGE, "format": "json"} | {name: value(chance) for name, value in filters.items()}

    return Question("fscrypt subtree ls", arguments, BAR)


def _place(chance: random.Random) -> str:
    return f"1:{path_of(chance.randrange(SUBTREES))}"


def _key(chance: random.Random) -> str:
    return key_of(chance.randrange(SUBTREES))


def _tenant(chance: random.Random) -> str:
    return f"tenant-{chance.randrange(TENANTS)}"


QUESTIONS: Mapping[str, Question] = {
    "status": Question("fscrypt status", lambda _chance: {}, BAR / 2),
    "show one": Question(
        "fscrypt subtree show",
        lambda chance: {"fs": "cephfs", "path": path_of(chance.randrange(SUBTREES))},
        BAR,
    ),
    "page": _page(after=_place),
    "page of 1000": Question(
        "fscrypt subtree ls",
        lambda chance: {"limit": 1000, "after": _place(chance), "format": "json"},
        3 * BAR,
    ),
    "page as a table": Question(
        "fscrypt subtree ls", lambda chance: {"limit": PAGE, "after": _place(chance)}, BAR
    ),
    "by mode": _page(after=_place, mode=lambda _chance: "kernel"),
    "by key": _page(master_key=_key),
    "by key's name": _page(master_key=lambda chance: f"key-{chance.randrange(SUBTREES) % 50_000}"),
    "by key and mode": _page(master_key=_key, mode=lambda _chance: "kernel"),
    "by tenant": _page(tenant=_tenant),
    "by tenant and state": _page(tenant=lambda _chance: "tenant-0", state=lambda _chance: "disabled"),
    "by state": _page(state=lambda _chance: "disabled"),
    "below": _page(below=lambda chance: f"/volumes/group-{chance.randrange(GROUPS):04}"),
    "by text, often": _page(after=_place, text=lambda _chance: "csi-vol"),
    "by text, never": _page(after=_place, text=lambda _chance: "nowhere"),
    "show": Question(
        "fscrypt show",
        lambda chance: {
            "limit": PAGE,
            "after": f"1:subtree:{path_of(chance.randrange(SUBTREES))}",
            "format": "json",
        },
        BAR,
    ),
}


def measure() -> Report:
    """Ask all questions in turns."""
    cluster = Cluster.current()
    fill(cluster)
    runs: dict[str, list[float]] = {name: [] for name in QUESTIONS}
    chance = random.Random(20_26)
    with asking() as manager:
        for _ in range(ROUNDS):
            for name, question in QUESTIONS.items():
                runs[name].append(_asked(manager, question, chance))
    cases = [Case(name, "manager", "ms", figures) for name, figures in runs.items()]
    # higher is better
    ratios = [
        Ratio(f"{question.bar:g} ms / {name}", question.bar / median(runs[name]), 1.0)
        for name, question in QUESTIONS.items()
    ]
    return Report.here(cases, ratios)


def _asked(manager: Asking, question: Question, chance: random.Random) -> float:
    return manager.timed(question.command, **question.arguments(chance))


if __name__ == "__main__":
    sys.exit(run_bench("the manager's answers with a million registered subtrees", measure))
