"""Gates: who is kept out of which subtree, by which means; `ceph fscrypt gate ...`."""

import errno
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ..store import Gate, GatedCaps, Place, Subtree
from .asked import listed, normal_path, require_entities, require_fresh
from .caps import spans
from .clients import at_or_below
from .cluster import FileSystem, FileSystemMap, existing
from .gate_answers import FEATURE, GateLine, GatePage, Preview, commands
from .gate_plan import SUBVOLUMES, Caps, CapsChange, CutOff, Plan, cut_off, enclosure_of, planned
from .observing import Census, Sight
from .refusal import RefusalError
from .results import Part, Result
from .subtrees import ListedSubtrees, unregistered
from .text import is_unicode, shell_word

RUNGS = ("observe", "require", "isolate", "exclude")
"""Those that change caps."""
ENDING = ("evict", "fence")
"""Those that end sessions: see `evictions`."""
_WHOLE = "/"


class GateStore(Protocol):
    """Where gates are kept; `store.GateTable` tells what each call means."""

    def put(self, gate: Gate) -> None:
        """Record a gate."""
        ...

    def remove(self, fscid: int, path: str) -> None:
        """Drop one."""
        ...

    def at(self, fscid: int, path: str) -> Gate | None:
        """Find by path."""
        ...

    def all(self) -> Sequence[Gate]:
        """List them."""
        ...

    def record(self, changes: Iterable[GatedCaps]) -> None:
        """Record changes of caps."""
        ...

    def forget(self, entities: Iterable[str]) -> None:
        """Drop records of caps."""
        ...

    def changed(self) -> Sequence[GatedCaps]:
        """List the caps that gates changed."""
        ...


class KnownSubtrees(ListedSubtrees, Protocol):
    """The register; `store.SubtreeTable` tells what each call means."""

    def at(self, fscid: int, path: str) -> Subtree | None:
        """Find by path."""
        ...


@dataclass(frozen=True)
class Wanted:
    """A gate as it is asked for; lists are written with commas. What is None stays as it is.

    Args:
        fs_name: the file system.
        path: of the subtree; `/` for the whole file system.
        rung: one of `RUNGS`.
        namespace: of the subtree's files.
        admit: the entities that are let in.
        keep: namespaces that others keep; empty: none. Where it is not known what they use, it has to be said. Of rungs
            that end sessions: the entities whose sessions are left alone.
        open_paths: directories that others keep.
        grace: seconds that a session has before it is ended.
        confirm: how many sessions may be ended before somebody is asked.
        gateways: entities of gateways whose sessions may be ended.
    """

    fs_name: str
    path: str
    rung: str
    namespace: str | None = None
    admit: str | None = None
    keep: str | None = None
    open_paths: str | None = None
    grace: int | None = None
    confirm: int | None = None
    gateways: str | None = None


