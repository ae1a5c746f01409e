"""Answers as values: what to print, the errno for a program, one line for a person."""

import errno
import json
from collections.abc import Callable
from dataclasses import dataclass
from logging import Logger
from typing import Protocol, Self

import yaml

from .text import one_line, shortened
from .values import Simplified

LONGEST = 20_000
"""Characters of a status line: room for two paths of PATH_MAX, but not for an argument of megabytes."""
FORMATS = ("plain", "json", "json-pretty", "yaml")


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
        changed: whether something was changed, or by a dry run would be.
        parts: what was done one by one, where it was more than one thing.
        shut: identifiers of the keys that open for nobody any more by what was changed.
    """

    code: int = 0
    status: str = ""
    answer: Answer | None = None
    changed: bool = False
    parts: "tuple[Part, ...]" = ()
    shut: tuple[str, ...] = ()

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

        Where nothing but the status is to be told, a program finds it in the output too.

        Args:
            form: one of `FORMATS`; None is "plain".
        """
        form = form or "plain"
        if form not in FORMATS:
            known = ", ".join(FORMATS)
            return -errno.EINVAL, "", _short_line(f'there is no format "{form}"; use one of {known}')
        status = _short_line(self.status)
        if self.answer is None and (form == "plain" or not self.success):
            return -self.code, "", status
        if self.answer is not None and form == "plain":
            return -self.code, self.answer.plain(), status
        value = {"status": status} if self.answer is None else self.answer.simplified()
        return -self.code, _written(value, form), status


@dataclass(frozen=True)
class Part:
    """One of the things that a command did, or refused: what it was about, and how it ended."""

    about: tuple[str, ...]
    result: Result


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


def _written(value: Simplified, form: str) -> str:
    if form == "yaml":
        return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))
    # piece by piece: made in one call, a large text would hold ceph-mgr's interpreter all the time
    return "".join(json.JSONEncoder(indent=2 if form == "json-pretty" else None).iterencode(value))


def _short_line(text: str) -> str:
    """One line that moves no cursor, whatever names and arguments are in it."""
    return one_line(shortened(text, LONGEST))
