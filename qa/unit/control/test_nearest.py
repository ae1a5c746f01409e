"""The name that somebody may have meant."""

import time

import pytest

from mgr_fscrypt.control.nearest import COMPARED, nearest
from qa.load.promptness import prompt

BAR = 0.25
"""Seconds of a busy machine; an idle one takes a sixth of it. difflib's own way takes 1 s for the paths below."""


def test_a_slip_of_the_hand_is_seen():
    names = ("/volumes/other", "/volumes/home", "/home")
    assert nearest("/volumes/hmoe", names) == "/volumes/home"


@pytest.mark.parametrize("names", [(), ("entirely", "different")])
def test_nothing_is_near(names: tuple[str, ...]):
    assert nearest("xyz0", names) is None


def test_the_same_letters_in_another_order_are_not_near():
    assert nearest("fedcba", ("abcdef", "fedcbb")) == "fedcbb"
    assert nearest("fedcba", ("abcdef",)) is None


def test_names_that_differ_at_their_end_are_told_apart():
    depth = "/deep" * 60
    assert nearest(f"{depth}/hmoe", (f"{depth}/away", f"{depth}/home")) == f"{depth}/home"


def test_only_the_first_are_looked_at():
    others = [f"{number:08}" for number in range(COMPARED)]
    assert nearest("abcdefgx", ["abcdefgh", *others]) == "abcdefgh"
    assert nearest("abcdefgx", [*others, "abcdefgh"]) is None


@pytest.mark.parametrize("length", [190, 4000])
def test_who_chooses_the_names_holds_up_nobody(length: int):
    names = [
        "".join("abcde"[number * step % 5] for step in range(length)) + str(number)
        for number in range(1, 3 * COMPARED)
    ]
    for name in ("edcba" * (length // 5), "ab" * (length // 2)):
        begun = time.process_time()
        nearest(name, names)
        prompt(time.process_time() - begun, BAR)
