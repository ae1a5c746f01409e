"""The index of tenants' keys: how old they were reported to be, and how often they are to be rotated.

The lockboxes in RADOS are the truth.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol, Self

from ..messages import TenantFacts
from ..messages.service import RotationState
from ..store import Order, Spot, Tenant
from .cluster import FileSystemMap, existing, names_of
from .filters import chosen
from .paging import Orders, cut, more, order_of, page_size, position
from .refusal import RefusalError
from .reports import kept_facts
from .results import Result
from .text import moment, one_line, table
from .values import Simplified

ORDERS: Orders = {"tenant": str, "rotated": int}


class TenantStore(Protocol):
    """Where the index is kept; `store.TenantTable` tells what each call means."""

    def put(self, tenants: Iterable[Tenant]) -> None:
        """Record tenants."""
        ...

    def at(self, fscid: int, tenant: str) -> Tenant | None:
        """Find one."""
        ...

    def page(
        self,
        fscid: int | None,
        after: Spot | None,
        limit: int,
        wanted: Mapping[str, str] = ...,
        order: Order = ...,
    ) -> Sequence[Tenant]:
        """List in order."""
        ...

    def due(self, by: int) -> Sequence[Tenant]:
        """List those whose time has come."""
        ...


@dataclass(frozen=True)
class TenantLine:
    """The key of one tenant, as lists show it. Times are seconds since the epoch, 0 for never.

    Args:
        fs_name: its file system; `file system N` where that is gone.
        fscid: the file system's number.
        tenant, version, rotated, rotate_every, managers, others: see `messages.TenantFacts`.
        reported: when this was reported.
    """

    fs_name: str
    fscid: int
    tenant: str
    version: int
    rotated: int
    rotate_every: int
    managers: tuple[str, ...]
    others: tuple[str, ...]
    reported: int

    @property
    def due(self) -> int:
        """From when on it is to be rotated."""
        return self.rotated + self.rotate_every if self.rotate_every else 0

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        lists = {"managers": list(self.managers), "others": list(self.others)}
        return asdict(self) | lists | {"due": self.due}

    @classmethod
    def restored(cls, value: Mapping[str, Any]) -> Self:
        """Give the value that `simplified` was made from. Raises KeyError, TypeError."""
        plain = {name: each for name, each in value.items() if name != "due"}
        return cls(**plain | {name: tuple(value[name]) for name in ("managers", "others")})


@dataclass(frozen=True)
class TenantPage:
    """A page of the list of tenants; `following` asks for the next one."""

    tenants: tuple[TenantLine, ...]
    following: str | None = None
    filtered: bool = field(default=False, compare=False)

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        return {"tenants": [line.simplified() for line in self.tenants], "following": self.following}

    @classmethod
    def restored(cls, value: Mapping[str, Any]) -> Self:
        """Give the value that `simplified` was made from. Raises KeyError, TypeError."""
        return cls(tuple(TenantLine.restored(each) for each in value["tenants"]), value["following"])

    def plain(self) -> str:
        """Show it to a person."""
        if not self.tenants and self.filtered:
            return "No tenant fits."
        if not self.tenants:
            return "No tenant was reported; `cephfs-fscrypt key rescan` reports all that have a key."
        rows = [
            (
                line.fs_name,
                line.tenant,
                str(line.version),
                moment(line.rotated),
                moment(line.due) if line.due else "never",
                ", ".join((*line.managers, *line.others)),
            )
            for line in self.tenants
        ]
        shown = table(("FILE SYSTEM", "TENANT", "VERSION", "ROTATED", "DUE", "OPENED BY"), rows, numbers={2})
        if self.following is not None:
            shown += f"\n{more(self.following)}"
        return shown


class Tenants:
    """What the commands about tenants do that need no key.

    Args:
        store: where the index is kept.
        cluster: the file systems that there are.
        clock: seconds since the epoch.
    """

    def __init__(self, *, store: TenantStore, cluster: FileSystemMap, clock: Callable[[], float]) -> None:
        self._store = store
        self._cluster = cluster
        self._clock = clock
        self._learned: tuple[RotationState, ...] = ()

    def adopt(self, fs_name: str, report: str | None, *, dry_run: bool = False) -> Result:
        """Record what a tenant's key was reported to be. The same report twice is once; an older one changes nothing.

        Args:
            fs_name: the file system.
            report: a `messages.TenantFacts` as text.
            dry_run: only say what would be done.
        """
        try:
            fscid = existing(self._cluster, fs_name).fscid
            facts = kept_facts(report, TenantFacts.decode, "a tenant")
        except RefusalError as refusal:
            return refusal.result
        what = one_line(f"tenant {facts.tenant} of {fs_name}, version {facts.version} of its key")
        if not self._news([(fscid, facts)]):
            return Result(status=f"{what}: known already; nothing to do")
        if dry_run:
            return Result(status=f"would record {what}", changed=True)
        self._store.put(self._news([(fscid, facts)]))
        return Result(status=f"recorded {what}", changed=True)

    def learn(self, states: tuple[RotationState, ...]) -> Result:
        """Record what the engine service tells of rotations; the same as the last time touches no database."""
        if states == self._learned:
            return Result(status="recorded 0 tenants")
        news = self._news((state.fscid, state.facts) for state in states)
        if news:
            self._store.put(news)
        self._learned = states
        return Result(status=f"recorded {len(news)} tenants")

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
        """List tenants, a page at a time. Arguments as `Subtrees.listing`.

        Args:
            filters: `tenant`, `kms` (that opens the key) and `text` (in the name).
            sort: one of `ORDERS`.
        """
        try:
            limit = page_size(limit)
            order = order_of(sort, ORDERS, reverse=reverse)
            wanted = chosen(filters or {}, {})
            fscid = None if fs_name is None else existing(self._cluster, fs_name).fscid
            start = position(after, order, ORDERS)
        except RefusalError as refusal:
            return refusal.result
        shown, next_page = cut(
            self._store.page(fscid, start, limit + 1, wanted, order),
            limit,
            lambda tenant: Spot(tenant.fscid, tenant.tenant, tenant.rotated),
            order,
            ORDERS,
        )
        return Result(answer=TenantPage(self._lines(shown), next_page, filtered=bool(wanted)))

    def show(self, fs_name: str, tenant: str) -> Result:
        """What is known of one tenant: a page with it, or with none."""
        try:
            fscid = existing(self._cluster, fs_name).fscid
        except RefusalError as refusal:
            return refusal.result
        found = self._store.at(fscid, tenant)
        return Result(answer=TenantPage(self._lines([] if found is None else [found])))

    def due(self, late: int) -> Result:
        """List tenants whose key was to be rotated `late` seconds ago, or before; all on one page."""
        return Result(answer=TenantPage(self._lines(self._store.due(int(self._clock()) - late))))

    def _news(self, told: Iterable[tuple[int, TenantFacts]]) -> list[Tenant]:
        now, found = int(self._clock()), []
        for fscid, facts in told:
            tenant = Tenant(fscid=fscid, reported=now, **vars(facts))
            before = self._store.at(fscid, facts.tenant)
            if before is None or (
                tenant.rotated >= before.rotated and replace(tenant, reported=before.reported) != before
            ):
                found.append(tenant)
        return found

    def _lines(self, tenants: Sequence[Tenant]) -> tuple[TenantLine, ...]:
        names = names_of(self._cluster)
        return tuple(
            TenantLine(fs_name=names.get(each.fscid, f"file system {each.fscid}"), **vars(each))
            for each in tenants
        )
