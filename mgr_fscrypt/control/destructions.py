"""The end of a key takes two people, where that is wanted: one asks for it, another one approves.

Both are known by the API; the command line is nobody (doc/facts.md M12), so it can neither ask nor approve, and is not
told the line that does it. Whoever may write where lockboxes lie can end a key without it (doc/threat-model.md).
"""

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from ..store import Destruction, Order, Spot
from .client_lines import left_to_a_client
from .cluster import FileSystemMap, existing, names_of
from .filters import chosen
from .keys import KeyLine, Keys
from .paging import Orders, cut, more, order_of, page_size, position
from .persons import UNKNOWN, Line, in_common, person
from .refusal import RefusalError
from .results import Result
from .text import moment, one_line, table
from .values import Simplified

GOOD = 30 * 86400
"""Seconds for which an approval is good: longer than a key waits for its end."""

STATES = ("waiting", "approved")
"""Of what was asked for."""
ORDERS: Orders = {"key": str, "requested": int}


class DestructionStore(Protocol):
    """Where wishes are kept; `store.DestructionTable` tells what each call means."""

    def put(self, wish: Destruction) -> None:
        """Record one."""
        ...

    def drop(self, fscid: int, key_identifier: str) -> bool:
        """Forget one."""
        ...

    def at(self, fscid: int, key_identifier: str) -> Destruction | None:
        """Give one."""
        ...

    def page(
        self,
        fscid: int | None,
        after: Spot | None,
        limit: int,
        approved: bool | None = ...,
        order: Order = ...,
    ) -> Sequence[Destruction]:
        """List."""
        ...


@dataclass(frozen=True)
class DestructionPage:
    """A page of the list of wishes.

    Args:
        wishes: in order of file systems and keys.
        names: of file systems, by their numbers.
        following: what asks for the next page; None on the last one.
    """

    wishes: tuple[Destruction, ...]
    names: Mapping[int, str]
    following: str | None
    filtered: bool = field(default=False, compare=False)

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        wishes = [
            {
                "fs_name": self.names.get(each.fscid, str(each.fscid)),
                "key_identifier": each.key_identifier,
                "requested_by": each.requested_by,
                "requested": each.requested,
                "approved_by": each.approved_by,
                "approved": each.approved,
            }
            for each in self.wishes
        ]
        return {"destructions": wishes, "following": self.following}

    def plain(self) -> str:
        """Show it to a person."""
        if not self.wishes and self.filtered:
            return "Nothing that was asked for fits."
        if not self.wishes:
            return "Nobody asked for the end of a key."
        rows = (
            (
                self.names.get(each.fscid, str(each.fscid)),
                each.key_identifier,
                f"{each.requested_by}, {moment(each.requested)}",
                f"{each.approved_by}, {moment(each.approved)}" if each.approved else "not yet",
            )
            for each in self.wishes
        )
        shown = table(("FILE SYSTEM", "KEY", "REQUESTED BY", "APPROVED BY"), rows)
        return shown if self.following is None else f"{shown}\n{more(self.following)}"


