"""Sessions of those who logged in to the module's own pages, and links that wait for their use: listed, and ended."""

import errno
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol

from ..store import Identity, Order, Spot
from .access import ROLES
from .filters import chosen
from .paging import Orders, cut, more, order_of, page_size, position
from .refusal import RefusalError
from .results import Result
from .text import moment, shell_word, table
from .values import Simplified

ORDERS: Orders = {"name": str, "begun": int, "used": int}
KINDS = ("token", "link")
"""By what sessions begin."""


@dataclass(frozen=True)
class SessionLine:
    """A session, or a link that nobody followed yet. Times are seconds since the epoch.

    Args:
        name: what ends it; of a link, and of the session that it begins, the same.
        identity: whose it is.
        kind: of that: "token" or "link".
        role: what they may do.
        tenant: whose things alone; empty: all.
        address: from where they logged in; empty: nobody did.
        begun: when; of a link that waits, when it was made.
        used: when the last request came; 0: nobody followed the link.
        ends: when it does by itself, where it is not used any more.
    """

    name: str
    identity: str
    kind: str
    role: str
    tenant: str
    address: str
    begun: int
    used: int
    ends: int


@dataclass(frozen=True)
class SessionPage:
    """A page of the list of sessions."""

    sessions: tuple[SessionLine, ...]
    following: str | None
    filtered: bool = field(default=False, compare=False)

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        return {"sessions": [asdict(each) for each in self.sessions], "following": self.following}

    def plain(self) -> str:
        """Show it to a person."""
        if not self.sessions:
            return "No session fits." if self.filtered else "Nobody is logged in, and no link waits."
        rows = (
            (
                each.name,
                each.role,
                each.tenant or "all",
                each.address or "not used yet",
                moment(each.begun),
                moment(each.used) if each.used else "never",
                moment(each.ends),
            )
            for each in self.sessions
        )
        shown = table(("NAME", "ROLE", "TENANT", "FROM", "BEGUN", "LAST USED", "ENDS"), rows)
        return shown if self.following is None else f"{shown}\n{more(self.following)}"


class Open(Protocol):
    """The sessions that there are."""

    def lines(self) -> Sequence[tuple[Identity, SessionLine]]:
        """All of them, with whose they are."""
        ...

    def end_named(self, name: str) -> bool:
        """End one; False: there is none of that name."""
        ...


class Links(Protocol):
    """Who may use the API, and by which links."""

    def waiting(self) -> Sequence[Identity]:
        """Whom links log in that nobody followed yet."""
        ...

    def withdraw(self, name: str) -> bool:
        """Let nobody follow a link; False: there is none of that name."""
        ...

    def lets_in(self, identity: Identity) -> bool:
        """Has somebody who logged in access still? Raises `RefusalError`: the database does not answer."""
        ...


class LoggedIn:
    """Lists and ends them. Waits for the database where it must.

    Args:
        opened: the sessions.
        links: and the links.
    """

    def __init__(self, opened: Open, links: Links) -> None:
        self._opened = opened
        self._links = links

    def listing(
        self,
        after: str | None = None,
        limit: int | None = None,
        *,
        filters: Mapping[str, str | None] | None = None,
        sort: str | None = None,
        reverse: bool = False,
    ) -> Result:
        """List them. Arguments as `Subtrees.listing`.

        Args:
            filters: `role`, `kind` and `tenant`.
            sort: one of `ORDERS`.
        """
        try:
            limit = page_size(limit)
            order = order_of(sort, ORDERS, reverse=reverse)
            wanted = chosen(filters or {}, {"role": ROLES, "kind": KINDS})
            start = position(after, order, ORDERS)
            lines = [*self._lines()]
        except RefusalError as refusal:
            return refusal.result
        fitting = [
            (_rank(spot), spot, each)
            for each in lines
            if all(getattr(each, name) == value for name, value in wanted.items())
            for spot in [_spot(each, order)]
        ]
        fitting.sort(key=lambda each: each[0], reverse=reverse)
        if start is not None:
            past = _rank(start)
            fitting = [each for each in fitting if (each[0] < past if reverse else each[0] > past)]
        shown, next_page = cut(fitting[: limit + 1], limit, lambda each: each[1], order, ORDERS)
        return Result(answer=SessionPage(tuple(line for *_, line in shown), next_page, filtered=bool(wanted)))

    def revoke(self, name: str) -> Result:
        """End a session, or let nobody follow a link, at once."""
        # a link that is followed just now is a session then
        withdrawn = self._links.withdraw(name)
        if not self._opened.end_named(name) and not withdrawn:
            return Result.failed(
                errno.ENOENT,
                f"there is no session {shell_word(name[:100])}, nothing was changed; "
                "see `ceph fscrypt api session ls`",
            )
        return Result(status=f"the session {name} is over", changed=True)

    def _lines(self) -> Sequence[SessionLine]:
        waiting = [
            SessionLine(
                each.name, each.name, each.kind, each.role, each.tenant, "", each.created, 0, each.expires
            )
            for each in self._links.waiting()
        ]
        opened = [line for identity, line in self._opened.lines() if self._links.lets_in(identity)]
        return [*waiting, *opened]


def _spot(line: SessionLine, order: Order) -> Spot:
    return Spot(0, line.name, getattr(line, order.column) if order.column else None)


def _rank(spot: Spot) -> tuple[int, str]:
    """What lines are sorted by."""
    return int(spot.value or 0), spot.name
