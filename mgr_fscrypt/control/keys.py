"""The index of master keys: what their lockboxes were reported to be. The lockboxes in RADOS are the truth."""

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol, Self

from ..messages import KeyFacts
from ..messages.key import STATES
from ..store import Key, Order, Spot
from .cluster import FileSystemMap, existing, names_of
from .filters import chosen
from .nearest import COMPARED, hint
from .packed import Made, in_parts, packed
from .paging import Orders, following, more, order_of, page_size, position
from .refusal import RefusalError
from .reports import kept_facts
from .results import Result
from .text import is_unicode, moment, one_line, table
from .values import Simplified

ORDERS: Orders = {"identifier": str, "name": str, "expires": int}


class KeyStore(Protocol):
    """Where the index is kept; `store.KeyTable` tells what each call means."""

    def put(self, key: Key) -> None:
        """Record a key."""
        ...

    def at(self, fscid: int, identifier: str) -> Key | None:
        """Find by identifier."""
        ...

    def named(self, fscid: int, name: str) -> Key | None:
        """Find by name."""
        ...

    def page(
        self,
        fscid: int | None,
        after: Spot | None,
        limit: int,
        wanted: Mapping[str, str] = ...,
        order: Order = ...,
    ) -> Sequence[Key]:
        """List in order."""
        ...

    def due(self, expires: int, drill: int) -> Sequence[Key]:
        """List those whose time has come."""
        ...


@dataclass(frozen=True)
class KeyLine:
    """One key, as lists and pages show it. Times are seconds since the epoch, 0 for never.

    Args:
        fs_name: its file system; `file system N` where that is gone.
        identifier: 32 hexadecimal digits.
        name, tenant, state, generation, created, expires, due, drill_due: see `messages.KeyFacts`.
        protectors: of each its name, kind, when it was made, when it was last seen to open.
        reported: when this was reported.
    """

    fs_name: str
    identifier: str
    name: str
    tenant: str
    state: str
    generation: int
    created: int
    expires: int
    due: int
    drill_due: int
    protectors: tuple[tuple[str, str, int, int], ...]
    reported: int

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        named = [
            dict(zip(("name", "kind", "created", "proven"), each, strict=True)) for each in self.protectors
        ]
        return asdict(self) | {"protectors": named}

    @classmethod
    def restored(cls, value: Mapping[str, Any]) -> Self:
        """Give the value that `simplified` was made from. Raises KeyError, TypeError."""
        protectors = tuple(
            (each["name"], each["kind"], each["created"], each["proven"]) for each in value["protectors"]
        )
        return cls(**{**value, "protectors": protectors})

    def plain(self) -> str:
        """Show it to a person."""
        rows = [
            (name, kind, moment(created), moment(proven) if proven else "never")
            for name, kind, created, proven in self.protectors
        ]
        lines = [
            f"key {self.name} of {self.tenant or 'nobody'} on {self.fs_name}",
            f"identifier  {self.identifier}",
            f"state       {self.state}" + (f", from {moment(self.due)} on for good" if self.due else ""),
            f"made        {moment(self.created)}",
            f"expires     {moment(self.expires) if self.expires else 'never'}",
            f"drill       {'due ' + moment(self.drill_due) if self.drill_due else 'none asked for'}",
            f"reported    {moment(self.reported)}, generation {self.generation}",
        ]
        text = "\n".join(map(one_line, lines))
        return f"{text}\n\n" + table(("PROTECTOR", "KIND", "MADE", "SEEN TO OPEN"), rows)


@dataclass(frozen=True)
class KeyPage:
    """A page of the list of keys; `following` asks for the next one."""

    keys: Sequence[KeyLine]
    following: str | None = None
    filtered: bool = field(default=False, compare=False)

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        return {"keys": Made(self.keys, KeyLine.simplified), "following": self.following}

    @classmethod
    def restored(cls, value: Mapping[str, Any]) -> Self:
        """Give the value that `simplified` was made from. Raises KeyError, TypeError."""
        return cls(tuple(KeyLine.restored(each) for each in value["keys"]), value["following"])

    def plain(self) -> str:
        """Show it to a person."""
        if not self.keys and self.filtered:
            return "No key fits."
        if not self.keys:
            return "No key was reported; `cephfs-fscrypt key rescan` reports all that are kept."
        rows = (
            (line.fs_name, line.name, line.identifier, line.tenant, line.state, _ways(line))
            for line in self.keys
        )
        shown = table(("FILE SYSTEM", "NAME", "KEY", "TENANT", "STATE", "PROTECTORS"), rows)
        if self.following is not None:
            shown += f"\n{more(self.following)}"
        return shown