class Gates:
    """What the commands about gates do. They record what is wanted; a `gatekeeper.Gatekeeper` carries it out.

    Args:
        store: where they are kept.
        subtrees: the register.
        cluster: the file systems that there are.
        census: gives what was learnt last.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        *,
        store: GateStore,
        subtrees: KnownSubtrees,
        cluster: FileSystemMap,
        census: Callable[[], Census],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._subtrees = subtrees
        self._cluster = cluster
        self._census = census
        self._clock = clock

    def show(self, fs_name: str | None = None, path: str | None = None) -> Result:
        """List gates and how they stand; with a path, to a person too, with the lines of caps."""
        try:
            fscid = None if fs_name is None else existing(self._cluster, fs_name).fscid
            wanted = None if path is None else normal_path(path)
        except RefusalError as refusal:
            return refusal.result
        census, gates = self._census(), self._store.all()
        plan = self._plan(census, gates)
        drift = self._drift(census, gates, plan)
        found = tuple(
            self._line(gate, census, plan, drift)
            for gate in gates
            if fscid in (None, gate.fscid) and wanted in (None, gate.path)
        )
        if wanted is not None and not found:
            return Result.failed(
                errno.ENOENT,
                f"no gate is set on {wanted}: clients are only observed there; see `ceph fscrypt gate show`",
            )
        age = self._clock() - census.asked
        return Result(
            answer=GatePage(
                found, tuple(self._store.changed()), path is not None, age, census.trouble, census.current
            )
        )

    def preview(self, wanted: Wanted, *, planned: bool = False) -> Result:
        """Tell what setting a gate would change, and which sessions would lose what; `planned` as `set`."""
        try:
            gate, census = self._asked_for(wanted, planned=planned), self._census()
            return Result(answer=self._preview(wanted.fs_name, gate, census))
        except RefusalError as refusal:
            return refusal.result

    def set(self, wanted: Wanted, *, planned: bool = False, dry_run: bool = False) -> Result:
        """Record a gate, to be carried out within seconds. The same again is once; after drift, it is done anew.

        Args:
            wanted: the gate.
            planned: of a subtree that is being made: its gate is set first, and it is registered after.
            dry_run: only say whether it would be set; `preview` tells what that would do.
        """
        try:
            gate, census = self._asked_for(wanted, planned=planned), self._census()
            preview = self._preview(wanted.fs_name, gate, census)
        except RefusalError as refusal:
            return refusal.result
        named = f"{gate.path} of {wanted.fs_name}"
        before = self._store.at(gate.fscid, gate.path)
        same = before is not None and before == replace(gate, wanted=before.wanted, applied=before.applied)
        if same and _is_pending(before):
            return Result(status=f"{named}: {gate.rung} is being set already; nothing to do", answer=preview)
        settled = before is not None and not _is_pending(before) and not _is_open(before)
        if same and settled and not preview.commands:
            return Result(status=f"{named} is gated so already; nothing to do")
        if dry_run:
            return Result(
                status=f"{named}: {gate.rung} would be set, by {len(preview.commands)} commands; "
                f"{len(preview.cut_off)} sessions would lose something",
                changed=True,
            )
        for each in (*self._beside(gate), gate):
            self._store.put(each)
        return Result(
            status=f"{named}: {gate.rung} is being set, by {len(preview.commands)} commands; "
            f"{len(preview.cut_off)} sessions lose something when they connect anew; `ceph fscrypt gate show "
            f"{shell_word(wanted.fs_name)} {shell_word(gate.path)}` tells how it stands",
            answer=preview,
            changed=True,
        )

    def leave_open(self, fs_name: str, path: str) -> Result:
        """Record that a subtree that is being made is to have no gate. Health tells of it until it has one."""
        try:
            found, path = existing(self._cluster, fs_name), normal_path(path)
        except RefusalError as refusal:
            return refusal.result
        named = f"{path} of {fs_name}"
        if self._store.at(found.fscid, path) is not None:
            return Result(status=f"{named} has a gate; it stays as it is")
        now = int(self._clock())
        self._store.put(Gate(found.fscid, path, "observe", "", (), (), (), now, applied=now))
        return Result(status=f"{named} has no gate: clients are only observed there", changed=True)

    def drop(self, fs_name: str, path: str) -> Result:
        """Take back what a gate did to caps, of a subtree that is gone; none is no error."""
        try:
            found, path = existing(self._cluster, fs_name), normal_path(path)
        except RefusalError as refusal:
            return refusal.result
        before = self._store.at(found.fscid, path)
        if before is None:
            return Result(status=f"{path} of {fs_name} has no gate; nothing to do")
        if before.rung == "observe" and not _is_pending(before):
            self._store.remove(found.fscid, path)
            return Result(status=f"{path} of {fs_name} is not observed any more", changed=True)
        return self.set(Wanted(fs_name, path, "observe"))

    def is_begun(self, line: GateLine) -> bool:
        """Is this one more attempt at the same, which failed, or nothing to change at all?"""
        known = {each.entity: dict(each.after) for each in self._store.changed()}
        same = all(known.get(each.entity) == dict(each.after) for each in line.changes)
        return (bool(line.gate.trouble) and same) or not (line.changes or line.feature)

    def begin(self, line: GateLine) -> Result:
        """Record what is about to be changed, so that it can be taken back whatever happens then."""
        self._record(line)
        begun = f"{line.gate.path} of {line.fs_name}, {line.gate.rung}, begun"
        about = (line.fs_name, line.gate.path)
        # one by one: all lines together are too long for one record
        lines = commands(line.fs_name, line.feature, line.changes)
        return Result(parts=tuple(Part(about, Result(status=f"{begun}: {each}")) for each in lines))

    def trouble(self, line: GateLine, trouble: str) -> Result:
        """Record what is in the way."""
        before = self._store.at(line.gate.fscid, line.gate.path)
        if before is not None and _is_same(before, line.gate):
            self._store.put(replace(before, trouble=trouble))
        return Result.failed(
            errno.EAGAIN,
            f"{line.gate.path} of {line.fs_name}, {line.gate.rung}, is not done, and is tried again: {trouble}",
        )

    def settle(self, line: GateLine) -> Result:
        """Record that all was done."""
        done = "; ".join(commands(line.fs_name, line.feature, line.changes)) or "nothing had to change"
        result = Result(status=f"{line.gate.path} of {line.fs_name}, {line.gate.rung}: {done}")
        before = self._store.at(line.gate.fscid, line.gate.path)
        if before is None or not _is_same(before, line.gate):
            return result  # something else was asked for meanwhile, and is looked at next
        # whoever connected before now may have done so with the caps of before
        self._record(line)
        self._store.forget(each.entity for each in line.changes if each.after == each.original)
        if before.rung == "observe":
            self._store.remove(before.fscid, before.path)
            if not self._store.all():
                # what is left has other caps by somebody else: nothing of it is ours to give back any more
                self._store.forget(each.entity for each in self._store.changed())
        else:
            self._store.put(replace(before, applied=max(int(self._clock()), before.wanted), trouble=""))
        return result

    def _record(self, line: GateLine) -> None:
        now = self._clock()
        known = {each.entity: each for each in self._store.changed()}
        self._store.record(
            known[each.entity].then(now, each.after)
            if each.entity in known and known[each.entity].original == each.original
            else GatedCaps(each.entity, each.original, ((now, each.after),))
            for each in line.changes
        )

    def _drift(self, census: Census, gates: Sequence[Gate], plan: Plan) -> Plan | None:
        """The plan whose changes are drift; None: nobody can tell now, since what is known is being changed, or old."""
        pending = list(filter(_is_pending, gates))
        if not census.current or not all(gate.trouble for gate in pending):
            return None
        if not pending:
            return plan
        # one that is stuck has entities in common with others: where those are open is told by them alone
        done = [gate for gate in gates if not _is_pending(gate)]
        return self._plan(census, done, originals={})

    def _line(self, gate: Gate, census: Census, plan: Plan, drift: Plan | None) -> GateLine:
        sight = census.sights.get(gate.fscid)
        if sight is None:
            return GateLine(f"file system {gate.fscid}", gate, "unknown")
        subtree = self._subtrees.at(gate.fscid, gate.path)
        changes = self._concerned(gate, sight, plan)
        feature = _feature(gate, sight)
        state = "set"
        if _is_open(gate):
            state, changes = "open", ()
        elif _is_pending(gate):
            state = "ending" if gate.rung == "observe" else "wanted"
        elif drift is not None:
            open_to = {each.entity for each in self._concerned(gate, sight, drift)}
            changes = tuple(each for each in plan.changes if each.entity in open_to)
            state = "drifted" if changes or feature else "set"
        return GateLine(
            fs_name=sight.file_system.name,
            gate=gate,
            state=state,
            changes=changes,
            untouched=tuple(
                each for each in plan.untouched if each.by == enclosure_of(gate, sight.served.pools)
            ),
            feature=feature,
            inode=0 if subtree is None else subtree.inode,
        )

    def _preview(self, fs_name: str, gate: Gate, census: Census) -> Preview:
        sight = census.sights[gate.fscid]
        line = self._line(gate, census, self._plan(census, [*self._beside(gate), gate]), None)
        if line.feature == "add":
            lost = tuple(
                CutOff(each, "the file system", "")
                for each in sight.clients
                if not each.speaks_alternate_names
            )
        else:
            lost = cut_off(sight.clients, line.changes, enclosure_of(gate, sight.served.pools))
        age = self._clock() - min(sight.asked, census.asked)
        return Preview(fs_name, gate.path, gate.rung, line.changes, line.untouched, line.feature, lost, age)

    def _beside(self, gate: Gate) -> Sequence[Gate]:
        """The other gates: to each of the file system, the namespace of one that ends is like any other again."""
        others = [each for each in self._store.all() if (each.fscid, each.path) != (gate.fscid, gate.path)]
        if gate.rung != "observe" or not gate.namespace:
            return others
        return [
            replace(each, kept=tuple(sorted({*each.kept, gate.namespace})))
            if each.fscid == gate.fscid and each.namespace
            else each
            for each in others
        ]

    def _plan(
        self, census: Census, gates: Sequence[Gate], originals: Mapping[str, Caps] | None = None
    ) -> Plan:
        """What has to change for all gates together."""
        known = self._originals(census) if originals is None else originals
        closed = [
            enclosure_of(gate, census.sights[gate.fscid].served.pools)
            for gate in gates
            if gate.rung in ("isolate", "exclude") and gate.fscid in census.sights
        ]
        names = [sight.file_system.name for sight in census.sights.values()]
        return planned(census.entities, closed, originals=known, file_systems=names)

    def _originals(self, census: Census) -> Mapping[str, Caps]:
        """The caps without any gate, of entities whose caps nobody else has changed since."""
        return {
            each.entity: each.original
            for each in self._store.changed()
            if census.entities.get(each.entity) in (each.original, *(caps for _, caps in each.history))
        }

    def _concerned(self, gate: Gate, sight: Sight, plan: Plan) -> tuple[CapsChange, ...]:
        """The changes that are this gate's matter: where it has a part, and where something is taken back."""
        if gate.rung == "require" or gate.path == _WHOLE:
            return ()
        own = enclosure_of(gate, sight.served.pools)
        return tuple(each for each in plan.changes if own in each.by or each.before != each.original)

    def _asked_for(self, wanted: Wanted, *, planned: bool = False) -> Gate:
        """The gate that is asked for, not yet applied.

        Raises:
            RefusalError: it makes no sense, or cannot be judged by what is known.
        """
        found = existing(self._cluster, wanted.fs_name)
        path = normal_path(wanted.path)
        if wanted.rung not in RUNGS:
            known = ", ".join((*RUNGS, *ENDING))
            raise RefusalError(
                errno.EINVAL, f'there is no rung "{wanted.rung}", nothing was changed; use one of {known}'
            )
        census = self._census()
        require_fresh(census, found.fscid, self._clock())
        before = self._store.at(found.fscid, path)
        now = int(self._clock())
        if wanted.rung == "observe":
            if before is None:
                raise RefusalError(0, f"{path} of {found.name} has no gate; nothing to do")
            return replace(before, rung="observe", wanted=now, applied=0, trouble="")
        if (path == _WHOLE) != (wanted.rung == "require"):
            raise RefusalError(
                errno.EINVAL,
                "`require` is for a whole file system (the path /), `isolate` and `exclude` are for a subtree; nothing "
                "was changed",
            )
        if wanted.rung == "require":
            return Gate(found.fscid, path, "require", "", (), (), (), now)
        if not planned:
            self._require_subtree(found, path)
        namespace = self._namespace(found, path, wanted, before)
        return Gate(
            fscid=found.fscid,
            path=path,
            rung=wanted.rung,
            namespace=namespace,
            admitted=_entities(wanted.admit, before, census),
            kept=self._kept(found, path, wanted, namespace, before),
            open_paths=_open_paths(wanted, path, before),
            wanted=now,
        )

    def _require_subtree(self, found: FileSystem, path: str) -> None:
        if self._subtrees.at(found.fscid, path) is None:
            raise unregistered(self._subtrees, found.fscid, found.name, path)

    def _namespace(self, found: FileSystem, path: str, wanted: Wanted, before: Gate | None) -> str:
        name = wanted.namespace if wanted.namespace is not None else before.namespace if before else ""
        if not name or not is_unicode(name) or not name.isprintable() or '"' in name or name.endswith("*"):
            raise RefusalError(
                errno.EINVAL,
                "the RADOS namespace of the subtree's files is to be named, nothing was changed; on a client, "
                "`getfattr -n ceph.dir.layout.pool_namespace PATH` shows it: add --namespace NAME. A subtree without "
                "one cannot be isolated: copy it into a directory that has one",
            )
        for each in self._store.all():
            if (each.fscid, each.namespace) == (found.fscid, name) and each.path != path:
                raise RefusalError(
                    errno.EEXIST,
                    f"the gate of {each.path} has the namespace {name}, nothing was changed; each subtree needs one of "
                    "its own",
                )
        return name

    def _kept(
        self, found: FileSystem, path: str, wanted: Wanted, namespace: str, before: Gate | None
    ) -> tuple[str, ...]:
        kept = listed(wanted.keep, before.kept if before else ())
        for each in kept:
            if spans(each, namespace):
                raise RefusalError(
                    errno.EINVAL,
                    f"--keep {each} would leave {namespace} to everybody, which is the subtree's own; nothing was "
                    "changed; name other namespaces",
                )
        if wanted.keep is not None or (before is not None and before.namespace == namespace):
            return kept
        # who may use every namespace is left with those that are named, and would lose what it used beside them
        if namespace.startswith(SUBVOLUMES):
            raise RefusalError(
                errno.EINVAL,
                f"{namespace} is the namespace of a subvolume: who is not admitted would lose every other isolated "
                f"subvolume, too; nothing was changed; name those that others keep by --keep {SUBVOLUMES}NAME,... "
                '(`ceph fs subvolume info` has their pool_namespace), or --keep "" for none',
            )
        gated = {each.path for each in self._store.all() if each.fscid == found.fscid} | {path}
        for other in self._subtrees.page(found.fscid, Place(), len(gated) + 1).subtrees:
            if other.path not in gated:
                raise RefusalError(
                    errno.EINVAL,
                    f"{other.path} is registered, too, and has no gate: if its files lie in a namespace of their own, "
                    "who is not admitted would lose them; nothing was changed; on a client, `getfattr -n "
                    "ceph.dir.layout.pool_namespace PATH` shows it for each such subtree (`ceph fscrypt subtree ls "
                    f'{shell_word(found.name)}`): name all that others keep by --keep NAME,..., or --keep "" for none',
                )
        return kept


