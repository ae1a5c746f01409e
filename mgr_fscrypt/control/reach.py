"""Which cephx entities reach the files of encrypted subtrees that no gate closes: for `ceph fscrypt doctor`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .caps import CapsError, FileSystemPools, mds_grants, rights
from .findings import Finding, Grade, listed
from .judge import MetSubtrees, SetGates
from .observing import Caps, Sight
from .text import shell_word

_MODES = ("engine", "kernel")
_CLOSING = ("isolate", "exclude")


@dataclass(frozen=True)
class Reached:
    """An entity and an open subtree whose contents its caps let it write, or read."""

    entity: str
    path: str


class Reach:
    """Looks at the caps of all entities.

    Args:
        subtrees: the register.
        gates: those that are set.
    """

    def __init__(self, *, subtrees: MetSubtrees, gates: SetGates) -> None:
        self._subtrees = subtrees
        self._gates = gates

    def findings(self, sight: Sight, entities: Mapping[str, Caps]) -> Iterator[Finding]:
        """Judge who reaches the subtrees of one file system."""
        name = sight.file_system.name
        met: dict[str, tuple[str, ...]] = {}
        open_to: list[Reached] = []
        administrators: list[Reached] = []
        unread: list[str] = []
        for entity, caps in sorted(entities.items()):
            if not entity.startswith("client."):
                continue  # daemons have to
            try:
                found = next(self._reached(sight, entity, caps, met), None)
            except CapsError:
                unread.append(entity)
                continue
            if found is not None:
                (administrators if _rules(caps) else open_to).append(found)
        if open_to:
            path = shell_word(open_to[0].path)
            yield Finding(
                "caps",
                Grade.WARNING,
                f"{name}: OSD caps reach files of encrypted subtrees without a gate: "
                f"{listed([each.entity for each in open_to])}",
                f"see what `ceph fscrypt gate preview {shell_word(name)} {path} isolate` would change",
            )
        if unread:
            yield Finding(
                "caps",
                Grade.UNKNOWN,
                f"{name}: caps that are not understood: {listed(unread)}",
                f"look at `ceph auth get {shell_word(unread[0])}`",
            )
        closed = [
            gate
            for gate in self._gates.all()
            if gate.fscid == sight.file_system.fscid and gate.rung in _CLOSING
        ]
        told = listed([each.entity for each in administrators]) or "nobody"
        yield Finding(
            "caps",
            Grade.OK,
            f"{name}: who may change caps reaches what no gate closes: {told}; {len(closed)} subtrees have gates",
        )

    def _reached(
        self, sight: Sight, entity: str, caps: Caps, met: dict[str, tuple[str, ...]]
    ) -> Iterator[Reached]:
        pools = sight.served.pools
        for grant in mds_grants(caps.get("mds", "")):
            for path in self._met(sight.file_system.fscid, grant.path, met):
                if self._reaches(caps, pools, path):
                    yield Reached(entity, path)

    def _met(self, fscid: int, root: str, met: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
        if root not in met:
            found = (self._subtrees.met_from(fscid, root, mode) for mode in _MODES)
            met[root] = tuple(each.path for each in found if each is not None)
        return met[root]

    @staticmethod
    def _reaches(caps: Caps, pools: FileSystemPools, path: str) -> bool:
        found = rights(caps, pools, path, "")
        return found.meets and (found.reads or found.writes)


def _rules(caps: Caps) -> bool:
    """May it change caps? Whoever may is kept out by none."""
    return "allow *" in caps.get("mon", "")
