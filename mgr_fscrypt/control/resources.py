"""How things should be, as people declare it: `ceph fscrypt apply`, and `show`, which prints what that takes.

What can be done here is done exactly as by the commands. What takes a secret or credentials is answered with the line
to run on a client.
"""

import errno
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Self

from ..messages import KeyFacts, Policy, ProtectorFacts, SubtreeFacts
from ..messages.resource import (
    KINDS,
    GateResource,
    KeyResource,
    KmsResource,
    Resource,
    SubtreeResource,
    TenantResource,
    resource_of,
)
from ..store import Gate, Key, Place, Spot, Subtree
from .client_lines import left_to_a_client
from .cluster import FileSystem, FileSystemMap, existing
from .destructions import Destructions
from .gates import Gates, GateStore, Wanted
from .key_managers import NOT_ASKED, DeclaredManagers
from .keys import Keys, KeyStore
from .packed import PART, Made, packed
from .paging import following, page_size, position
from .refusal import RefusalError
from .results import Part, Result, written
from .subtrees import Subtrees, SubtreeStore
from .tenants import TenantStore
from .text import one_line, shell_word, table
from .values import Simplified

_OUTCOMES = {
    "changed": "changed",
    "would change": "would change",
    "unchanged": "unchanged",
    "refused": "refused",
    "client": "for a client to do",
}
_PLACES = tuple(kind.removeprefix("fscrypt.") for kind in KINDS)
"""Kinds as a place in what `show` prints names them."""


@dataclass(frozen=True)
class Outcome:
    """What became of one resource.

    Args:
        kind, fs, name: which one.
        outcome: "changed", "would change", "unchanged", "refused", or "client": a client has to do it.
        code: 0, or an errno.
        status: in words; for "client" the line to run there.
    """

    kind: str
    fs: str
    name: str
    outcome: str
    code: int
    status: str


@dataclass(frozen=True)
class Applied:
    """What became of each resource, in the order of the document."""

    outcomes: tuple[Outcome, ...]

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        return {"outcomes": [asdict(each) for each in self.outcomes]}

    @classmethod
    def restored(cls, value: Mapping[str, Any]) -> Self:
        """Give the value that `simplified` was made from. Raises KeyError, TypeError."""
        return cls(tuple(Outcome(**each) for each in value["outcomes"]))

    def plain(self) -> str:
        """Show it to a person."""
        rows = [(each.kind, each.fs, each.name, each.outcome, each.status) for each in self.outcomes]
        return table(("KIND", "FILE SYSTEM", "NAME", "OUTCOME", "DETAIL"), rows)


@dataclass(frozen=True)
class Declared:
    """A page of what there is, as `apply` takes it; `following` asks for the next one."""

    resources: Sequence[Resource]
    following: str | None = None

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        shown: Simplified = {"resources": Made(self.resources, lambda each: each.simplified())}
        return shown if self.following is None else shown | {"following": self.following}

    def plain(self) -> str:
        """Show it to a person: YAML."""
        return written(self.simplified(), "yaml")


