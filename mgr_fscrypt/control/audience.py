"""Who can meet which encrypted subtree: sessions and entities, judged; `ceph fscrypt client ...`."""

import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice

from ..store import Ended, Order, Spot
from .clients import Client
from .cluster import FileSystemMap, existing, names_of
from .eviction_answers import EndedStory
from .filters import chosen
from .judge import Judge, Judged, MetSubtrees, SetGates
from .observing import Census, Sight
from .paging import Orders, cut, more, order_of, page_size, position
from .refusal import RefusalError
from .results import Result
from .text import moment, one_line, shell_word, table
from .values import Simplified
from .verdicts import WORST_FIRST, Kind, may_be_harmful

UNSAFE = "FSCRYPT_UNSAFE_CLIENTS"
SETTLING = 30.0
"""Seconds for which a session has been there before health tells of it: many come and go."""
_NAMED = 20
ORDERS: Orders = {"session": int, "entity": str, "since": int}
_Ranked = tuple[int, int | str, int]
"""A file system, what the list is sorted by, a session."""


@dataclass(frozen=True)
class ClientLine:
    """One session, as lists show it.

    Args:
        fs_name: its file system.
        session, entity, host, root, software, release, since, state: see `clients.Client`.
        verdict: the worst one, in one word.
        path: of the subtree that it is about; empty where it meets none.
        reason: in one sentence.
    """

    fs_name: str
    session: int
    entity: str
    host: str
    root: str
    software: str
    release: str
    since: float
    state: str
    verdict: str
    path: str
    reason: str


@dataclass(frozen=True)
class ClientPage:
    """A page of the list of sessions.

    Args:
        clients: in the order that was asked for.
        learnt: when the MDSs were asked, in seconds since the epoch.
        age: how long ago that was, in seconds.
        trouble: who did not answer the last time.
        following: what asks for the next page.
    """

    clients: tuple[ClientLine, ...]
    learnt: float
    age: float
    trouble: str
    following: str | None = None
    filtered: bool = field(default=False, compare=False)

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        return {
            "clients": [asdict(line) for line in self.clients],
            "learnt": self.learnt,
            "age": self.age,
            "trouble": self.trouble,
            "following": self.following,
        }

    def plain(self) -> str:
        """Show it to a person."""
        rows = [
            (
                line.fs_name,
                str(line.session),
                line.entity,
                line.host,
                line.root,
                f"{line.software} {line.release}".strip(),
                line.verdict,
                line.path or "-",
            )
            for line in self.clients
        ]
        titles = ("FILE SYSTEM", "SESSION", "ENTITY", "HOST", "MOUNTED", "SOFTWARE", "VERDICT", "SUBTREE")
        none = "No client fits." if self.filtered else "No client has a session."
        lines = [table(titles, rows, numbers={1}) if rows else none, _as_of(self.age)]
        lines += [one_line(f"not asked: {self.trouble}")] * bool(self.trouble)
        if self.following is not None:
            lines.append(more(self.following))
        return "\n".join(lines)


@dataclass(frozen=True)
class Story:
    """All that is known of one session.

    Args:
        client: in a line.
        caps: of its entity, as they are now.
        address: `ip:port/nonce`.
        capabilities: how many it holds.
        verdicts: of each subtree that it meets (one of each mode for those without a gate): path, mode, the verdict in
            one word, the reason.
        remedies: what can be done.
        age: of this knowledge, in seconds.
    """

    client: ClientLine
    caps: Mapping[str, str]
    address: str
    capabilities: int
    verdicts: tuple[tuple[str, str, str, str], ...]
    remedies: tuple[str, ...]
    age: float

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        titles = ("path", "mode", "verdict", "reason")
        judged = [dict(zip(titles, each, strict=True)) for each in self.verdicts]
        return asdict(self) | {
            "caps": dict(self.caps),
            "verdicts": judged,
            "remedies": list(self.remedies),
        }

    def plain(self) -> str:
        """Show it to a person."""
        line = self.client
        lines = [
            f"session {line.session} of {line.fs_name}, {line.state}, since {moment(line.since)}",
            f"  it says that it is {line.software} {line.release} on host {line.host} ({self.address})",
            f"  it mounted {line.root} and holds {self.capabilities} capabilities",
            f"  it authenticated as {line.entity}, whose caps are now:",
            *(f"    {service} '{text}'" for service, text in sorted(self.caps.items())),
        ]
        if not self.verdicts:
            lines.append("It meets no registered subtree.")
        lines += [f"{path} ({mode} mode): {kind}: {reason}" for path, mode, kind, reason in self.verdicts]
        lines += [f"To do: {remedy}" for remedy in self.remedies]
        return "\n".join([*map(one_line, lines), _as_of(self.age)])


