"""Answers as values: what to print, the errno for a program, one line for a person."""

import errno
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from logging import Logger
from typing import Protocol, Self

import yaml

from .packed import Made
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
        return -self.code, written(value, form), status


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


def written(value: Simplified, form: str) -> str:
    """Plain JSON types as a text of one of `FORMATS`, not "plain"."""
    if form == "yaml":
        return "".join(_yaml(value))
    return "".join(_json(value, 2 if form == "json-pretty" else None))


# piece by piece: made in one call, a large text would hold ceph-mgr's interpreter all the time, and of a long list no
# more than one element is there at a time (`packed`)


def _yaml(value: Simplified) -> Iterator[str]:
    if not value:
        yield _dumped(value)
    for name, each in value.items():
        if isinstance(each, Made) and len(each):
            yield f"{name}:\n"
            yield from (_dumped([element]) for element in each)
        else:
            yield _dumped({name: list(each) if isinstance(each, Made) else each})


def _dumped(value: object) -> str:
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))


def _json(value: Simplified, indent: int | None) -> Iterator[str]:
    encoder = json.JSONEncoder(indent=indent)
    line, end = ("\n" + " " * indent, "\n") if indent else ("", "")
    start = "{"
    for name, each in value.items():
        yield f"{start}{line}{json.dumps(name)}: "
        start = "," if indent else ", "
        if isinstance(each, Made) and len(each):
            yield from _listed(each, encoder, line + " " * (indent or 0))
            yield f"{line}]"
        else:
            text = encoder.iterencode(list(each) if isinstance(each, Made) else each)
            yield from (piece.replace("\n", line) for piece in text) if indent else text
    yield f"{end}}}" if value else "{}"


def _listed(elements: Iterable[object], encoder: json.JSONEncoder, line: str) -> Iterator[str]:
    start = f"[{line}"
    for each in elements:
        yield start + encoder.encode(each).replace("\n", line or "\n")
        start = f",{line}" if line else ", "


def _short_line(text: str) -> str:
    """One line that moves no cursor, whatever names and arguments are in it."""
    return one_line(shortened(text, LONGEST))
