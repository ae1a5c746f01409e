"""Cases of a long test side by side: each is done once, and by its number alone."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from qa.soak.state import Run
from qa.soak.workers import Cases, outcomes

COUNT = 12


def _drawn(chance: random.Random) -> str | None:
    return str(chance.random())


def _ends(chance: random.Random) -> str | None:
    os._exit(3)


@contextmanager
def cases() -> Iterator[Cases]:
    yield {"one": _drawn, "other": _drawn, "third": lambda _: None}


@contextmanager
def cases_that_end() -> Iterator[Cases]:
    yield {"ends": _ends}


def test_a_case_depends_on_seed_and_number_alone():
    alone = list(outcomes(cases, 5, iter(range(COUNT)), 1))
    together = sorted(outcomes(cases, 5, iter(range(COUNT)), 3), key=lambda outcome: outcome.number)
    assert alone == together
    assert [outcome.kind for outcome in alone[:4]] == ["one", "other", "third", "one"]


def test_a_process_that_ends_by_itself_ends_the_run():
    with pytest.raises(RuntimeError, match="case 7 ended by itself, with 3"):
        list(outcomes(cases_that_end, 5, iter([7]), 2))


def test_what_was_done_out_of_turn_is_not_done_again():
    run = Run(seed=5)
    numbers = {outcome.number: outcome for outcome in outcomes(cases, 5, iter(range(COUNT)), 1)}
    for number in (0, 3, 1, 5):
        run.take(numbers[number], 1000)
    assert (run.done, sorted(run.ahead), run.cases) == (2, [3, 5], 4)
    assert list(run.left(8)) == [2, 4, 6, 7]
    run.take(numbers[2], 1000)
    run.take(numbers[4], 1000)
    assert (run.done, run.ahead, run.cases) == (6, [], 6)
    assert run.operations == {"one": 2000, "other": 2000, "third": 2000}
    assert [failure["case"] for failure in run.failures] == [0, 3, 1, 4]
