"""What is refused, as programs read it: what it is called, what happened, what to do next."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from ..control import Result
from ..control.outages import Outage
from .exchange import MEDIA_TYPE, Reply
from .statuses import WORDS, status_of, word_of


class ProblemError(Exception):
    """Raised where a request is refused before any command was given.

    Args:
        status: of HTTP.
        detail: what happened, and what was left as it was.
        step: what to do next; empty: nothing helps.
        headers: that the reply has besides.
    """

    def __init__(
        self, status: int, detail: str, step: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.step = step
        self.headers = dict(headers or {})

    def reply(self) -> Reply:
        """What is sent. Where nobody can tell who asks, nothing answers them."""
        told: dict[str, object] = {"code": WORDS[self.status], "detail": self.detail, "next": self.step}
        if self.status == 503:
            told |= {"down": [], "works": []}
        return _reply(self.status, told, self.headers)


def refusal(
    result: Result, value: str = "null", *, down: Sequence[Outage] = (), works: Sequence[str] = ()
) -> Reply:
    """What is sent where a command refused.

    Args:
        result: its result.
        value: what it answered all the same, as JSON.
        down: what does not work now.
        works: the operations that answer all the same.
    """
    status = status_of(result.code)
    detail, step = parted(result.status)
    told: dict[str, object] = {"code": word_of(result.code), "detail": detail, "next": step}
    if status == 503:
        told["down"] = [asdict(each) for each in down]
        told["works"] = list(works)
    headers = {"Retry-After": "5"} if status == 503 else {}
    return _reply(status, told, headers, value)


def parted(said: str) -> tuple[str, str]:
    """What happened, and what to do next, of a status line: they stand on the sides of its last semicolon."""
    detail, _, step = said.rpartition("; ")
    # that nothing happened is no advice
    return (detail, step) if detail and not step.startswith("nothing was changed") else (said, "")


def _reply(
    status: int, told: Mapping[str, str | object | Sequence[str]], headers: Mapping[str, str], value: str = ""
) -> Reply:
    text = json.dumps(told)
    if value and value != "null":
        text = f'{text[:-1]}, "value": {value}}}'
    return Reply(status, text.encode(), {"Content-Type": MEDIA_TYPE, **headers})
