"""Which caps have to change so that only admitted entities reach a subtree, and who is cut off by that.

Nothing is done here: a plan is shown first, and carried out by whoever may (doc/gating.md).
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from ..store import Gate
from .caps import (
    CapsError,
    FileSystemPools,
    MdsGrant,
    OsdGrant,
    Rights,
    mds_grants,
    osd_grants,
    rights,
    spans,
    written,
)
from .clients import Client, Software, at_or_below

SUBVOLUMES = "fsvolumens_"
"""What the namespaces of isolated subvolumes begin with (doc/facts.md G4)."""
LEASES = "fscrypt.leases"
"""The namespace of our engine's leases: whoever could take them goes on (doc/engine-xattr.md)."""
Caps = Mapping[str, str]


@dataclass(frozen=True)
class Enclosure:
    """A subtree and who may reach it.

    Args:
        pools: of its file system.
        path: of its top directory.
        namespace: the RADOS namespace of its files.
        admitted: the entities that may.
        excluding: whether the MDSs keep others out, too.
        open_paths: the directories that others keep then.
        kept: namespaces that others keep, whatever encloses them beside, but for those that are enclosed themselves;
            with the default one, our engine's leases and those of subvolumes.
    """

    pools: FileSystemPools
    path: str
    namespace: str
    admitted: AbstractSet[str]
    excluding: bool = False
    open_paths: Sequence[str] = ()
    kept: Sequence[str] = ()


@dataclass(frozen=True)
class CapsChange:
    """All caps of one entity, before and after.

    Args:
        entity: whose they are.
        original: as they would be without any enclosure.
        before: as they are.
        after: as they should be.
        by: the enclosures that have a part in it.
    """

    entity: str
    original: Caps
    before: Caps
    after: Caps
    by: tuple[Enclosure, ...] = ()

    @property
    def command(self) -> str:
        """The line that does it."""
        return caps_command(self.entity, self.after)

    @property
    def undo(self) -> str:
        """The line that takes it back."""
        return caps_command(self.entity, self.before)


@dataclass(frozen=True)
class Untouched:
    """An entity that reaches a subtree, or may, and whose caps are left alone by its enclosure."""

    entity: str
    why: str
    by: Enclosure


@dataclass(frozen=True)
class Plan:
    """What has to change.

    Args:
        changes: by the entities' names.
        untouched: who is left alone, and why.
    """

    changes: tuple[CapsChange, ...]
    untouched: tuple[Untouched, ...]


@dataclass(frozen=True)
class CutOff:
    """A session that loses something.

    Args:
        client: which one.
        loses: what it could do and cannot any more, when it connects the next time.
        keeps: what it still can do to the subtree; empty: nothing.
    """

    client: Client
    loses: str
    keeps: str


class _LeaveAloneError(Exception):
    """Caps that reach the subtree and cannot be narrowed without taking something else."""


def enclosure_of(gate: Gate, pools: FileSystemPools) -> Enclosure:
    """What a gate on a subtree encloses."""
    return Enclosure(
        pools=pools,
        path=gate.path,
        namespace=gate.namespace,
        admitted=frozenset(gate.admitted),
        excluding=gate.rung == "exclude",
        open_paths=gate.open_paths,
        kept=gate.kept,
    )


def caps_command(entity: str, caps: Caps) -> str:
    """The line that gives an entity these caps and no others."""
    words = ["ceph", "auth", "caps", entity, *(word for pair in sorted(caps.items()) for word in pair)]
    return shlex.join(words)


def planned(
    entities: Mapping[str, Caps],
    enclosures: Sequence[Enclosure],
    *,
    originals: Mapping[str, Caps],
    file_systems: Sequence[str],
) -> Plan:
    """Give the plan that has all subtrees enclosed. Once it was carried out, the plan is empty.

    Args:
        entities: caps of all entities, as they are.
        enclosures: of all file systems. One that is no longer among them is taken back.
        originals: caps as they would be without any enclosure, of those entities that have others by earlier plans.
        file_systems: the names of all file systems.
    """
    changes, untouched = [], []
    for entity, now in sorted(entities.items()):
        # daemons reach everything: they are the cluster
        if not entity.startswith("client."):
            continue
        original = after = dict(originals.get(entity, now))
        by = []
        for enclosure in enclosures:
            try:
                step = _enclosed(entity, after, enclosure, enclosures, file_systems)
            except (CapsError, _LeaveAloneError) as error:
                untouched.append(Untouched(entity, str(error), enclosure))
                continue
            if step != after:
                after = step
                by.append(enclosure)
        if after != dict(now):
            changes.append(CapsChange(entity, original, dict(now), after, tuple(by)))
    return Plan(tuple(changes), tuple(untouched))


def cut_off(
    clients: Iterable[Client], changes: Iterable[CapsChange], enclosure: Enclosure
) -> tuple[CutOff, ...]:
    """Give the sessions of the file system that lose something of a subtree by changes."""
    by_entity = {change.entity: change for change in changes}
    found = []
    for client in clients:
        change = by_entity.get(client.entity)
        if change is None or client.software is Software.MANAGER or not client.reaches(enclosure.path):
            continue
        place = (enclosure.pools, enclosure.path, enclosure.namespace)
        lost = _lost(
            client, rights(change.before, *place), rights(change.after, *place), change, enclosure.pools
        )
        if lost is not None:
            found.append(lost)
    return tuple(found)


