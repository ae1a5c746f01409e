"""What commands answer about evictions and fences, and what health tells of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from ..store import Ended, Eviction
from .clients import Client
from .eviction_plan import Chosen, Due
from .text import moment, one_line, shell_word, table
from .values import Simplified

EVICTION = "FSCRYPT_EVICTION"
_NAMED = 20


@dataclass(frozen=True)
class EvictionLine:
    """An eviction or a fence, and how it stands.

    Args:
        fs_name: its file system.
        eviction: what was asked for.
        state: "set" (nobody is to be ended), "fenced" (the same of a fence, and it is complete), "open" (a fence that
            is not), "announced" (sessions are to be ended, later), "evicting", "stopped" (more than may be ended),
            "waiting" (for the gate's caps, or for the servers), "stuck" (the subtree, or its gate, is gone), "ending"
            (what it did is being taken back).
        chosen: the sessions that it is about.
        ripe: those that may be ended now.
        ended: what it ended, and what was ended for this subtree before.
        ours: numbers of the sessions that are never ended.
        ranks: of the file system's MDSs.
        inode: of the subtree's top directory; 0: it is not registered at its path any more.
        replaced: another subtree is registered there.
        unread: sessions that were not understood.
    """

    fs_name: str
    eviction: Eviction
    state: str
    chosen: Chosen
    ripe: tuple[Due, ...]
    ended: tuple[Ended, ...]
    ours: frozenset[int]
    ranks: tuple[int, ...]
    inode: int
    replaced: bool
    unread: int

    @property
    def where(self) -> str:
        """File system and path, as words of a command."""
        return f"{shell_word(self.fs_name)} {shell_word(self.eviction.path)}"

    @property
    def named(self) -> str:
        """As a sentence begins with it."""
        return f"{self.eviction.path} of {self.fs_name}, {self.eviction.rung}"

    @property
    def blocked(self) -> tuple[Ended, ...]:
        """The ended sessions whose addresses are refused."""
        return tuple(each for each in self.ended if each.until)

    @property
    def own(self) -> tuple[Ended, ...]:
        """The sessions that were ended since it was asked for."""
        return tuple(each for each in self.ended if each.at >= self.eviction.wanted)

    @property
    def much(self) -> bool:
        """Are more to be ended than may be?"""
        tried = {(each.session, each.address) for each in self.own}
        due = {(each.client.number, each.client.address) for each in self.chosen.due}
        return len(tried | due) > self.eviction.most

    @property
    def asks(self) -> str:
        """What waits for somebody; empty: nothing."""
        rung, due = self.eviction.rung, len(self.chosen.due)
        if self.state == "stopped":
            return (
                f"stopped: {len(self.own)} sessions were ended and {due} are to be, of {self.eviction.most} that "
                f"may be; `ceph fscrypt gate show {self.where}` says who; `ceph fscrypt gate set {self.where} {rung} "
                f"--confirm {due}` lets so many more be ended"
            )
        if self.state == "stuck":
            gone = "its gate is gone: set it again"
            if self.replaced:
                gone = f"another subtree is at that path by now: set `{rung}` again if that one is meant"
            elif not self.inode:
                gone = "the subtree is not registered any more: register it again"
            return f"nobody is ended: {gone}, or end the eviction by `ceph fscrypt gate set {self.where} observe`"
        return ""

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        eviction = self.eviction
        return {
            "fs_name": self.fs_name,
            "path": eviction.path,
            "rung": eviction.rung,
            "state": self.state,
            "grace": eviction.grace,
            "confirmed": eviction.most,
            "used": len(self.own),
            "spared_entities": list(eviction.spared),
            "gateways": list(eviction.gateways),
            "wanted": eviction.wanted,
            "complete": eviction.complete,
            "trouble": eviction.trouble,
            "due": due_sessions(self.chosen),
            "left_alone": spared_sessions(self.chosen),
            "ended": [asdict(each) for each in self.ended],
        }


@dataclass(frozen=True)
class EvictionPage:
    """All evictions and fences, or one.

    Args:
        evictions: in order of file system and path.
        detailed: whether a person is shown all, too.
    """

    evictions: tuple[EvictionLine, ...]
    detailed: bool

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        return {"evictions": [line.simplified() for line in self.evictions]}

    def plain(self) -> str:
        """Show it to a person; nothing where there is none."""
        if not self.evictions:
            return ""
        rows = [
            (
                line.fs_name,
                line.eviction.path,
                line.eviction.rung,
                line.state,
                str(len(line.chosen.due)),
                str(len(line.ended)),
            )
            for line in self.evictions
        ]
        titles = ("FILE SYSTEM", "PATH", "RUNG", "STATE", "TO END", "ENDED")
        lines = [table(titles, rows, numbers={4, 5})]
        for line in self.evictions:
            told = (line.asks, line.eviction.trouble)
            lines += [one_line(f"{line.eviction.path}: {each}") for each in told if each]
            lines += _details(line) if self.detailed else []
        return "\n".join(lines)


@dataclass(frozen=True)
class EvictionPreview:
    """What an eviction or a fence would do.

    Args:
        fs_name, path, rung: which one.
        chosen: the sessions that it is about.
        most: how many may be ended before somebody is asked.
        age: of what was learnt, in seconds.
    """

    fs_name: str
    path: str
    rung: str
    chosen: Chosen
    most: int
    age: float

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        return {
            "fs_name": self.fs_name,
            "path": self.path,
            "rung": self.rung,
            "due": due_sessions(self.chosen),
            "left_alone": spared_sessions(self.chosen),
            "confirmed": self.most,
            "age": self.age,
        }

    def plain(self) -> str:
        """Show it to a person."""
        lines = [one_line(f"{self.path} of {self.fs_name}: {self.rung}")]
        lines += _sessions(self.chosen) or ["No session has to be ended."]
        due = len(self.chosen.due)
        if due:
            lines.append(
                "What they have not written yet is lost; their addresses are refused until the blocklist drops them."
            )
        if due > self.most:
            lines.append(f"That are more than {self.most}: none is ended without `--confirm {due}`.")
        return "\n".join([*lines, f"As the servers told {self.age:.0f} s ago."])


@dataclass(frozen=True)
class EndedStory:
    """What is known of sessions of a number that were ended, and are not there any more.

    Args:
        ended: the sessions, with the names of their file systems.
    """

    ended: tuple[tuple[str, Ended], ...]

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        return {"ended": [asdict(each) | {"fs_name": fs_name} for fs_name, each in self.ended]}

    def plain(self) -> str:
        """Show it to a person."""
        lines = []
        for fs_name, each in self.ended:
            lines += [
                f"session {each.session} of {fs_name} was ended by this module at {moment(each.at)}",
                f"  it said that it was {each.software} on host {each.host} ({each.address})",
                f"  it had mounted {each.root} and had authenticated as {each.entity}",
                f"  it was ended for {each.path}: {each.why}",
                f"  {_fate(each)}",
            ]
            where = f"{shell_word(fs_name)} {shell_word(each.path)}"
            if each.until:
                lines.append(
                    "To do: mount again on that host, with the caps of today; `ceph fscrypt gate set "
                    f"{where} observe` ends the gate, and lets the address in again"
                )
        return "\n".join(map(one_line, lines))


def eviction_check(lines: Sequence[EvictionLine]) -> Simplified:
    """The health check about sessions that are to be ended, and about what waits for somebody; none for none."""
    told = []
    for line in lines:
        told += [f"{line.where}: {each}" for each in (line.asks, line.eviction.trouble) if each]
        if line.state in ("announced", "evicting"):
            told += [
                f"{line.where}: session {each.client.number} of {each.client.entity} on {each.client.host} is ended at "
                f"{moment(each.at)}: {each.why}"
                for each in line.chosen.due
            ]
    if not told:
        return {}
    return {
        EVICTION: {
            "severity": "warning",
            "summary": f"{len(told)} evictions of clients from encrypted subtrees are due, or wait",
            "count": len(told),
            "detail": [
                *map(one_line, told[:_NAMED]),
                "see `ceph fscrypt gate show FS PATH`; `isolate` or `exclude`, set again, stops it; `observe` lifts it",
            ],
        }
    }


def due_sessions(chosen: Chosen) -> list[Simplified]:
    """Those that are to be ended, as plain JSON types."""
    return [_session(each.client, each.why) | {"at": each.at, "anew": each.anew} for each in chosen.due]


def spared_sessions(chosen: Chosen) -> list[Simplified]:
    """Those that are left alone, as plain JSON types."""
    return [_session(each.client, each.why) for each in chosen.spared]


def _session(client: Client, why: str) -> Simplified:
    return {
        "session": client.number,
        "entity": client.entity,
        "host": client.host,
        "software": client.program,
        "root": client.root,
        "why": why,
    }


def _sessions(chosen: Chosen) -> list[str]:
    lines = []
    if chosen.due:
        rows = [
            (
                str(each.client.number),
                each.client.entity,
                each.client.host,
                each.client.program,
                moment(each.at),
                each.anew,
                each.why,
            )
            for each in chosen.due
        ]
        titles = ("SESSION", "ENTITY", "HOST", "SOFTWARE", "ENDED AT", "CONNECTED ANEW IT CAN", "WHY")
        lines.append(table(titles, rows, numbers={0}))
    if chosen.spared:
        lines.append("Left alone:")
        lines += [
            one_line(
                f"  session {each.client.number} of {each.client.entity} on {each.client.host} "
                f"({each.client.program}): {each.why}"
            )
            for each in chosen.spared
        ]
    return lines


def _details(line: EvictionLine) -> list[str]:
    eviction = line.eviction
    lines = [
        f"grace       {eviction.grace} s",
        f"confirmed   {len(line.own)} of {eviction.most} sessions were ended",
    ]
    lines += [f"kept        {', '.join(eviction.spared)}"] * bool(eviction.spared)
    lines += [f"gateways    {', '.join(eviction.gateways)}"] * bool(eviction.gateways)
    lines += [f"complete    since {moment(eviction.complete)}"] * bool(eviction.complete)
    ended = [
        f"ended       session {each.session} of {each.entity} on {each.host} ({each.address}) at {moment(each.at)}: "
        f"{_fate(each)}"
        for each in line.ended
    ]
    return [*map(one_line, lines), *_sessions(line.chosen), *map(one_line, ended)]


def _fate(ended: Ended) -> str:
    if ended.lifted:
        return f"its address was refused until {moment(ended.lifted)}, when that was lifted"
    if ended.until:
        return f"its address is refused until {moment(ended.until)}"
    return "its address is not refused (any more)"