class Audience:
    """What the commands about clients do, and what health tells of them.

    Args:
        subtrees: the register.
        gates: those that are set.
        cluster: the file systems that there are.
        census: gives what was learnt last.
        clock: seconds since the epoch.
        ended: gives the sessions that this module ended.
    """

    def __init__(
        self,
        *,
        subtrees: MetSubtrees,
        gates: SetGates,
        cluster: FileSystemMap,
        census: Callable[[], Census],
        clock: Callable[[], float],
        ended: Callable[[], Sequence[Ended]],
    ) -> None:
        self._subtrees = subtrees
        self._gates = gates
        self._cluster = cluster
        self._census = census
        self._clock = clock
        self._ended = ended

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
        """List sessions with their worst verdicts, a page at a time. Arguments as `Subtrees.listing`.

        Args:
            filters: `entity`, `verdict` and `text` (in host, software or what is mounted).
            sort: one of `ORDERS`.
        """
        census = self._census()
        try:
            limit = page_size(limit)
            order = order_of(sort, ORDERS, reverse=reverse)
            wanted = chosen(filters or {}, {"verdict": WORST_FIRST})
            sights = self._sights(census, fs_name)
            start = _rank_of(position(after, order, ORDERS), order)
        except RefusalError as refusal:
            return refusal.result
        except ValueError:
            return Result.failed(errno.EINVAL, f'"{after}" is not a place in the list of clients')
        due = [
            (rank, sight, client)
            for sight in sights
            for client in sight.clients
            if _fits(client, wanted)
            and _follows(rank := _rank(sight.file_system.fscid, client, order), start, order)
        ]
        due.sort(key=lambda each: each[0], reverse=reverse)
        judges = {sight.file_system.fscid: self._judge(sight, census) for sight in sights}
        judged = (
            (rank, _line(sight, client, _worst(judges[rank[0]].judged(client))))
            for rank, sight, client in due
        )
        # a judgement takes time: no more of them than are shown
        fitting = [
            *islice((each for each in judged if wanted.get("verdict") in (None, each[1].verdict)), limit + 1)
        ]
        learnt = min((sight.asked for sight in sights), default=census.asked)
        shown, next_page = cut(fitting, limit, lambda each: _spot(each[0]), order, ORDERS)
        return Result(
            answer=ClientPage(
                tuple(line for _, line in shown),
                learnt,
                self._clock() - learnt,
                census.trouble,
                next_page,
                filtered=bool(wanted),
            )
        )

    def explain(self, number: int, fs_name: str | None = None) -> Result:
        """Tell all about one session, also about one that this module ended.

        Args:
            number: of the session.
            fs_name: its file system, where several have a session of that number.
        """
        census = self._census()
        try:
            sights = self._sights(census, fs_name)
        except RefusalError as refusal:
            return refusal.result
        found = [(sight, each) for sight in sights for each in sight.clients if each.number == number]
        if not found:
            ended = self._ended_of(number, fs_name)
            if ended:
                return Result(answer=EndedStory(ended))
            if census.trouble:
                return Result.failed(
                    errno.EAGAIN,
                    f"no session {number} is known, and not all servers have told of theirs ({census.trouble}); run it "
                    "again in some seconds",
                )
            return Result.failed(
                errno.ENOENT,
                f"no session {number} was there {self._clock() - census.asked:.0f} s ago; see "
                "`ceph fscrypt client ls`",
            )
        if len(found) > 1:
            named = ", ".join(sight.file_system.name for sight, _ in found)
            return Result.failed(errno.EINVAL, f"session {number} is on {named}: add --fs NAME")
        sight, client = found[0]
        judged = tuple(self._judge(sight, census).judged(client))
        return Result(
            answer=Story(
                client=_line(sight, client, _worst(judged)),
                caps=dict(census.entities.get(client.entity, {})),
                address=client.address,
                capabilities=client.capabilities,
                verdicts=tuple(
                    (each.place.path, each.place.mode, each.verdict.kind.value, each.verdict.reason)
                    for each in judged
                ),
                remedies=_remedies(sight, client, judged),
                age=self._clock() - sight.asked,
            )
        )

    def _ended_of(self, number: int, fs_name: str | None) -> tuple[tuple[str, Ended], ...]:
        """The sessions of that number that this module ended, with the names of their file systems."""
        names = names_of(self._cluster)
        return tuple(
            (names[each.fscid], each)
            for each in self._ended()
            if each.session == number and each.fscid in names and fs_name in (None, names[each.fscid])
        )

    def watched(self) -> Result:
        """Is there anything that clients could harm? ENOENT: no subtree is registered."""
        if self._subtrees.counts() or self._gates.all():
            return Result()
        return Result.failed(errno.ENOENT, "no subtree is registered")

    def checks(self) -> Result:
        """Give the sessions that health has to tell of, all on one page."""
        census = self._census()
        now = self._clock()
        found = []
        for sight in census.sights.values():
            judge = self._judge(sight, census)
            for client in sight.clients:
                if client.since > now - SETTLING or not may_be_harmful(client):
                    continue
                worst = _worst(judge.judged(client))
                if worst is not None and worst.verdict.kind is Kind.HARMFUL:
                    found.append(_line(sight, client, worst))
        return Result(answer=ClientPage(tuple(found), census.asked, now - census.asked, census.trouble))

    def _sights(self, census: Census, fs_name: str | None) -> Sequence[Sight]:
        wanted = None if fs_name is None else existing(self._cluster, fs_name).fscid
        sights = [each for number, each in census.sights.items() if each.asked and wanted in (None, number)]
        if not census.asked or (wanted is not None and not sights):
            raise RefusalError(
                errno.EAGAIN,
                f"the servers have not told of their clients yet ({census.trouble or 'they are being asked'}); run it "
                "again in some seconds",
            )
        return sorted(sights, key=lambda sight: sight.file_system.fscid)

    def _judge(self, sight: Sight, census: Census) -> Judge:
        return Judge(self._subtrees, sight, census.entities, self._gates)


