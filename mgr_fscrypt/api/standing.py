"""What a form is held to where what it changes moves by itself, too: that part of it that people put so."""

import errno
from collections.abc import Callable, Mapping
from typing import Any

from ..control import RefusalError, Result

_AS_PEOPLE_PUT_IT = {
    "queued": "going",
    "running": "going",
    "waiting": "going",
    "pausing": "paused",
    "cancelling": "cancelled",
}
"""Of a job: states that follow each other by themselves are one."""
_OF_A_RUNG = (
    *("rung", "namespace", "admitted", "kept", "open_paths"),
    *("grace", "confirmed", "spared_entities", "gateways", "wanted"),
)


def standing(command: str, shown: Result) -> object:
    """Tell what people have put of what a command shows, as plain JSON types.

    Raises:
        RefusalError: nobody can tell now.
    """
    if shown.code == errno.ENOENT and command in _ABSENT:
        return _ABSENT[command]
    if shown.answer is None or not shown.success:
        raise RefusalError(shown.code, shown.status)
    return _PUT[command](shown.answer.simplified())


def _job(job: Mapping[str, Any]) -> object:
    state = job["state"]
    return _AS_PEOPLE_PUT_IT.get(state, state)


def _rungs(page: Mapping[str, Any]) -> object:
    # one that is being taken back goes by itself
    wanted = [each for each in (*page["gates"], *page["evictions"]) if each["rung"] != "observe"]
    return [[each.get(name) for name in _OF_A_RUNG] for each in wanted]


_PUT: Mapping[str, Callable[[Mapping[str, Any]], object]] = {"job show": _job, "gate show": _rungs}
_ABSENT: Mapping[str, object] = {"gate show": []}
"""What is said where there is nothing: that there is no gate is what a form may begin with."""
