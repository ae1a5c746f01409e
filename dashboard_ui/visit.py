"""The border of the pages: what a door hands in, what it gets back, and what pages may ask for.

A door (the module's own server, or Ceph's dashboard) knows who is there and whether a form is theirs; pages know
neither sessions nor sockets. Pages reach the manager by operations only, which are the commands of `ceph fscrypt`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Arguments = Mapping[str, str | int | bool]


@dataclass(frozen=True)
class Answer:
    """What an operation said.

    Args:
        code: 0, or the errno, as of the command.
        status: one line for a person.
        value: what ``--format json`` gives; None where there is nothing but the line.
    """

    code: int
    status: str
    value: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Outage:
    """Something that does not work just now, in words for a person.

    Args:
        name: what it is.
        why: what is known of it.
        waits: what does not go on without it.
        works: what does.
    """

    name: str
    why: str
    waits: str
    works: str


class Caller(Protocol):
    """Whoever looks at a page, with what they may do; a door makes one for each request."""

    @property
    def name(self) -> str:
        """Who it is, as the audit records it."""

    @property
    def role(self) -> str:
        """What they are: read-only, operator, ..."""

    def call(self, command: str, arguments: Arguments) -> Answer:
        """Do an operation, as "subtree create" with {"fs": "cephfs", ...}; what is not given has the command's default.

        Never raises because of what was asked: whatever is refused is an `Answer` with a code.
        """

    def tag(self, command: str, arguments: Arguments) -> str:
        """Tell what people put of what a command would change from what they put later; empty: it cannot be told."""

    def call_if(self, command: str, arguments: Arguments, tag: str) -> Answer:
        """Do an operation where what it would change is as it was when `tag` was told; else the code is ESTALE."""

    def may(self, command: str) -> bool:
        """Tell whether the role allows a command; what it does not is not offered."""

    def outages(self, command: str | None = None) -> Sequence[Outage]:
        """Tell what does not work just now, of what a command needs; None: of all. At once, and nothing is asked."""

    def line(self, command: str, arguments: Arguments) -> str:
        """Give the `ceph fscrypt ...` line that does the same."""


@dataclass(frozen=True)
class Visit:
    """One request for a page, by somebody who is logged in.

    Args:
        method: GET, HEAD or POST.
        path: below `base`, decoded, beginning with a slash.
        query: parameters of the address.
        form: fields of a POST whose token the door has checked; else nothing.
        base: where the pages hang, without a slash at its end: "" or "/ui-fscrypt".
        csrf: the token that each form carries, in its field ``csrf``; the same during a whole session.
        nonce: that of the answer's Content-Security-Policy.
        caller: who asks.
        logout: where a form is posted to that ends the session, below `base`; None where that is another's to do.
    """

    method: str
    path: str
    query: Mapping[str, str]
    form: Mapping[str, str]
    base: str
    csrf: str
    nonce: str
    caller: Caller
    logout: str | None = "/logout"


@dataclass(frozen=True)
class Page:
    """What a door sends: the status, the body, and headers beside the door's own."""

    status: int
    body: str | bytes
    headers: Mapping[str, str] = field(default_factory=dict)
