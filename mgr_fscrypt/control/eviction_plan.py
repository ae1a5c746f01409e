"""Which sessions an eviction or a fence of a subtree ends, which it leaves alone, and why.

Nothing is done here: it is shown first, and carried out by an `evictor.Evictor` (doc/gating.md).
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from ..store import Eviction, Gate
from .caps import Rights
from .clients import Client, Software
from .gate_plan import CapsChange, cut_off, enclosure_of
from .judge import Judge
from .observing import Caps, Sight
from .verdicts import Kind, Place


@dataclass(frozen=True)
class Due:
    """A session that is to be ended.

    Args:
        client: which one.
        why: in one sentence.
        at: from when on, in seconds since the epoch.
        anew: what it can do to the subtree when it connects again, by its entity's caps of today.
    """

    client: Client
    why: str
    at: float
    anew: str


@dataclass(frozen=True)
class Spared:
    """A session that would have to be ended, and is left alone."""

    client: Client
    why: str


@dataclass(frozen=True)
class Chosen:
    """The sessions that matter, in order of their numbers."""

    due: tuple[Due, ...] = ()
    spared: tuple[Spared, ...] = ()


def chosen(eviction: Eviction, sight: Sight, place: Place, gate: Gate | None, judge: Judge) -> Chosen:
    """Choose among the sessions that a file system has.

    An eviction ends those that are harmful to the subtree, or still have what its gate took from their entities. A
    fence ends all that can meet it by what they mounted.

    Args:
        eviction: what is asked for.
        sight: the file system as it was seen.
        place: the subtree.
        gate: of the subtree; None: it has none.
        judge: of that file system.
    """
    due, spared = [], []
    for client, why in _concerned(eviction, sight, place, gate, judge):
        alone = left_alone(client, eviction, gate)
        if alone:
            spared.append(Spared(client, f"{alone}; {why}"))
        else:
            # it was told of when it was asked for, or as soon as the session was there
            told = max(eviction.wanted, client.since)
            anew = powers(judge.rights_by(judge.caps_now(client), place))
            due.append(Due(client, why, told + eviction.grace, anew))
    return Chosen(tuple(due), tuple(spared))


def is_ours(client: Client, entities: Collection[str]) -> bool:
    """Is it one of those that are never ended: our own, as they say themselves, and those of ceph-mgr's modules?

    18.2 lists no types of entities, and its manager tells the monitors of its clients some seconds late: what
    authenticated by a name that only a manager has is taken for a manager's.
    """
    if client.software in (Software.ENGINE, Software.MANAGER):
        return True
    return client.entity not in entities and f"mgr.{client.entity.partition('.')[2]}" in entities


def left_alone(client: Client, eviction: Eviction, gate: Gate | None) -> str:
    """Why a session is not ended by it; empty: it is."""
    if client.entity in eviction.spared:
        return "kept by --keep"
    if client.gateway and client.entity not in eviction.gateways:
        return f"a gateway, for many who are not seen here: ended only when it is named by --gateway {client.entity}"
    if eviction.rung == "evict" and gate is not None and client.entity in gate.admitted:
        return "admitted by the gate"
    return ""


def powers(rights: Rights | None) -> str:
    """What rights are good for, in words."""
    if rights is None:
        return "what its caps say, which are not understood"
    if not rights.meets:
        return "do nothing"
    words = [
        "list",
        *["read"] * rights.reads,
        *["write"] * (rights.writes and rights.changes),
        *["truncate, rename, chmod, remove"] * rights.changes,
    ]
    return ", ".join(words)


def _concerned(
    eviction: Eviction, sight: Sight, place: Place, gate: Gate | None, judge: Judge
) -> Iterator[tuple[Client, str]]:
    for client in sight.clients:
        if is_ours(client, judge.entities) or not client.reaches(place.path):
            continue
        if eviction.rung == "fence":
            yield client, f"mounted {client.root}, from where it can meet the subtree"
            continue
        judged = judge.on(client, place)
        if judged.verdict.kind is Kind.HARMFUL:
            yield client, judged.verdict.reason
        elif judged.outdated and gate is not None:
            lost = _lost(client, judge.caps_of(client)[0], judge.caps_now(client), gate, sight)
            if lost:
                yield client, f"connected before the gate took it: {lost}"


def _lost(client: Client, then: Caps | None, now: Caps | None, gate: Gate, sight: Sight) -> str:
    """What a session has that its entity has no more; empty: nothing."""
    if then is None or now is None:
        return ""
    change = CapsChange(client.entity, then, then, now)
    return next(
        (each.loses for each in cut_off([client], [change], enclosure_of(gate, sight.served.pools))), ""
    )