class Resources:
    """What `apply` and `show` do.

    Args:
        subtrees, keys, gates: the commands that they are made of.
        subtree_store, key_store, gate_store, tenant_store: where these keep what they know.
        cluster: the file systems that there are.
        destructions: whether the end of a key takes two people, and has them.
    """

    def __init__(
        self,
        *,
        subtrees: Subtrees,
        keys: Keys,
        gates: Gates,
        subtree_store: SubtreeStore,
        key_store: KeyStore,
        gate_store: GateStore,
        tenant_store: TenantStore,
        cluster: FileSystemMap,
        destructions: Destructions,
    ) -> None:
        self._subtrees = subtrees
        self._keys = keys
        self._gates = gates
        self._subtree_store = subtree_store
        self._key_store = key_store
        self._gate_store = gate_store
        self._tenant_store = tenant_store
        self._cluster = cluster
        self._destructions = destructions

    def apply(
        self,
        resources: Sequence[Resource],
        *,
        managers: DeclaredManagers = NOT_ASKED,
        who: str = "",
        dry_run: bool = False,
    ) -> Result:
        """Make things as they are declared. What is so already is left alone; what is refused does not stop the rest.

        In whatever order they are declared, what another one needs is made first. A dry run looks at each resource as
        things are now, not as those before it would leave them.

        Args:
            resources: what is declared.
            managers: what the engine service tells of key managers.
            who: the name of the identity that declares it; empty: nobody in particular.
            dry_run: only say what would be done.
        """
        in_order = sorted(resources, key=lambda each: list(KINDS).index(each.KIND))
        done = {id(each): self._applied(each, managers, who, dry_run=dry_run) for each in in_order}
        results = [(each, done[id(each)]) for each in resources]
        outcomes = tuple(_outcome(each, result, dry_run=dry_run) for each, result in results)
        counts = {name: sum(each.outcome == name for each in outcomes) for name in _OUTCOMES}
        told = ", ".join(f"{count} {_OUTCOMES[name]}" for name, count in counts.items() if count)
        return Result(
            code=next((each.code for each in outcomes if each.code), 0),
            status=told or "there is no resource in it; nothing to do",
            answer=Applied(outcomes),
            changed=any(result.changed for _, result in results),
            parts=tuple(
                Part((each.KIND, each.fs, each.name), result)
                for each, result in results
                if result.changed or not result.success
            ),
            shut=tuple(key for _, result in results for key in result.shut),
        )

    def show(
        self,
        fs_name: str | None = None,
        after: str | None = None,
        limit: int | None = None,
        *,
        kind: str | None = None,
        managers: Sequence[KmsResource] = (),
    ) -> Result:
        """What there is, as resources, a page at a time: of each file system in the order of `KINDS`.

        Args:
            fs_name: only of this file system.
            after: `Declared.following` of the page before.
            limit: at most so many.
            kind: only these; as resources have it, with or without `fscrypt.`.
            managers: the key managers that are known now.
        """
        try:
            limit = page_size(limit)
            systems = self._cluster.file_systems() if fs_name is None else [existing(self._cluster, fs_name)]
            start = _start(after)
            places = _places_of(kind)
        except RefusalError as refusal:
            return refusal.result
        ordered = sorted(systems, key=lambda each: each.fscid)
        everything = self._all(ordered, start, places, managers)
        end = ""

        def found() -> Iterator[Resource]:
            nonlocal end
            for each, place in islice(everything, limit):
                end = place
                yield each

        shown = packed(found(), lambda each: each.simplified(), resource_of)
        return Result(answer=Declared(shown, end if next(everything, None) else None))

    def _applied(self, resource: Resource, managers: DeclaredManagers, who: str, *, dry_run: bool) -> Result:
        try:
            match resource:
                case SubtreeResource(facts=None):
                    if not self._subtrees.knows(resource.fs, resource.path):
                        return Result(status="it is not registered; nothing to do")
                    return self._subtrees.forget(resource.fs, resource.path, dry_run=dry_run)
                case SubtreeResource(facts=SubtreeFacts() as subtree):
                    return self._subtrees.adopt(resource.fs, resource.path, subtree.encode(), dry_run=dry_run)
                case KeyResource(facts=KeyFacts() as key):
                    return self._keys.adopt(resource.fs, key.encode(), dry_run=dry_run)
                case GateResource():
                    return self._gates.set(_wanted(resource), dry_run=dry_run)
                case TenantResource() if self._is_opened_by(resource):
                    return Result(status="its key is there, as far as was reported; nothing to do")
                case KmsResource() if self._is_so(resource, managers):
                    return Result(status="it is so already; nothing to do")
                case KeyResource(identifier=identifier):
                    return self._ended(existing(self._cluster, resource.fs), identifier, who)
                case _:
                    return self._left_to_a_client(resource, existing(self._cluster, resource.fs))
        except RefusalError as refusal:
            return refusal.result

    def _ended(self, system: FileSystem, identifier: str, who: str) -> Result:
        known = self._key_store.at(system.fscid, identifier)
        if known is None or known.state == "destroyed":
            return Result(status="it is not there; nothing to do")
        return self._destructions.line(system.name, identifier, who, ["key", "destroy", identifier])

    def _left_to_a_client(self, resource: Resource, system: FileSystem) -> Result:
        match resource:
            case TenantResource(name=name, kms=kms):
                words = ["tenant", "create", name, "--kms", kms]
                if self._tenant_store.at(system.fscid, name) is not None:
                    words = ["tenant", "add", name, "--with", f"kms:{kms}"]
            case KmsResource(name=name, removed=True):
                words = ["kms", "rm", name]
            case KmsResource() as kms:
                words = [
                    "kms",
                    "add",
                    kms.name,
                    "--kind",
                    kms.type,
                    "--address",
                    kms.address,
                    "--key",
                    kms.key,
                ]
                words += ["--file", kms.file]
                words += [word for each in kms.options.items() for word in ("--option", "=".join(each))]
        return left_to_a_client(self._cluster, system.name, words)

    def _is_so(self, resource: KmsResource, told: DeclaredManagers) -> bool:
        """Is a key manager as it is declared? Of another file system than the service's a client finds out.

        Raises:
            RefusalError: it is another one; or the service does not tell.
        """
        system = existing(self._cluster, resource.fs)
        if told.untold:
            raise RefusalError(
                errno.EAGAIN,
                f"key manager {resource.name} was left as it was: the engine service does not tell now whether it is "
                f"so already ({told.untold}); apply it again when it does, or look on a client: "
                f"cephfs-fscrypt kms ls --fs {shell_word(system.name)}",
            )
        if told.fs_name != system.name:
            return False
        same = [each for each in told.managers if each.name == resource.name]
        if resource.removed or not same:
            return resource.removed and not same
        if same != [resource]:
            raise RefusalError(
                errno.EEXIST,
                f"key manager {resource.name} is known with other settings (`ceph fscrypt kms ls`), nothing was "
                f"changed; run `cephfs-fscrypt kms rm {shell_word(resource.name)} --fs {shell_word(resource.fs)}` on "
                "a client first",
            )
        return True

    def _is_opened_by(self, resource: TenantResource) -> bool:
        """Does that key manager open the tenant's key?"""
        known = self._tenant_store.at(existing(self._cluster, resource.fs).fscid, resource.name)
        return known is not None and resource.kms in known.managers

    def _all(
        self,
        systems: Sequence[FileSystem],
        start: tuple[int, str, str],
        places: Sequence[str],
        managers: Sequence[KmsResource],
    ) -> Iterator[tuple[Resource, str]]:
        """What there is past a place, with what names its own place."""
        fscid, kind, name = start
        for each in systems:
            if each.fscid < fscid:
                continue
            for place in places:
                if each.fscid == fscid and _PLACES.index(place) < _PLACES.index(kind):
                    continue
                first = name if (each.fscid, place) == (fscid, kind) else ""
                for found in self._of_kind(place, each, first, managers):
                    yield found, following(Spot(each.fscid, f"{place}:{found.name}"))

    def _of_kind(
        self, kind: str, system: FileSystem, first: str, managers: Sequence[KmsResource]
    ) -> Iterator[Resource]:
        """Those of a file system, in order of their names, past that of `first`."""
        fscid, fs_name = system.fscid, system.name
        match kind:
            case "kms":
                known = sorted((each for each in managers if each.fs == fs_name), key=lambda each: each.name)
                yield from (each for each in known if each.name > first)
            case "tenant":
                while tenants := self._tenant_store.page(fscid, Spot(fscid, first), PART):
                    # without a key manager it is no resource: none could be made again
                    yield from (
                        TenantResource(fs_name, each.tenant, each.managers[0])
                        for each in tenants
                        if each.managers
                    )
                    first = tenants[-1].tenant
            case "key":
                while keys := self._key_store.page(fscid, Spot(fscid, first), PART):
                    yield from (_declared_key(fs_name, each) for each in keys)
                    first = keys[-1].identifier
            case "subtree":
                while subtrees := self._subtree_store.page(fscid, Place(fscid, first), PART).subtrees:
                    yield from (_declared_subtree(fs_name, each) for each in subtrees)
                    first = subtrees[-1].path
            case "gate":
                yield from (
                    _declared_gate(fs_name, each)
                    for each in self._gate_store.all()
                    if each.fscid == fscid and each.path > first and each.rung != "observe"
                )