class Destructions:
    """Wishes that keys be destroyed. For the database's thread.

    Args:
        store: where they are kept.
        keys: the register of keys.
        cluster: the file systems that there are.
        clock: seconds since the epoch.
        wanted: does it take two people?
    """

    def __init__(
        self,
        *,
        store: DestructionStore,
        keys: Keys,
        cluster: FileSystemMap,
        clock: Callable[[], float],
        wanted: Callable[[], bool],
    ) -> None:
        self._store = store
        self._keys = keys
        self._cluster = cluster
        self._clock = clock
        self.wanted = wanted

    def request(self, fs_name: str, key: str, who: str, behind: Line) -> Result:
        """Ask for the end of a key.

        Args:
            fs_name: the file system.
            key: its name or identifier.
            who: the name of the identity that asks; empty: nobody in particular.
            behind: its line.
        """
        try:
            fscid, line = self._key(fs_name, key)
            _check_known(who)
        except RefusalError as refusal:
            return refusal.result
        there = self._store.at(fscid, line.identifier)
        if there is not None and not self._over(there):
            return Result(
                status=f"{there.requested_by} asked for the end of {line.name} already; it is to be approved"
            )
        now = int(self._clock())
        self._store.put(Destruction(fscid, line.identifier, who, now, behind=" ".join(behind)))
        return Result(
            status=f"the end of {line.name} is asked for; somebody else has to approve it", changed=True
        )

    def approve(self, fs_name: str, key: str, who: str, behind: Line) -> Result:
        """Approve of the end of a key that somebody else asked for. Arguments as `request`."""
        try:
            fscid, line = self._key(fs_name, key)
            _check_known(who)
        except RefusalError as refusal:
            return refusal.result
        wish = self._store.at(fscid, line.identifier)
        if wish is None or self._over(wish):
            return Result.failed(
                errno.ENOENT, f"nobody asked for the end of {line.name}, nothing was changed"
            )
        common = in_common(wish.behind.split(), behind)
        if common:
            return Result.failed(errno.EPERM, _one_person(wish.requested_by, who, common, line.name))
        if wish.approved:
            return Result(status=f"{wish.approved_by} approved of the end of {line.name} already")
        now = int(self._clock())
        self._store.put(replace(wish, approved_by=who, approved=now))
        return Result(
            status=f"the end of {line.name} is approved until {moment(now + GOOD)}; `key destroy` now tells the line",
            changed=True,
        )

    def withdraw(self, fs_name: str, key: str) -> Result:
        """Take back what was asked for or approved."""
        try:
            fscid, line = self._key(fs_name, key)
        except RefusalError as refusal:
            return refusal.result
        if not self._store.drop(fscid, line.identifier):
            return Result.failed(
                errno.ENOENT, f"nobody asked for the end of {line.name}, nothing was changed"
            )
        return Result(status=f"the end of {line.name} is not asked for any more", changed=True)

    def listing(
        self,
        fs_name: str | None = None,
        after: str | None = None,
        limit: int | None = None,
        *,
        state: str | None = None,
        sort: str | None = None,
        reverse: bool = False,
    ) -> Result:
        """List what was asked for. Arguments as `Subtrees.listing`.

        Args:
            state: one of `STATES`.
            sort: one of `ORDERS`.
        """
        try:
            limit = page_size(limit)
            order = order_of(sort, ORDERS, reverse=reverse)
            said = chosen({"state": state}, {"state": STATES})
            fscid = None if fs_name is None else existing(self._cluster, fs_name).fscid
            place = position(after, order, ORDERS)
        except RefusalError as refusal:
            return refusal.result
        approved = said["state"] == "approved" if said else None
        shown, next_page = cut(
            self._store.page(fscid, place, limit + 1, approved, order),
            limit,
            lambda wish: Spot(wish.fscid, wish.key_identifier, wish.requested),
            order,
            ORDERS,
        )
        return Result(
            answer=DestructionPage(
                tuple(shown), names_of(self._cluster), next_page, filtered=bool(said or fs_name)
            )
        )

    def line(
        self,
        fs_name: str,
        key: str,
        who: str,
        words: Sequence[str],
        options: Mapping[str, str | bool | None] | None = None,
    ) -> Result:
        """Tell the line for a client that ends a key; where that takes two people, once they want it.

        Args:
            fs_name: the file system.
            key: its name or identifier.
            who: the name of the identity that asks; empty: nobody in particular.
            words, options: see `control.client_lines`.
        """
        if not self.wanted():
            return left_to_a_client(self._cluster, fs_name, words, options)
        try:
            fscid, known = self._key(fs_name, key)
            _check_known(who)
        except RefusalError as refusal:
            return refusal.result
        wish = self._store.at(fscid, known.identifier)
        if wish is None or not wish.approved or self._over(wish):
            return Result.failed(
                errno.EPERM,
                f"the end of {known.name} takes two people here, nothing was changed; "
                "one asks with `key destruction request`, another one approves with `key destruction approve`",
            )
        return left_to_a_client(self._cluster, fs_name, words, options)

    def _key(self, fs_name: str, key: str) -> tuple[int, KeyLine]:
        fscid = existing(self._cluster, fs_name).fscid
        shown = self._keys.show(fs_name, key)
        if not isinstance(shown.answer, KeyLine):
            raise RefusalError(shown.code, shown.status)
        return fscid, shown.answer

    def _over(self, wish: Destruction) -> bool:
        return self._clock() > (wish.approved or wish.requested) + GOOD


def _one_person(asked: str, approves: str, common: str, key: str) -> str:
    """Why one cannot approve of what another one asked for."""
    if person(asked) == person(approves):
        return f"{asked} asked for the end of {key}, nothing was changed; somebody else has to approve"
    let_in = {person(asked): f"{asked} let {approves} in", person(approves): f"{approves} let {asked} in"}
    why = let_in.get(person(common), f"{common} let both of them in")
    if common == UNKNOWN:
        why = "it was not kept who let them in"
    return (
        f"{approves} could be one person with {asked}, who asked for the end of {key}: {why}, nothing was changed; "
        "somebody has to approve whom another one has let in, or the command line anew"
    )


def _check_known(who: str) -> None:
    if not who:
        raise RefusalError(
            errno.EPERM,
            one_line(
                "the end of a key takes two people here, and the manager is not told who gives a command, nothing was "
                "changed; use the API, with an access in your own name (doc/api.md)"
            ),
        )
