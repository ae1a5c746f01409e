"""Evictions and fences: sessions that are ended because of a subtree; `ceph fscrypt gate ... evict|fence`.

A fence is also what other parts of the manager ask for before they change what a stranger may have cached: `set` it,
and go on when `show` tells that its state is "fenced".
"""

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from ..store import Ended, Eviction, Gate, Subtree
from .asked import listed, normal_path, require_entities, require_fresh
from .clients import Client, at_or_below
from .cluster import FileSystem, FileSystemMap, existing, names_of
from .eviction_answers import EvictionLine, EvictionPage, EvictionPreview
from .eviction_plan import Chosen, Due, chosen, is_ours, left_alone
from .gates import ENDING, Wanted
from .judge import Judge, MetSubtrees, SetGates
from .observing import Census, Sight
from .refusal import RefusalError
from .results import Result
from .text import shell_word
from .verdicts import Place

GRACE = 60
"""Seconds that a session has before it is ended, unless others are asked for."""
MOST = 10
"""How many sessions are ended before somebody is asked, unless more are confirmed."""
_CLOSED = ("isolate", "exclude")
_LONGEST_GRACE = 86400


class EvictionStore(Protocol):
    """Where evictions are kept; `store.EvictionTable` tells what each call means."""

    def put(self, eviction: Eviction) -> None:
        """Record one."""
        ...

    def remove(self, fscid: int, path: str) -> None:
        """Drop one."""
        ...

    def at(self, fscid: int, path: str) -> Eviction | None:
        """Find by path."""
        ...

    def all(self) -> Sequence[Eviction]:
        """List them."""
        ...

    def record(self, ended: Ended) -> None:
        """Record a session that is about to be ended."""
        ...

    def hand_over(self, ended: Ended, path: str) -> None:
        """Have a session be one that was ended for another subtree instead."""
        ...

    def blocked(self, until: Mapping[str, int]) -> None:
        """Record until when addresses are refused."""
        ...

    def lift(self, addresses: Sequence[str], date: int) -> None:
        """Record that addresses are refused no longer."""
        ...

    def ended(self) -> Sequence[Ended]:
        """List the sessions that were ended."""
        ...