def _is_pending(gate: Gate | None) -> bool:
    """Is something of it not done yet?"""
    return gate is not None and gate.applied < gate.wanted


def _is_open(gate: Gate) -> bool:
    """Was it said that a subtree is to have no gate?"""
    return gate.rung == "observe" and not _is_pending(gate)


def _is_same(one: Gate, other: Gate) -> bool:
    """Is the same asked for, whatever is in the way? Two may be asked for within one second."""
    return replace(one, trouble="") == replace(other, trouble="")


def _feature(gate: Gate, sight: Sight) -> str:
    """What has to be done to the file system's required features for a gate: "add", "rm" or nothing."""
    if gate.path != _WHOLE:
        return ""
    required = FEATURE in sight.served.required
    if gate.rung == "require":
        return "" if required else "add"
    return "rm" if required else ""


def _entities(text: str | None, before: Gate | None, census: Census) -> tuple[str, ...]:
    names = listed(text, before.admitted if before else ())
    require_entities(names if text is not None else (), census.entities)
    return names


def _open_paths(wanted: Wanted, path: str, before: Gate | None) -> tuple[str, ...]:
    found = tuple(map(normal_path, listed(wanted.open_paths, before.open_paths if before else ())))
    if wanted.rung != "exclude":
        return found
    if not found:
        raise RefusalError(
            errno.EINVAL,
            'caps cannot say "all but this subtree": name the directories that others keep by --open PATH,...; nothing '
            "was changed",
        )
    for each in found:
        if at_or_below(path, each) or at_or_below(each, path):
            raise RefusalError(
                errno.EINVAL,
                f"{each} cannot stay open to others: {path} is to be kept from them; nothing was changed",
            )
    return found
