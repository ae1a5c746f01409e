"""A caller of pages that answers what it was told to, and notes what was asked."""

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dashboard_ui.visit import Answer, Arguments, Outage, Visit

Said = Mapping[str, Any] | Answer | Callable[[Arguments], Answer]


@dataclass
class FakeCaller:
    """Whoever looks.

    Args:
        answers: by command: what ``--format json`` would give, an answer, or what makes one.
        refused: commands that the role does not allow.
        tags: by command what `tag` tells; what is given with another one is refused.
        down: by command what does not work of what it needs; by None all of it.
    """

    answers: Mapping[str, Said]
    name: str = "alice"
    role: str = "security-officer"
    refused: frozenset[str] = frozenset()
    tags: Mapping[str, str] = field(default_factory=dict)
    down: Mapping[str | None, Sequence[Outage]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str | int | bool]]] = field(default_factory=list)

    def call(self, command: str, arguments: Arguments) -> Answer:
        """Answer, and note what was asked."""
        self.asked.append((command, dict(arguments)))
        if command in self.refused:
            return Answer(13, f"the role of {self.name} does not allow `{command}`")
        said = self.answers.get(command, Answer(2, f"nothing is known of `{command}`"))
        if isinstance(said, Answer):
            return said
        return said(arguments) if callable(said) else Answer(0, "", said)

    def tag(self, command: str, arguments: Arguments) -> str:
        """What it was told to."""
        return self.tags.get(command, "")

    def call_if(self, command: str, arguments: Arguments, tag: str) -> Answer:
        """Answer where the tag is right."""
        if tag != self.tag(command, arguments):
            return Answer(errno.ESTALE, "it is not any more as it was when it was read, nothing was changed")
        return self.call(command, arguments)

    def may(self, command: str) -> bool:
        """What is not refused."""
        return command not in self.refused

    def outages(self, command: str | None = None) -> Sequence[Outage]:
        """What does not work."""
        return self.down.get(command, ())

    def line(self, command: str, arguments: Arguments) -> str:
        """The line of it."""
        return " ".join(["ceph fscrypt", command, *map(str, arguments.values())])


def visit(
    caller: FakeCaller,
    path: str = "/",
    *,
    method: str = "GET",
    query: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
    base: str = "",
) -> Visit:
    """A visit of this caller."""
    return Visit(method, path, query or {}, form or {}, base, "the-token", "the-nonce", caller)