class Evictions:
    """What the commands about evictions and fences do. They record what is wanted; an `evictor.Evictor` carries it out.

    Args:
        store: where they are kept.
        subtrees: the register.
        gates: those that are set.
        cluster: the file systems that there are.
        census: gives what was learnt last.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        *,
        store: EvictionStore,
        subtrees: MetSubtrees,
        gates: SetGates,
        cluster: FileSystemMap,
        census: Callable[[], Census],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._subtrees = subtrees
        self._gates = gates
        self._cluster = cluster
        self._census = census
        self._clock = clock

    def watched(self) -> Result:
        """Is something asked for? ENOENT: nothing is."""
        if self._store.all():
            return Result()
        return Result.failed(errno.ENOENT, "no eviction is asked for")

    def show(self, fs_name: str | None = None, path: str | None = None) -> Result:
        """List evictions and fences and how they stand; with a path, to a person too, with their sessions."""
        try:
            fscid = None if fs_name is None else existing(self._cluster, fs_name).fscid
            wanted = None if path is None else normal_path(path)
        except RefusalError as refusal:
            return refusal.result
        census, ended = self._census(), self.ended()
        lines = tuple(
            self._line(each, census, ended)
            for each in self._store.all()
            if fscid in (None, each.fscid) and wanted in (None, each.path)
        )
        return Result(answer=EvictionPage(lines, path is not None))

    def preview(self, wanted: Wanted) -> Result:
        """Tell which sessions would be ended, and what they could do when they connect anew."""
        try:
            eviction, census = self._asked_for(wanted), self._census()
            return Result(answer=self._preview(wanted.fs_name, eviction, census))
        except RefusalError as refusal:
            return refusal.result

    def set(self, wanted: Wanted) -> Result:
        """Record that sessions are to be ended, and those that come later. The same again is once; after it stopped, it
        goes on."""
        try:
            eviction, census = self._asked_for(wanted), self._census()
            preview = self._preview(wanted.fs_name, eviction, census)
        except RefusalError as refusal:
            return refusal.result
        named = f"{eviction.path} of {wanted.fs_name}"
        before = self._store.at(eviction.fscid, eviction.path)
        if before is not None and _is_same(before, eviction):
            line = self._line(before, census, self.ended())
            if line.state != "stopped":
                return Result(status=f"{named}: {eviction.rung} is set so already; nothing to do")
        self._store.put(eviction)
        due = len(preview.chosen.due)
        ends = (
            f"none is ended without `--confirm {due}`, since these are more than {eviction.most}"
            if due > eviction.most
            else f"each after {eviction.grace} s"
        )
        return Result(
            status=f"{named}: {eviction.rung} is set; {due} sessions are to be ended, {ends}; `ceph fscrypt gate show "
            f"{shell_word(wanted.fs_name)} {shell_word(eviction.path)}` tells how it stands",
            answer=preview,
        )

    def end(self, fs_name: str, path: str, *, lift: bool) -> Result:
        """Have no more sessions ended, and what was blocked for it lifted, or left to its time.

        The status is empty where there was nothing to do.
        """
        try:
            fscid, path = existing(self._cluster, fs_name).fscid, normal_path(path)
        except RefusalError as refusal:
            return refusal.result
        before = self._store.at(fscid, path)
        blocked = self._not_needed(fscid, path)
        if lift and (blocked or before is not None):
            gone = Eviction(fscid, path, 0, "observe", 0, 0, (), (), int(self._clock()))
            self._store.put(
                replace(before or gone, rung="observe", wanted=gone.wanted, complete=0, trouble="")
            )
            return Result(
                status=f"no more sessions are ended, and {len(blocked)} addresses are being let in again"
            )
        if before is None:
            return Result()
        self._store.remove(fscid, path)
        left = (
            f"; {len(blocked)} addresses are refused until the blocklist lets go of them" if blocked else ""
        )
        return Result(status=f"no more sessions are ended{left}")

    def _not_needed(self, fscid: int, path: str) -> Sequence[Ended]:
        """What is blocked for one subtree only; what another one's eviction or fence stands on becomes that one's."""
        others = [
            each
            for each in self._store.all()
            if each.fscid == fscid and each.path != path and each.rung in ENDING
        ]
        left, all_ended = [], self.ended()
        for ended in all_ended:
            if (ended.fscid, ended.path) == (fscid, path) and ended.until:
                also = {each.path for each in all_ended if each.address == ended.address}
                heir = next((each for each in others if each.path in also or _is_kept_out(ended, each)), None)
                if heir is None:
                    left.append(ended)
                else:
                    self._store.hand_over(ended, heir.path)
        return left

    def begin(self, line: EvictionLine, due: Due) -> Result:
        """Record a session that is about to be ended."""
        client, eviction = due.client, line.eviction
        before = self._store.at(eviction.fscid, eviction.path)
        if before is None or not _is_same(before, eviction) or not self._is_due(before, client):
            return Result.failed(errno.EAGAIN, f"{line.named}: something else is asked for by now")
        self._store.record(
            Ended(
                fscid=eviction.fscid,
                session=client.number,
                address=client.address,
                path=eviction.path,
                entity=client.entity,
                host=client.host,
                software=client.program,
                root=client.root,
                why=due.why,
                at=int(self._clock()),
            )
        )
        return Result(
            status=f"{line.named}: ending session {client.number} of {client.entity} on {client.host} "
            f"({client.program}, {client.address}): {due.why}"
        )

    def _is_due(self, eviction: Eviction, client: Client) -> bool:
        """May it still be ended? Sessions before it took their time, and a gate may have let it in meanwhile."""
        gate = self._gate(eviction)
        if self._subtree(eviction) is None:
            return False
        return (gate is not None or eviction.rung == "fence") and not left_alone(client, eviction, gate)

    def learn(self, until: Mapping[str, float]) -> Result:
        """Record what the blocklist has of ended sessions."""
        now, changed = self._clock(), {}
        for each in self._store.ended():
            date = until.get(each.address, 0.0)
            found = int(date) if date > now else 0
            if found != each.until and not each.lifted:
                changed[each.address] = found
        self._store.blocked(changed)
        return Result()

    def ended(self) -> tuple[Ended, ...]:
        """The sessions that were ended, with what is refused now."""
        now = self._clock()
        return tuple(each if each.until > now else replace(each, until=0) for each in self._store.ended())

    def is_begun(self, line: EvictionLine, due: Due) -> bool:
        """Was it tried before?"""
        tried = {(each.session, each.address) for each in line.own}
        return (due.client.number, due.client.address) in tried

    def lifted(self, line: EvictionLine) -> Result:
        """Record that all that was blocked for one is let in again, and that it is over."""
        addresses = [each.address for each in line.blocked]
        self._store.lift(addresses, int(self._clock()))
        before = self._store.at(line.eviction.fscid, line.eviction.path)
        if before is not None and _is_same(before, line.eviction):
            self._store.remove(before.fscid, before.path)
        return Result(
            status=f"{line.named}: {', '.join(addresses) or 'nothing'} was taken from the blocklist; the clients can "
            "connect anew"
        )

    def completed(self, line: EvictionLine, epoch: int) -> Result:
        """Record that a fence is complete."""
        self._change(line, complete=max(1, int(self._clock())), trouble="")
        return Result(
            status=f"{line.named}: complete: no session but ours can meet it, {len(line.own)} were ended, and all OSDs "
            f"have map {epoch}"
        )

    def reopened(self, line: EvictionLine) -> Result:
        """Record that a fence is not complete any more."""
        self._change(line, complete=0)
        there = [
            *(each.client for each in line.chosen.due),
            *(each.client for each in line.chosen.spared),
        ]
        named = ", ".join(f"session {each.number} of {each.entity} on {each.host}" for each in there)
        return Result.failed(
            errno.EAGAIN, f"{line.named}: no longer complete: {named or 'sessions'} can meet it"
        )

    def trouble(self, line: EvictionLine, trouble: str) -> Result:
        """Record what is in the way; empty: nothing."""
        self._change(line, trouble=trouble)
        if not trouble:
            return Result(status=f"{line.named}: goes on")
        return Result.failed(errno.EAGAIN, f"{line.named}: is not done, and is tried again: {trouble}")

    def _change(self, line: EvictionLine, **changes: int | str) -> None:
        before = self._store.at(line.eviction.fscid, line.eviction.path)
        if before is not None and _is_same(before, line.eviction):
            self._store.put(replace(before, **changes))  # type: ignore[arg-type] # by name

    def _preview(self, fs_name: str, eviction: Eviction, census: Census) -> EvictionPreview:
        sight = census.sights[eviction.fscid]
        age = self._clock() - min(sight.asked, census.asked)
        return EvictionPreview(
            fs_name, eviction.path, eviction.rung, self._chosen(eviction, sight, census), eviction.most, age
        )

    def _chosen(self, eviction: Eviction, sight: Sight, census: Census) -> Chosen:
        subtree, gate = self._subtree(eviction), self._gate(eviction)
        if subtree is None or eviction.rung not in ENDING:
            return Chosen()
        place = Place(eviction.path, subtree.mode, gate.namespace if gate else "")
        judge = Judge(self._subtrees, sight, census.entities, self._gates)
        # while it was not registered, nobody was told of anything
        told = replace(eviction, wanted=max(eviction.wanted, subtree.registered))
        return chosen(told, sight, place, gate, judge)

    def _subtree(self, eviction: Eviction) -> Subtree | None:
        """The one that it was asked for, where that is still registered at its path."""
        there = self._subtrees.at(eviction.fscid, eviction.path)
        return there if there is not None and there.inode == eviction.inode else None

    def _gate(self, eviction: Eviction) -> Gate | None:
        """The gate of its subtree that keeps entities out."""
        found = (
            each for each in self._gates.all() if (each.fscid, each.path) == (eviction.fscid, eviction.path)
        )
        return next((each for each in found if each.rung in _CLOSED), None)

    def _line(self, eviction: Eviction, census: Census, all_ended: Sequence[Ended]) -> EvictionLine:
        sight = census.sights.get(eviction.fscid)
        subtree = self._subtree(eviction)
        ended = tuple(
            each for each in all_ended if (each.fscid, each.path) == (eviction.fscid, eviction.path)
        )
        names = names_of(self._cluster)
        clients = () if sight is None else sight.clients
        found = Chosen() if sight is None else self._chosen(eviction, sight, census)
        now = self._clock()
        line = EvictionLine(
            fs_name=names.get(eviction.fscid, f"file system {eviction.fscid}"),
            eviction=eviction,
            state="waiting",
            chosen=found,
            ripe=tuple(each for each in found.due if each.at <= now),
            ended=ended,
            ours=frozenset(each.number for each in clients if is_ours(each, census.entities)),
            ranks=() if sight is None else tuple(sight.served.ranks),
            inode=0 if subtree is None else subtree.inode,
            replaced=subtree is None and self._subtrees.at(eviction.fscid, eviction.path) is not None,
            unread=0 if sight is None else sight.unread,
        )
        return replace(line, state=self._state(line, sight, census))

    def _state(self, line: EvictionLine, sight: Sight | None, census: Census) -> str:
        eviction, gate = line.eviction, self._gate(line.eviction)
        if eviction.rung == "observe":
            return "ending"
        if not line.inode or (eviction.rung == "evict" and gate is None):
            return "stuck"
        # caps first: who is ended before would come back as it was
        pending = gate is not None and gate.applied < gate.wanted
        if pending or sight is None or not (sight.current and census.current):
            return "waiting"
        if line.much:
            return "stopped"
        if line.chosen.due:
            return "evicting" if line.ripe else "announced"
        if eviction.rung == "evict":
            return "set"
        return "fenced" if eviction.complete and not line.chosen.spared else "open"

    def _asked_for(self, wanted: Wanted) -> Eviction:
        """What is asked for, not yet done.

        Raises:
            RefusalError: it makes no sense, or cannot be judged by what is known.
        """
        found = existing(self._cluster, wanted.fs_name)
        path, census = normal_path(wanted.path), self._census()
        require_fresh(census, found.fscid, self._clock())
        subtree = self._required(found, path)
        before = self._store.at(found.fscid, path)
        standing = before if before is not None and before.rung == wanted.rung else None
        spared = listed(wanted.keep, standing.spared if standing else ())
        gateways = listed(wanted.gateways, standing.gateways if standing else ())
        for text, names in ((wanted.keep, spared), (wanted.gateways, gateways)):
            require_entities(names if text is not None else (), census.entities)
        eviction = Eviction(
            fscid=found.fscid,
            path=path,
            inode=subtree.inode,
            rung=wanted.rung,
            grace=_number("--grace", wanted.grace, standing.grace if standing else GRACE, _LONGEST_GRACE),
            most=_number("--confirm", wanted.confirm, MOST, 1_000_000),
            spared=spared,
            gateways=gateways,
            wanted=int(self._clock()),
        )
        if wanted.rung == "evict" and self._gate(eviction) is None:
            raise RefusalError(
                errno.EINVAL,
                f"{path} of {found.name} has no gate that keeps anybody out, so who is evicted would come back as it "
                "was; nothing was changed; set `isolate` or `exclude` first: see what `ceph fscrypt gate preview "
                f"{shell_word(found.name)} {shell_word(path)} isolate` would do",
            )
        return eviction

    def _required(self, found: FileSystem, path: str) -> Subtree:
        subtree = self._subtrees.at(found.fscid, path)
        if subtree is None:
            raise RefusalError(
                errno.ENOENT,
                f"no subtree {path} is registered on {found.name}, nothing was changed; see `ceph fscrypt subtree ls "
                f"{shell_word(found.name)}`",
            )
        return subtree


def _is_same(one: Eviction, other: Eviction) -> bool:
    """Is the same asked for, whenever it was, and however it stands?"""
    return replace(one, wanted=0, complete=0, trouble="") == replace(other, wanted=0, complete=0, trouble="")


def _is_kept_out(ended: Ended, other: Eviction) -> bool:
    """Is it a fence that would have ended this session?"""
    if other.rung != "fence":
        return False
    meets = at_or_below(other.path, ended.root) or at_or_below(ended.root, other.path)
    return meets and ended.entity not in other.spared


def _number(option: str, given: int | None, usual: int, most: int) -> int:
    if given is None:
        return usual
    if not 0 <= given <= most:
        raise RefusalError(
            errno.EINVAL, f"{option} {given} is not a number from 0 to {most}; nothing was changed"
        )
    return given
