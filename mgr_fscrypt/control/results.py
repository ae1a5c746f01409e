"""Answers as values: what to print, the errno for a program, one line for a person."""

import errno
import json
from collections.abc import Callable
from dataclasses import dataclass
from logging import Logger
from typing import Protocol, Self

from .text import one_line
from .values import Simplified

LONGEST = 20_000
"""Characters of a status line: room for two paths of PATH_MAX, but not for an argument of megabytes."""
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
            return -errno.EINVAL, "", _short_line(f'there is no format "{form}"; use one of {known}')
        status = _short_line(self.status)
        if self.answer is None:
            return -self.code, "", status
        if form == "plain":
            return -self.code, self.answer.plain(), status
        indent = 2 if form == "json-pretty" else None
        return -self.code, json.dumps(self.answer.simplified(), indent=indent), status


def guarded(work: Callable[[], Result], log: Logger) -> Result:
    """Give the result of the work; what nobody thought of goes to the log with its traceback, not to a terminal."""
    try:
        return work()
    except Exception as error:
        log.exception("a command failed by a mistake of this module")
        return Result.failed(
            errno.EIO,
            f"internal error ({type(error).__name__}); see what was done with `ceph fscrypt subtree ls`, and report "
            "it with this minute of the manager's log",
        )


def _short_line(text: str) -> str:
    """One line that moves no cursor, whatever names and arguments are in it; the end is what says what to do."""
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
    return one_line(text)
