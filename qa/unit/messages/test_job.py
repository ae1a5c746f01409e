"""What may be wished, and how it stands."""

from dataclasses import asdict, replace
from typing import Any

import pytest

from mgr_fscrypt.messages import MessageError
from mgr_fscrypt.messages.exchange import Answer
from mgr_fscrypt.messages.job import (
    LONGEST_EXAMPLE,
    LONGEST_OPTIONS,
    LONGEST_RESULT,
    LONGEST_WHY,
    MOST_ERRORS,
    MOST_EXAMPLES,
    JobError,
    JobState,
    JobWish,
    result_text,
)
from mgr_fscrypt.messages.lines import LONGEST, line_of
from mgr_fscrypt.messages.strict import decoded

ID = "00112233445566778899aabbccddeeff"
WISH = JobWish(ID, "verify", 1, "/a", {"rate": 5})
STATE = JobState(WISH, "done", "", 1.0, 2, 2, "entries", 0.0, None, (), "", 0, 1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"id": "1"}, "id must be 32"),
        ({"kind": "Verify it"}, "kind must be a word"),
        ({"fscid": -1}, "fscid must be"),
        ({"path": "a"}, "path must be absolute"),
        ({"path": "/" + "\N{LOCK}" * 1024}, "path must be at most 4096 bytes"),
        ({"options": {"Rate": 1}}, "options must be named"),
        ({"options": {f"o{number}": 1 for number in range(33)}}, "options must be at most 32"),
        ({"options": {"a": "x" * (LONGEST_OPTIONS + 1)}}, "options must be at most"),
        ({"options": {"rate": None}}, "wish.options.rate must be of the type"),
        ({"options": {"rate": [5]}}, "wish.options.rate must be of the type"),
        ({"options": [5]}, "wish.options must be a JSON object"),
        ({"key": "s"}, "unknown field key"),
    ],
)
def test_other_wishes_are_refused(fields: dict[str, Any], says: str):
    with pytest.raises(MessageError, match=says):
        decoded(JobWish, asdict(WISH) | fields, "wish")


def test_wishes_are_compared_by_what_is_asked_for():
    assert WISH.same_as(replace(WISH, id="f" * 32))
    for other in ({"kind": "other"}, {"fscid": 2}, {"path": "/b"}, {"options": {}}):
        assert not WISH.same_as(replace(WISH, **other))


def test_results_are_objects():
    assert replace(STATE, result=result_text({"found": 1})).outcome() == {"found": 1}
    assert STATE.outcome() == {}
    with pytest.raises(MessageError, match="a JSON object"):
        replace(STATE, result="[]").outcome()
    with pytest.raises(MessageError, match="must be JSON"):
        result_text({"found": b"bytes"})
    with pytest.raises(MessageError, match="at most"):
        result_text({"found": "x" * LONGEST_RESULT})


def test_the_largest_state_is_a_line():
    wish = JobWish(ID, "verify", 1, "/" + "\x01" * 4095, {"a": "\N{LOCK}" * LONGEST_OPTIONS})
    error = JobError("e" * 64, 1, ("\\" * LONGEST_EXAMPLE,) * MOST_EXAMPLES)
    state = replace(
        STATE,
        wish=wish,
        why="\N{LOCK}" * LONGEST_WHY,
        errors=(error,) * MOST_ERRORS,
        result='"' * LONGEST_RESULT,
    )
    assert len(line_of(Answer(1, state).encode())) < LONGEST