def unsafe_check(page: ClientPage) -> Simplified:
    """The health check about the sessions of a page; none for none."""
    if not page.clients:
        return {}
    told = [
        f"session {line.session} of {line.entity} on {line.host} ({line.software} {line.release}, mounted {line.root} "
        f"of {line.fs_name}): {line.path}: {line.reason}"
        for line in page.clients[:_NAMED]
    ]
    return {
        UNSAFE: {
            "severity": "warning",
            "summary": f"{len(page.clients)} clients can damage encrypted subtrees",
            "count": len(page.clients),
            "detail": [
                *map(one_line, told),
                "see `ceph fscrypt client explain SESSION`; keep them out with `ceph fscrypt gate preview FS PATH "
                "isolate`, then `gate set`",
            ],
        }
    }


def _rank(fscid: int, client: Client, order: Order) -> _Ranked:
    match order.column:
        case "entity":
            return fscid, client.entity, client.number
        case "since":
            return fscid, int(client.since), client.number
        case _:
            return fscid, 0, client.number


def _rank_of(spot: Spot | None, order: Order) -> _Ranked | None:
    """Raises ValueError: its name is no number of a session."""
    if spot is None:
        return None
    return spot.fscid, spot.value if order.column and spot.value is not None else 0, int(spot.name)


def _spot(rank: _Ranked) -> Spot:
    return Spot(rank[0], str(rank[2]), rank[1])


def _follows(rank: _Ranked, start: _Ranked | None, order: Order) -> bool:
    if start is None:
        return True
    return rank < start if order.reverse else rank > start


def _fits(client: Client, wanted: Mapping[str, str]) -> bool:
    said = (client.host, client.software, client.text, client.root)
    text = wanted.get("text")
    return wanted.get("entity") in (None, client.entity) and (
        text is None or any(text in each for each in said)
    )


def _worst(judged: Iterator[Judged] | Sequence[Judged]) -> Judged | None:
    return min(judged, key=lambda each: WORST_FIRST.index(each.verdict.kind), default=None)


def _line(sight: Sight, client: Client, worst: Judged | None) -> ClientLine:
    return ClientLine(
        fs_name=sight.file_system.name,
        session=client.number,
        entity=client.entity,
        host=client.host,
        root=client.root,
        software=client.software.value,
        release=".".join(map(str, client.release)),
        since=client.since,
        state=client.state,
        verdict=Kind.HARMLESS.value if worst is None else worst.verdict.kind.value,
        path="" if worst is None else worst.place.path,
        reason="meets no registered subtree" if worst is None else worst.verdict.reason,
    )


def _remedies(sight: Sight, client: Client, judged: Sequence[Judged]) -> tuple[str, ...]:
    bad = [each for each in judged if each.verdict.kind in (Kind.HARMFUL, Kind.UNKNOWN)]
    if not bad:
        return ()
    fs_name = shell_word(sight.file_system.name)
    path = shell_word(bad[0].place.path)
    evict = (
        f"`ceph tell mds.{fs_name}:0 client evict id={client.number}`, or all such ones: see what `ceph fscrypt gate "
        f"preview {fs_name} {path} evict` would do"
    )
    if any(each.outdated for each in bad):
        return (f"end the session, which then has to connect with the caps of today: {evict}",)
    rung = "isolate" if bad[0].place.mode == "engine" else "exclude"
    return (
        f"keep its entity out: see what `ceph fscrypt gate preview {fs_name} {path} {rung}` would change",
        f"then end the session, which keeps its caps until it does: {evict}",
    )


def _as_of(age: float) -> str:
    return f"As the MDSs told {age:.0f} s ago."