def _lost(
    client: Client, before: Rights, after: Rights, change: CapsChange, pools: FileSystemPools
) -> CutOff | None:
    if before.meets and not after.meets:
        paths = [each.path for each in mds_grants(change.after.get("mds", "")) if each.meets(pools, "/")]
        moves = not any(at_or_below(client.root, path) for path in paths)
        mounts = (
            f"; can no longer mount {client.root}, only {' or '.join(paths) or 'nothing'}" if moves else ""
        )
        return CutOff(client, f"everything below the subtree{mounts}", "")
    if (before.reads and not after.reads) or (before.writes and not after.writes):
        return CutOff(
            client,
            "reading and writing the subtree's files",
            "list, truncate, rename, chmod and remove them" if after.changes else "list them",
        )
    return None


def _enclosed(
    entity: str,
    caps: dict[str, str],
    enclosure: Enclosure,
    enclosures: Sequence[Enclosure],
    file_systems: Sequence[str],
) -> dict[str, str]:
    """One entity's caps under one enclosure."""
    # caps that are not understood whole are left alone whole
    mds_grants(caps.get("mds", ""))
    if entity in enclosure.admitted:
        return _admitted(caps, enclosure)
    kept = _kept(entity, enclosure, enclosures)
    after = caps | {"osd": _enclosed_osd(caps.get("osd", ""), enclosure, kept)}
    if enclosure.excluding:
        after |= {"mds": _enclosed_mds(caps.get("mds", ""), enclosure, file_systems)}
    return {service: text for service, text in after.items() if text}


def _kept(entity: str, enclosure: Enclosure, enclosures: Sequence[Enclosure]) -> tuple[str, ...]:
    """The namespaces that an entity which reaches all of them is left with."""
    beside = [each for each in enclosures if each.pools.name == enclosure.pools.name]
    together = (enclosure, *beside)
    named = (f"{SUBVOLUMES}*", *(name for each in together for name in each.kept))
    free = (name for name in named if not any(spans(name, each.namespace) for each in together))
    reached = (each.namespace for each in beside if entity in each.admitted)
    return tuple(dict.fromkeys(("", LEASES, *free, *reached)))


def _admitted(caps: dict[str, str], enclosure: Enclosure) -> dict[str, str]:
    found = rights(caps, enclosure.pools, enclosure.path, enclosure.namespace)
    if not found.meets:
        raise _LeaveAloneError("it is admitted, but its MDS caps do not reach the subtree")
    if found.reads and (found.writes or not found.changes):
        return caps
    grant = OsdGrant(
        text="", permissions="rw" if found.changes else "r", tag=("cephfs", "data", enclosure.pools.name)
    ).narrowed(enclosure.namespace)
    return caps | {"osd": written([*osd_grants(caps.get("osd", "")), grant])}


def _enclosed_osd(text: str, enclosure: Enclosure, kept: Sequence[str]) -> str:
    grants = osd_grants(text)
    left: list[OsdGrant] = []
    for grant in grants:
        if (
            not grant.covers(enclosure.pools, enclosure.namespace)
            or not grant.of_files
            or not (grant.reads or grant.writes)
        ):
            left.append(grant)
        elif grant.namespace == enclosure.namespace:
            continue
        else:
            left += (grant.narrowed(each) for each in _narrowing(grant, kept))
    # as it is written, where nothing is to be changed
    return text if left == list(grants) else written(list(dict.fromkeys(left)))


def _narrowing(grant: OsdGrant, kept: Sequence[str]) -> Sequence[str]:
    """The namespaces that a grant is to be narrowed to."""
    if grant.pool is None and grant.tag is None:
        raise _LeaveAloneError(f'"{grant.text}" reaches every pool of the cluster')
    if grant.tag is not None and "*" in grant.tag:
        raise _LeaveAloneError(f'"{grant.text}" reaches more than this file system\'s data')
    if grant.namespace is not None:
        raise _LeaveAloneError(f'"{grant.text}" reaches all namespaces of that beginning')
    return kept


def _enclosed_mds(text: str, enclosure: Enclosure, file_systems: Sequence[str]) -> str:
    grants, name = mds_grants(text), enclosure.pools.name
    left: list[MdsGrant] = []
    for grant in grants:
        if not grant.meets(enclosure.pools, enclosure.path):
            left.append(grant)
            continue
        if grant.permissions in ("*", "all"):
            raise _LeaveAloneError(f'"{grant.text}" may command the MDSs')
        left += (grant.limited(name, path) for path in enclosure.open_paths if at_or_below(path, grant.path))
        if grant.fsname in (None, "*"):
            left += (grant.limited(other, grant.path) for other in file_systems if other != name)
    return text if left == list(grants) else written(list(dict.fromkeys(left)))
