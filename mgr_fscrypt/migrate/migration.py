"""A migration: the new tree grows beside the old one until it is the same, and then takes its place by two renames.

Beside the source, in the directory that holds it, lies a hidden directory for its owner alone. In it: `work`, with the
new tree, a subtree of its own (or a plain directory), and another one of the same policy for the anchors of files with
several names; and after the cut-over `old`, the trash. What is to be
removed is renamed to `gone` first, which nobody moves a tree in use into: not even one who slept past the end of its
lease with a rename under way, for that one knows `work` and `old` only. Its record (`record`) says how far it is, and
which inodes are which, so whoever comes after a crash knows from what is where what has been done
(`Migration._settled`).

One process works at a migration at a time, by the lease of the hidden directory. Whoever finds the lease lost stops.
"""

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from enum import Enum

from ..ceph.errors import (
    CephError,
    ExistsError,
    LeaseHeldError,
    LeaseLostError,
    NoAttributeError,
    NotFoundError,
)
from ..ceph.interface import Kind, Lease, Mount, Session
from ..engine import Attributes, BusyError, DamagedError, FileSystem, NotFencedError, RefusedError
from ..engine.directories import Directory
from ..engine.fence import fence, strangers
from ..engine.modes import snapshots_of
from ..engine.paths import components, joined
from ..engine.snapshot_names import SNAPSHOTS
from .clearing import remove_half_made, remove_marks, remove_tree, require_no_snapshots
from .comparing import Verdict, written_since
from .copying import Pass
from .files import Copied
from .marks import MARK, mark_of
from .pace import UNLIMITED, Limits
from .plan import PADDING, Way, without_tree
from .record import Direction, Journal, Record, State, hidden_of
from .shards import Hands
from .trees import PlainTree, Sides, Tree, existing, fingerprint
from .turns import Turn

PASSES = 5
"""Passes before the fence, at most: a tree that is written all the time never comes to rest before it."""
_LAST_PASSES = 3
"""Passes behind the fence, at most: nobody writes there."""
_LEASE_TIMEOUT = 10.0
_LAYOUT = "ceph.dir.layout"


class Step(Enum):
    """What a migration is at."""

    COPYING = "copying"
    FENCING = "fencing"
    FINISHING = "last pass"
    VERIFYING = "verifying"
    CUTTING = "cutting over"
    CLEARING = "clearing up"


@dataclass(frozen=True)
class Late:
    """What came of a cut-over.

    Attributes:
        gap: seconds without anything at the path.
        evicted: clients that were cut off for it.
        verdict: the comparison before it.
        written: what the trash has otherwise than it was copied (`written_since`): by clients that nobody knew of.
    """

    gap: float
    evicted: tuple[Session, ...]
    verdict: Verdict
    written: list[bytes]


