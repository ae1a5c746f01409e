"""Answers as values: what to print, the errno for a program, one line for a person."""

import errno
import json
from dataclasses import dataclass
from typing import Protocol, Self

from .values import Simplified

FORMATS = ("plain", "json", "json-pretty")


class Answer(Protocol):
    """A value that can be shown."""

    def plain(self) -> str:
        """Show it to a person."""
        ...

    def simplified(self) -> Simplified:
        """Show it to a program, as plain JSON types."""
        ...


@dataclass(frozen=True)
class Result:
    """The outcome of one command.

    Args:
        code: 0, or the errno (positive) that tells programs what went wrong.
        status: one line; of a failure: what happened, what was left as it was, what to do next.
        answer: what was asked for.
    """

    code: int = 0
    status: str = ""
    answer: Answer | None = None

    @classmethod
    def failed(cls, code: int, status: str) -> Self:
        """Give the result of a command that did not do what was asked."""
        return cls(code=code, status=status)

    @property
    def success(self) -> bool:
        """Whether the command did what was asked."""
        return self.code == 0

    def rendered(self, form: str | None) -> tuple[int, str, str]:
        """Give what a Ceph command returns: 0 or a negative errno, the output, the status line.

        Args:
            form: one of `FORMATS`; None is "plain".
        """
        form = form or "plain"
        if form not in FORMATS:
            known = ", ".join(FORMATS)
            return -errno.EINVAL, "", f'there is no format "{form}"; use one of {known}'
        if self.answer is None:
            return -self.code, "", self.status
        if form == "plain":
            return -self.code, self.answer.plain(), self.status
        indent = 2 if form == "json-pretty" else None
        return -self.code, json.dumps(self.answer.simplified(), indent=indent), self.status