class Keys:
    """What the commands about keys do that need no key.

    Args:
        store: where the index is kept.
        cluster: the file systems that there are.
        clock: seconds since the epoch.
    """

    def __init__(self, *, store: KeyStore, cluster: FileSystemMap, clock: Callable[[], float]) -> None:
        self._store = store
        self._cluster = cluster
        self._clock = clock

    def adopt(self, fs_name: str, report: str | None, *, dry_run: bool = False) -> Result:
        """Record what a lockbox was reported to be. The same report twice is once; an older one changes nothing.

        Args:
            fs_name: the file system.
            report: a `messages.KeyFacts` as text.
            dry_run: only say what would be done.
        """
        try:
            fscid = existing(self._cluster, fs_name).fscid
            facts = kept_facts(report, KeyFacts.decode, "a key")
        except RefusalError as refusal:
            return refusal.result
        key = _reported(fscid, facts, int(self._clock()))
        before = self._store.at(fscid, key.identifier)
        if before is not None and not _is_news(before, key):
            return Result(status=f"key {key.name} ({key.identifier}) is known already; nothing to do")
        what = one_line(f"key {key.name} ({key.identifier}) of {fs_name}, {key.state}")
        if dry_run:
            return Result(status=f"would record {what}", changed=True)
        self._store.put(key)
        shut = () if key.state == "active" else (key.identifier,)
        return Result(status=f"recorded {what}", changed=True, shut=shut)

    def listing(
        self,
        fs_name: str | None = None,
        after: str | None = None,
        limit: int | None = None,
        *,
        filters: Mapping[str, str | None] | None = None,
        sort: str | None = None,
        reverse: bool = False,
    ) -> Result:
        """List keys, a page at a time. Arguments as `Subtrees.listing`.

        Args:
            filters: `tenant`, `state` and `text` (in the name).
            sort: one of `ORDERS`; those that never expire come after all that do.
        """
        try:
            limit = page_size(limit)
            order = order_of(sort, ORDERS, reverse=reverse)
            wanted = chosen(filters or {}, {"state": STATES})
            fscid = None if fs_name is None else existing(self._cluster, fs_name).fscid
            place = position(after, order, ORDERS)
        except RefusalError as refusal:
            return refusal.result
        names = names_of(self._cluster)

        def page(most: int) -> Sequence[Key]:
            return self._store.page(fscid, place, most, wanted, order)

        def found() -> Iterator[KeyLine]:
            nonlocal place
            for key in in_parts(limit, lambda _, most: page(most)):
                place = Spot(key.fscid, key.identifier, getattr(key, order.column) if order.column else None)
                yield _line(key, names)

        lines = packed(found(), KeyLine.simplified, KeyLine.restored)
        more_follow = place is not None and len(lines) == limit and page(1)
        return Result(
            answer=KeyPage(
                lines,
                following(place, order, ORDERS) if place is not None and more_follow else None,
                filtered=bool(wanted),
            )
        )

    def show(self, fs_name: str, named: str) -> Result:
        """All that is known of one key, by its name or its 32 hexadecimal digits."""
        try:
            fscid = existing(self._cluster, fs_name).fscid
        except RefusalError as refusal:
            return refusal.result
        key = None
        if is_unicode(named):
            key = self._store.at(fscid, named) or self._store.named(fscid, named)
        if key is not None:
            return Result(answer=_line(key, names_of(self._cluster)))
        next_step = hint(
            named, self._some_names(fscid), "`cephfs-fscrypt key rescan` reports all that are kept"
        )
        return Result.failed(errno.ENOENT, one_line(f"no key {named} was reported on {fs_name}; {next_step}"))

    def due(self, ahead: int) -> Result:
        """List keys that expire within `ahead` seconds, and those whose recovery drill is due; all on one page."""
        now, names = int(self._clock()), names_of(self._cluster)
        return Result(answer=KeyPage(tuple(_line(key, names) for key in self._store.due(now + ahead, now))))

    def line(self, fscid: int, identifier: str) -> KeyLine | None:
        """What is known of a key of a file system; None where it was never reported."""
        found = self._store.at(fscid, identifier)
        return None if found is None else _line(found, names_of(self._cluster))

    def _some_names(self, fscid: int) -> Iterable[str]:
        return [key.name for key in self._store.page(fscid, None, COMPARED)]


def _reported(fscid: int, facts: KeyFacts, now: int) -> Key:
    plain = {name: each for name, each in asdict(facts).items() if name != "protectors"}
    protectors = tuple((each.name, each.kind, each.created, each.proven) for each in facts.protectors)
    return Key(fscid=fscid, reported=now, protectors=protectors, **plain)


def _is_news(before: Key, key: Key) -> bool:
    """What was destroyed stays so; else the newest generation holds."""
    if before.state == "destroyed":
        return False
    if key.state == "destroyed":
        return True
    return key.generation > before.generation or (
        key.generation == before.generation and replace(key, reported=before.reported) != before
    )


def _line(key: Key, names: Mapping[int, str]) -> KeyLine:
    plain = {name: each for name, each in vars(key).items() if name != "fscid"}
    return KeyLine(fs_name=names.get(key.fscid, f"file system {key.fscid}"), **plain)


def _ways(line: KeyLine) -> str:
    return ", ".join(name for name, *_ in line.protectors) or "none"