def _outcome(resource: Resource, result: Result, *, dry_run: bool) -> Outcome:
    if result.changed:
        outcome = "would change" if dry_run else "changed"
    elif result.success:
        outcome = "unchanged"
    else:
        outcome = "client" if result.code == errno.EOPNOTSUPP else "refused"
    return Outcome(resource.KIND, resource.fs, resource.name, outcome, result.code, one_line(result.status))


def _places_of(kind: str | None) -> Sequence[str]:
    """Which kinds are shown. Raises `RefusalError`: there is no such kind."""
    if kind is None:
        return _PLACES
    named = kind.removeprefix("fscrypt.")
    if named not in _PLACES:
        raise RefusalError(errno.EINVAL, f'there is no kind "{kind}"; use one of {", ".join(_PLACES)}')
    return (named,)


def _start(after: str | None) -> tuple[int, str, str]:
    """File system, kind and name of the place after which a page begins. Raises `RefusalError`."""
    spot = position(after)
    if spot is None:
        return 0, _PLACES[0], ""
    kind, colon, name = spot.name.partition(":")
    if kind not in _PLACES or not colon:
        raise RefusalError(errno.EINVAL, f'"{after}" is not a place in what `show` prints; use its following')
    return spot.fscid, kind, name


def _declared_key(fs_name: str, key: Key) -> KeyResource:
    plain = {name: getattr(key, name) for name in KeyFacts.__dataclass_fields__ if name != "protectors"}
    protectors = tuple(ProtectorFacts(*each) for each in key.protectors)
    return KeyResource(fs_name, key.identifier, KeyFacts(**plain, protectors=protectors))


def _declared_subtree(fs_name: str, subtree: Subtree) -> SubtreeResource:
    policy = Policy(subtree.contents, subtree.names, subtree.padding, subtree.key_identifier)
    return SubtreeResource(fs_name, subtree.path, SubtreeFacts(subtree.inode, subtree.mode, policy))


def _declared_gate(fs_name: str, gate: Gate) -> GateResource:
    plain = {"admitted": gate.admitted, "kept": gate.kept, "open": gate.open_paths}
    return GateResource(fs_name, gate.path, gate.rung, gate.namespace, **plain)


def _wanted(gate: GateResource) -> Wanted:
    """The words of `gate set`."""
    if gate.rung is None or gate.rung == "require":
        return Wanted(gate.fs, gate.path, gate.rung or "observe")
    open_paths = ",".join(gate.open) if gate.rung == "exclude" else None
    return Wanted(
        fs_name=gate.fs,
        path=gate.path,
        rung=gate.rung,
        namespace=gate.namespace,
        admit=",".join(gate.admitted),
        keep=",".join(gate.kept),
        open_paths=open_paths,
    )
