"""Judges the sessions of one file system: what each can do to which encrypted subtree."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..store import Gate, GatedCaps, Subtree
from .caps import CapsError, FileSystemPools, Rights, rights
from .clients import Client
from .observing import Caps, Sight
from .verdicts import Place, Verdict, verdict

_MODES = ("engine", "kernel")


class MetSubtrees(Protocol):
    """Registered subtrees; `store.SubtreeTable` tells what each call means."""

    def at(self, fscid: int, path: str) -> Subtree | None:
        """Find by path."""
        ...

    def counts(self) -> Mapping[tuple[int, str], int]:
        """Count by file system and mode."""
        ...

    def met_from(self, fscid: int, root: str, mode: str) -> Subtree | None:
        """Find some subtree without a gate that a client of this root meets."""
        ...


class SetGates(Protocol):
    """Gates; `store.GateTable` tells what each call means."""

    def all(self) -> Sequence[Gate]:
        """List them."""
        ...

    def changed(self) -> Sequence[GatedCaps]:
        """List the caps that gates changed."""
        ...


@dataclass(frozen=True)
class Judged:
    """A session, what it can do to one subtree, and whether its entity has other caps by now."""

    client: Client
    place: Place
    outdated: bool
    verdict: Verdict


class Judge:
    """Judges sessions, and looks up each root and reads all caps once.

    Args:
        subtrees: the register.
        sight: the file system.
        entities: caps of all entities.
        gates: those that are set.

    Attributes:
        entities: caps of all entities.
    """

    def __init__(
        self, subtrees: MetSubtrees, sight: Sight, entities: Mapping[str, Caps], gates: SetGates
    ) -> None:
        self._subtrees = subtrees
        self._fscid = sight.file_system.fscid
        self._pools = sight.served.pools
        self.entities = entities
        self._changed = {each.entity: each for each in gates.changed()}
        self._gated = list(self._of_gates(gates))
        self._met: dict[str, tuple[Place, ...]] = {}
        self._rights: dict[tuple[str, str, Place], Rights | None] = {}

    def judged(self, client: Client) -> Iterator[Judged]:
        """One verdict for each gated subtree that it reaches, and one of each mode for the others."""
        for place in (*self._ungated(client.root), *self._gated):
            if client.reaches(place.path):
                yield self.on(client, place)

    def on(self, client: Client, place: Place) -> Judged:
        """The verdict for one subtree."""
        caps, outdated = self.caps_of(client)
        return Judged(
            client, place, outdated, verdict(client, place, self.rights_by(caps, place), outdated=outdated)
        )

    def caps_of(self, client: Client) -> tuple[Caps | None, bool]:
        """The caps that a client connected with, and whether they are others by now."""
        now = self.entities.get(client.entity)
        known = self._changed.get(client.entity)
        # whatever somebody else has made of them since: what he did it to is not known
        if now is None or known is None or now != known.after:
            return now, False
        then = known.at(client.since)
        return then, then != now

    def caps_now(self, client: Client) -> Caps | None:
        """The caps that its entity has; None: there is no such entity."""
        return self.entities.get(client.entity)

    def rights_by(self, caps: Caps | None, place: Place) -> Rights | None:
        """What caps let one do with a subtree; None: they are not there, or not understood."""
        if caps is None:
            return None
        key = (caps.get("mds", ""), caps.get("osd", ""), place)
        if key not in self._rights:
            self._rights[key] = _rights(caps, self._pools, place)
        return self._rights[key]

    def _of_gates(self, gates: SetGates) -> Iterator[Place]:
        for gate in gates.all():
            subtree = self._subtrees.at(gate.fscid, gate.path) if gate.fscid == self._fscid else None
            if subtree is not None:
                yield Place(gate.path, subtree.mode, gate.namespace)

    def _ungated(self, root: str) -> Sequence[Place]:
        if root not in self._met:
            found = (self._subtrees.met_from(self._fscid, root, mode) for mode in _MODES)
            self._met[root] = tuple(Place(each.path, each.mode) for each in found if each is not None)
        return self._met[root]


def _rights(caps: Caps, pools: FileSystemPools, place: Place) -> Rights | None:
    try:
        return rights(caps, pools, place.path, place.namespace)
    except CapsError:
        return None