class Migration:
    """What is migrated at one path, if anything is.

    Args:
        mount: for all that is not encrypted.
        files: with the keys of both sides.
        path: of the source, absolute in the mount, normal.
        told: called with each step as it begins.
        watched: called before each entry and each piece of a file that is copied.
        hands: opens who copies while it is this process's turn; they have let go of both trees when it is closed. By
            default this process copies.
        limits: how fast this process copies.
    """

    def __init__(
        self,
        mount: Mount,
        files: FileSystem,
        path: bytes,
        told: Callable[[Step], None] = lambda _: None,
        watched: Callable[[], None] = lambda: None,
        hands: Callable[[Turn], AbstractContextManager[Hands]] | None = None,
        limits: Limits = UNLIMITED,
    ) -> None:
        self._limits = limits
        self._open_hands = hands
        self._mount = mount
        self._files = files
        self._plain = PlainTree(mount)
        self._told = told
        self._watched = watched
        self.path = b"/" + b"/".join(components(path))
        self._hidden = hidden_of(self.path)
        self._work = joined(self._hidden, b"work")
        self._new = joined(self._work, b"tree")
        self._anchors = joined(self._work, b"anchors")
        self._old = joined(self._hidden, b"old")
        self._gone = joined(self._hidden, b"gone")
        self._going = joined(self._gone, b"tree")
        self._lease: Lease | None = None
        self._leased = 0
        self._journal = Journal(mount, self._hidden, self._require_turn)

    # looking

    def record(self) -> Record | None:
        """What is known of it; None where nothing is migrated."""
        return self._journal.read()

    def required_record(self) -> Record:
        """Raises `NotFoundError` where nothing is migrated."""
        record = self.record()
        if record is None:
            raise NotFoundError(
                errno.ENOENT, "no migration is under way, or kept to be rolled back", self.path
            )
        return record

    def sides(self, record: Record) -> Sides:
        """Both trees, wherever they lie now."""
        source: Tree = self._plain if record.direction is Direction.ENCRYPT else self._files
        new: Tree = self._plain if record.direction is Direction.DECRYPT else self._files
        if record.state in (State.DONE, State.PURGING):
            return Sides(source, self._old, new, self.path, self._anchors)
        return Sides(source, self.path, new, self._new, self._anchors)

    def require_turn_of(self, turn: Turn) -> None:
        """For a process that copies for another one.

        Raises:
            LeaseLostError: it is not the other one's turn any more, and somebody else may have taken over.
        """
        if self._number(self._hidden) != turn.ino or self._mount.lease(turn.ino).holder() != turn.token:
            raise LeaseLostError(
                errno.ESTALE,
                "the process that this one copies for has lost its turn",
                self.path,
            )

    # copying

    def start(self, way: Way, plan: str, namespace: str | None = None) -> Record:
        """Begin, or go on where an earlier run ended: afterwards the source is in place, the new tree beside it, and a
        cut-over that was interrupted is finished or undone.

        Args:
            way: as it was planned.
            plan: the plan's hash, for the record, which keeps of it what tells nothing of the tree.
            namespace: the RADOS namespace of the new tree's files; None: that of the source. It counts when the new
                tree is begun: later nobody can change it.

        Raises:
            RefusedError: EEXIST: another migration of it is under way or kept; ENOTEMPTY: the hidden directory is
                not ours.
            BusyError: another process works at it.
        """
        try:
            self._mount.mkdir(self._hidden, 0o700)
            self._mount.sync()
        except ExistsError:
            pass
        with self._alone():
            record = self._settled()
            if record is None:
                record = self._begun(way, plan)
            if record.direction is not way.direction or record.key != way.key.hex():
                raise RefusedError(
                    errno.EEXIST,
                    f"another migration of it is {record.state.value}: {record.direction.value}, key {record.key}",
                    self.path,
                    remedy="Go on with that, or end it with `migrate cancel` or `migrate purge`.",
                )
            if record.state in (State.CANCELLING, State.PURGING):
                again = "cancel" if record.state is State.CANCELLING else "purge"
                raise RefusedError(
                    errno.EEXIST,
                    "what an earlier migration left is being removed",
                    self.path,
                    remedy=f"Run `migrate {again}` once more.",
                )
            if record.state is State.COPYING:
                record = self._prepared(record, way, namespace)
            return record

    def converge(self, copied: Copied, *, passes: int = PASSES) -> None:
        """Copy until nothing was left to do in a pass, or so many passes are over; `copied` counts over all.

        Raises what ends a pass (`Pass.run`); it is gone on with by the same calls.
        """
        with self._alone():
            record = self._copying()
            self._told(Step.COPYING)
            self._passes(record, copied, passes)

    # cutting over

    def cut_over(self, copied: Copied, verify: Callable[[Record], Verdict], *, evict: bool) -> Late:
        """Fence, copy what is left, verify, and exchange the trees.

        Args:
            verify: compares both sides, by means of its own, and has let go of them when it returns.

        Raises:
            NotFencedError: clients can reach the tree, and `evict` is false.
            BusyError: something could not be copied, is not the same, or was changed while it was verified; the source
                is in place, and the new tree is kept.
        """
        with self._alone():
            record = self._copying()
            self._told(Step.FENCING)
            evicted = fence(self._mount, self.path, self.path, evict=evict)
            self._told(Step.FINISHING)
            self._passes(record, copied, _LAST_PASSES)
            self._require_all_copied(copied)
            record = self._copying()
            self._told(Step.VERIFYING)
            record = replace(record, trash=fingerprint(self._mount, self.path, self._go_on))
            self._require_turn()
            verdict = verify(record)
            if not verdict.equal:
                self._copy_again(record, verdict)
            self._require_equal(
                verdict, "Nothing was exchanged. Run the same again: what differs is copied anew."
            )
            self._require_unchanged(record)
            self._require_no_strangers()
            record = replace(record, verified=verdict.same)
            gap = self._exchange(record)
            self._told(Step.CLEARING)
            record = self._settled_as(State.DONE)
            return Late(gap, evicted, verdict, self.late_writes(record))

    def late_writes(self, record: Record) -> list[bytes]:
        """What the trash has otherwise than it was copied, as paths below the top (`written_since`); nothing where it
        is as it was before the verification, whatever has become of the new tree."""
        sides = self.sides(record)
        if fingerprint(self._mount, sides.top, self._watched) == record.trash:
            return []
        return written_since(sides)

    def _exchange(self, record: Record) -> float:
        """The two renames; the seconds between them."""
        self._told(Step.CUTTING)
        record = self._journal.enter(record, State.CUTTING)
        gap = self._renamed((self.path, self._old), (self._new, self.path))
        self._journal.enter(replace(record, gap=gap), State.DONE)
        return gap

    # and back

    def rollback(self, *, evict: bool, verify: Callable[[Record], Verdict] | None = None) -> float | None:
        """The old tree takes its place again; the seconds without anything at the path, or None where only what was
        interrupted was finished. The new tree is kept beside it, to be cancelled, or brought up to date by `start`.

        Args:
            verify: as for `cut_over`; without it, what was written into the new tree since then is lost.

        Raises:
            NotFencedError: clients can reach the tree, and `evict` is false.
            BusyError: what is in the new tree is not what is in the old one, or it changed while they were compared.
            RefusedError: EINVAL: there was no cut-over, or its trees are not where they were.
        """
        with self._alone():
            interrupted = self.required_record().state is State.UNDOING
            record = self._required_settled()
            if interrupted and record.state is State.COPYING:
                return None
            self._require_state(record, State.DONE, "it was not cut over", "see `migrate status`")
            self._require_places(record, record.new, record.source, 0)
            self._told(Step.FENCING)
            fence(self._mount, self.path, self.path, evict=evict)
            if verify is not None:
                self._told(Step.VERIFYING)
                before = fingerprint(self._mount, self.path, self._go_on)
                self._require_equal(
                    verify(record), "Nothing was exchanged. What only the new tree has would be lost."
                )
                if fingerprint(self._mount, self.path, self._go_on) != before:
                    raise BusyError(
                        errno.EBUSY,
                        "somebody changed it while it was compared",
                        self.path,
                        remedy="Nothing was exchanged. See to it that nobody writes there, and run the same again.",
                    )
            self._require_no_strangers()
            self._told(Step.CUTTING)
            record = self._journal.enter(record, State.UNDOING)
            gap = self._renamed((self.path, self._new), (self._old, self.path))
            self._journal.enter(record, State.COPYING)
            return gap

    def purge(self, *, lose_changes: bool = False) -> list[bytes]:
        """Remove the trash, and all traces. May be run again after an interruption. The answer: snapshots of the
        directories above, by their paths, which may hold the old tree still.

        Args:
            lose_changes: though the trash was written after it was compared.

        Raises:
            RefusedError: EINVAL: there was no cut-over; ENOTEMPTY: a directory of the trash has snapshots.
            BusyError: the trash was written after it was compared.
            DamagedError: not the new tree is at the path, or not the old one in the trash.
        """
        with self._alone():
            record = self._required_settled()
            if record.state is not State.PURGING:
                self._require_state(record, State.DONE, "it was not cut over", "use `migrate cancel`")
                self._require_places(record, record.new, record.source, 0)
                require_no_snapshots(self._mount, self._old, self.path, self._go_on)
                if not lose_changes:
                    self._require_unwritten(record)
                record = self._journal.enter(record, State.PURGING)
            if self._number(self._old):
                self._require_places(record, record.new, record.source, 0)
                self._set_aside(record, self._old)
            self._require_places(record, record.new, 0, 0)
            if self._number(self._gone) not in (0, record.source):
                raise self._elsewhere(record)
            remove_tree(self._mount, self._gone, self.path, self._go_on, kept=record.new)
            self._require_places(record, record.new, 0, 0)
            remove_marks(self._mount, self.path, self._go_on)
            self._leave(record)
        above = self.path.rpartition(b"/")[0] or b"/"
        place = joined(above, SNAPSHOTS)
        return [joined(place, name) for name in snapshots_of(self._mount, Directory(above, above, 0))]

    def cancel(self) -> None:
        """Remove the new tree; the source is as it was. May be run again after an interruption.

        Raises:
            RefusedError: EINVAL: it was cut over.
            DamagedError: not the source is at the path.
        """
        with self._alone():
            record = self._required_settled()
            if record.state is not State.CANCELLING:
                self._require_state(record, State.COPYING, "it was cut over", "use `migrate rollback` first")
                self._require_in_place(record)
                record = self._journal.enter(record, State.CANCELLING)
            if self._number(self._work):
                self._require_in_place(record)
                self._set_aside(record, self._work)
            self._require_in_place(record)
            remove_tree(self._mount, self._gone, self.path, self._go_on, kept=record.source)
            self._leave(record)

    def _set_aside(self, record: Record, place: bytes) -> None:
        """Into the place from where it is removed, which is empty."""
        if self._number(self._gone):
            raise self._elsewhere(record)
        self._renamed((place, self._gone))

    def _leave(self, record: Record) -> None:
        """Remove what is empty by now. What is not, another process has moved something into."""
        self._mount.sync()
        self._require_turn()
        try:
            if self._number(self._work):
                self._mount.rmdir(self._work)
            self._mount.rmdir(self._hidden)
        except CephError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            raise self._elsewhere(record) from error
        self._mount.sync()

    def _require_unwritten(self, record: Record) -> None:
        if fingerprint(self._mount, self._old, self._go_on) != record.trash:
            raise BusyError(
                errno.EBUSY,
                f"the old tree was written after it was compared, by a client that nobody knew of: what it wrote is in "
                f"{self._old.decode(errors='replace')} only",
                self.path,
                remedy="Nothing was removed. Look at it (`migrate start` names the files), copy what is missed, and "
                "purge with --lose-changes.",
            )

    # parts

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """The lease of the hidden directory, which is ours. Whether it is still there is looked at first of all
        (`_settled`): its last holder may have ended the migration while this one waited."""
        found = existing(self._plain, self._hidden)
        if found is None:
            raise NotFoundError(
                errno.ENOENT, "no migration is under way, or kept to be rolled back", self.path
            )
        self._require_ours(found)
        with self._mount.lease(found.ino) as lease:
            try:
                lease.acquire(_LEASE_TIMEOUT)
            except LeaseHeldError as error:
                raise BusyError(
                    errno.EBUSY,
                    "another process works at this migration",
                    self.path,
                    remedy="Let it end, or stop it. Nothing was changed.",
                ) from error
            self._lease, self._leased = lease, found.ino
            try:
                yield
            finally:
                self._lease = None

    def _require_ours(self, found: Attributes) -> None:
        """What others made, or can put something else in the place of, is not trusted: what is removed is found by its
        path."""
        if found.kind is not Kind.DIRECTORY or found.uid != os.geteuid():
            raise RefusedError(
                errno.EPERM,
                f"{self._hidden.decode(errors='replace')} is no directory of user {os.geteuid()}",
                self.path,
                remedy="Look at it, and move it away; or go on as the user who began.",
            )
        above = b"/"
        for name in components(self.path)[:-1]:
            above = joined(above, name)
            if self._mount.stat(above).kind is Kind.SYMLINK:
                raise RefusedError(
                    errno.ELOOP,
                    f"{above.decode(errors='replace')} is a symbolic link",
                    self.path,
                    remedy="Give the path without links.",
                )
        mode = self._mount.stat(above).mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise RefusedError(
                errno.EPERM,
                f"everybody may rename what lies in {above.decode(errors='replace')}",
                self.path,
                remedy="Take that away while it is migrated: chmod o-w, or +t.",
            )

    def _require_turn(self) -> None:
        """Raises `LeaseLostError`: this process slept, and another one may have taken over: it must not go on."""
        if self._lease is None:
            raise ValueError("a migration is changed by the holder of its lease only")
        self._lease.renew()
        self._require_same_place()

    def _require_same_place(self) -> None:
        """The hidden directory is the one whose lease we have: others may have removed it, or moved it away."""
        if self._number(self._hidden) != self._leased:
            raise BusyError(
                errno.EBUSY,
                f"{self._hidden.decode(errors='replace')} was removed, replaced or moved meanwhile",
                self.path,
                remedy="See `migrate status`, and run the same again.",
            )

    def _go_on(self) -> None:
        self._require_turn()
        self._watched()

    def _renamed(self, *moves: tuple[bytes, bytes]) -> float:
        """Renames, one after the other; the seconds since the first. Each is made in one's turn: the look at the lease
        costs nothing, and whoever slept between two renames leaves the rest to whoever has taken over."""
        begun = time.monotonic()
        for source, target in moves:
            self._require_turn()
            self._mount.rename(source, target)
        gap = time.monotonic() - begun
        self._mount.sync()
        return gap

    def _begun(self, way: Way, plan: str) -> Record:
        """A new migration in the hidden directory, which is empty."""
        left = next(self._plain.scandir(self._hidden), None)
        if left is not None:
            raise RefusedError(
                errno.ENOTEMPTY,
                f"something lies in {self._hidden.decode(errors='replace')} that is of no migration",
                self.path,
                remedy="Look at it, and move it away.",
            )
        self._mount.chmod(self._hidden, 0o700)
        record = Record(
            cluster=self._mount.identity(),
            path=self._path_of_all(),
            direction=way.direction,
            source=self._mount.stat(self.path).ino,
            key=way.key.hex(),
            plan=without_tree(plan),
        )
        return self._journal.write(record)

    def _prepared(self, record: Record, way: Way, namespace: str | None) -> Record:
        """The new tree is there, empty or as it was left, with nothing half made in it."""
        if existing(self._plain, self._work) is None:
            self._mount.mkdir(self._work, 0o700)
        elif record.direction is not Direction.DECRYPT:
            remove_half_made(self._mount, self._work, self._go_on)
        encrypts = record.direction is not Direction.DECRYPT
        for path, like in ((self._new, self.path), (self._anchors, self._new)):
            if existing(self._plain, path) is None:
                self._mount.mkdir(path, 0o700)
            if encrypts and self._files.subtree(path).policy is None:
                self._lay_out(path, like, namespace)
                self._files.create_subtree(path, way.key, padding=PADDING)
        if namespace is not None and self._mount.layout(self._new).namespace != namespace:
            raise RefusedError(
                errno.EEXIST,
                "the new tree was begun in another namespace",
                self.path,
                remedy="Go on without --namespace, or begin anew after `migrate cancel`.",
            )
        self._mount.sync()
        made = replace(
            record, new=self._mount.stat(self._new).ino, anchors=self._mount.stat(self._anchors).ino
        )
        return record if record == made else self._journal.write(made)

    def _lay_out(self, path: bytes, like: bytes, namespace: str | None) -> None:
        """Where the files of a tree will lie: said before it has a policy, for nobody can change it afterwards
        (doc/facts.md F13), and on its own top, which will lie elsewhere."""
        found = self._mount.layout(like)
        with suppress(NoAttributeError):
            if self._mount.getxattr(like, _LAYOUT) and not found.striped:
                # as one, for the parts have to fit each other; 18.2 takes no namespace there
                words = (
                    f"stripe_unit={found.stripe_unit} stripe_count={found.stripe_count} "
                    f"object_size={found.object_size} pool={found.pool}"
                )
                self._mount.setxattr(path, _LAYOUT, words.encode())
        namespace = namespace or found.namespace
        if namespace:
            self._mount.setxattr(path, f"{_LAYOUT}.pool_namespace", namespace.encode())

    def _passes(self, record: Record, copied: Copied, most: int) -> None:
        with self._hands() as hands:
            for _ in range(most):
                before, files, size = copied.work, copied.files, copied.size
                copied.problem_count, copied.problems, copied.current = 0, [], 0
                self._pass(record, copied, hands)
                record = self._journal.write(
                    replace(
                        record,
                        passes=record.passes + 1,
                        copied=record.copied + copied.files - files,
                        size=record.size + copied.size - size,
                    )
                )
                if copied.work == before:
                    return

    @contextmanager
    def _hands(self) -> Iterator[Hands | None]:
        if self._open_hands is None or self._lease is None:
            yield None
        else:
            with self._open_hands(Turn(self.path, self._leased, self._lease.token)) as hands:
                yield hands

    def _pass(self, record: Record, copied: Copied, hands: Hands | None) -> None:
        def repair() -> None:
            if record.direction is not Direction.DECRYPT:
                remove_half_made(self._mount, self._work, self._go_on)

        Pass(self.sides(record), self._go_on, copied, hands, repair, self._limits).run()

    def _require_equal(self, verdict: Verdict, remedy: str) -> None:
        if not verdict.equal:
            kind, below, how = verdict.listed[0]
            raise BusyError(
                errno.EBUSY,
                f"the two trees are not the same: {verdict.differ} differ, {verdict.missing} missing, {verdict.extra} "
                f"extra, {verdict.error} not comparable; the first: {below.decode(errors='replace')}: "
                f"{kind} {how}".rstrip(),
                self.path,
                remedy=remedy,
            )

    def _require_all_copied(self, copied: Copied) -> None:
        if copied.problem_count:
            path, how = copied.problems[0]
            raise BusyError(
                errno.EBUSY,
                f"{copied.problem_count} could not be copied, the first: {path.decode(errors='replace')}: {how}",
                self.path,
                remedy="Nothing was exchanged. See to them, or remove them, and run the same again.",
            )

    def _require_unchanged(self, record: Record) -> None:
        """Nobody has written into the source while it was verified: one more pass finds nothing to do. What those did
        who died in it nobody knows, so then the source itself is asked."""
        late = Copied()
        with self._hands() as hands:
            self._pass(record, late, hands)
        self._require_all_copied(late)
        if late.work:
            raise BusyError(
                errno.EBUSY,
                f"the source was changed while it was verified: {late.work} entries",
                self.path,
                remedy="Nothing was exchanged. See who writes there, and run the same again.",
            )
        if late.redone and fingerprint(self._mount, self.path, self._go_on) != record.trash:
            raise BusyError(
                errno.EBUSY,
                "the source was changed while it was verified, and those who copied what was changed have died",
                self.path,
                remedy="Nothing was exchanged. See who writes there, and run the same again.",
            )

    def _copy_again(self, record: Record, verdict: Verdict) -> None:
        """What differs loses its mark; all do where more differs than is listed."""
        sides = self.sides(record)
        differing = [below for kind, below, _ in verdict.listed if kind == "differ"]
        if len(differing) < verdict.differ:
            remove_marks(self._mount, self._work, self._go_on)
            return
        for below in differing:
            if mark_of(sides.new, sides.new_top + below) is not None:
                sides.new.removexattr(sides.new_top + below, MARK)

    def _clear_work(self, record: Record) -> None:
        """What is left beside the new tree, which is in place: the anchors. Until they are gone, files with several
        names have one more."""
        if self._number(self._anchors) not in (0, record.anchors):
            raise self._elsewhere(record)
        remove_tree(self._mount, self._anchors, self.path, self._go_on, kept=record.new)
        self._mount.sync()

    def _copying(self) -> Record:
        return self._settled_as(State.COPYING)

    def _settled_as(self, state: State) -> Record:
        record = self._required_settled()
        self._require_state(record, state, f"it is {record.state.value}", "see `migrate status`")
        return record

    def _require_no_strangers(self) -> None:
        came = strangers(self._mount, self.path)
        if came:
            raise NotFencedError(self.path, came)

    def _require_state(self, record: Record, state: State, happened: str, remedy: str) -> None:
        if record.state is not state:
            raise RefusedError(errno.EINVAL, happened, self.path, remedy=f"{remedy}. Nothing was changed.")

    # what a crash left

    def _required_settled(self) -> Record:
        record = self._settled()
        if record is None:
            raise NotFoundError(
                errno.ENOENT, "no migration is under way, or kept to be rolled back", self.path
            )
        return record

    def _settled(self) -> Record | None:
        """The record, after an exchange of whoever died was finished or undone. For the holder of the lease.

        What is where decides, not what the record says was intended. Between the two renames of a cut-over it is
        finished, since what stands beside was verified and nobody could reach what it was copied from; between those
        of a rollback as well. The same is done for one who slept past the end of its lease and made one rename more
        than it was allowed to.

        Raises:
            RefusedError: the record is of another file system, or the trees are where nothing of ours puts them.
        """
        self._require_turn()
        record = self.record()
        if record is None:
            return None
        if record.cluster != self._mount.identity():
            raise RefusedError(
                errno.ESTALE,
                "its record is of another cluster or file system: this is a copy of it",
                self.path,
                remedy=f"Remove {self._hidden.decode(errors='replace')} if the copy is complete without it.",
            )
        if record.path != self._path_of_all():
            raise RefusedError(
                errno.ESTALE,
                f"its record is of {record.path}",
                self.path,
                remedy="Move the directories above back to where they were when it was begun.",
            )
        if not record.new and record.state not in (State.COPYING, State.CANCELLING):
            raise self._elsewhere(record)
        if record.state in (State.CANCELLING, State.PURGING):
            return self._in_use(record)
        record = self._exchanged(record)
        if record.state is State.DONE:
            self._clear_work(record)
        return record

    def _path_of_all(self) -> str:
        return self._mount.absolute(self.path).decode("utf-8", "surrogateescape")

    def _exchanged(self, record: Record) -> Record:
        match (record.state, *self._places()):
            case ((State.CUTTING | State.UNDOING), record.source, 0, record.new):
                return self._journal.enter(record, State.COPYING)
            case ((State.CUTTING | State.UNDOING), record.new, record.source, 0):
                return self._journal.enter(record, State.DONE)
            case ((State.CUTTING | State.DONE), 0, record.source, record.new):
                self._renamed((self._new, self.path))
                return self._journal.enter(record, State.DONE)
            case ((State.UNDOING | State.COPYING), 0, record.source, record.new):
                self._renamed((self._old, self.path))
                return self._journal.enter(record, State.COPYING)
            case (State.COPYING, record.source, 0, _) | (State.DONE, _, record.source, 0):
                return record
            case _:
                raise self._elsewhere(record)

    def _in_use(self, record: Record) -> Record:
        """While something is removed: the tree that is kept is at the path. One who slept past the end of its lease may
        have moved it to where its own exchange would have."""
        match (record.state, *self._places()):
            case (State.CANCELLING, 0, record.source, (0 | record.new)) | (State.PURGING, 0, record.new, 0):
                self._renamed((self._old, self.path))
            case State.CANCELLING, 0, 0, _ if self._number(self._going) == record.source:
                self._renamed((self._going, self.path))
            case State.PURGING, 0, (0 | record.source), record.new:
                self._renamed((self._new, self.path))
            case (State.CANCELLING, record.source, 0, _) | (
                State.PURGING,
                record.new,
                (0 | record.source),
                0,
            ):
                pass
            case _:
                raise self._elsewhere(record)
        return record

    def _places(self) -> tuple[int, int, int]:
        """The numbers of what lies at the path, in the trash, and in the place of the new tree; 0 for nothing."""
        return self._number(self.path), self._number(self._old), self._number(self._new)

    def _number(self, path: bytes) -> int:
        try:
            return self._mount.identify(path).ino
        except NotFoundError:
            return 0

    def _require_places(self, record: Record, *places: int) -> None:
        if self._places() != places:
            raise self._elsewhere(record)

    def _require_in_place(self, record: Record) -> None:
        """The source is at its path, by its number: that alone says that what lies elsewhere is not it."""
        at, old, _ = self._places()
        if (at, old) != (record.source, 0):
            raise self._elsewhere(record)

    def _elsewhere(self, record: Record) -> DamagedError:
        return DamagedError(
            errno.EUCLEAN,
            f"while it was {record.state.value}, somebody else made, moved or removed something: the old tree is inode "
            f"{record.source:x}, the new one {record.new:x}, and they are not at the path and in "
            f"{self._hidden.decode(errors='replace')} as they were left",
            self.path,
            remedy="Move what was put in their way aside, or bring them back, and run the same again.",
        )
