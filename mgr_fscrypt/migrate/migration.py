"""A migration: the new tree grows beside the old one until it is the same, and then takes its place by two renames.

Beside the source, in the directory that holds it, lies a hidden directory for its owner alone. In it: `work`, with the
new tree, a subtree of its own (or a plain directory), and another one of the same policy for the anchors of files with
several names; and after the cut-over `old`, the trash. What is to be
removed is renamed to `gone` first, which nobody moves a tree in use into: not even one who slept past the end of its
lease with a rename under way, for that one knows `work` and `old` only. Its record (`record`) says how far it is, and
which inodes are which, so whoever comes after a crash knows from what is where what has been done
(`settling`).

One process works at a migration at a time, by the lease of the hidden directory. Whoever finds the lease lost stops.
"""

import errno
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial

from ..ceph.errors import ExistsError
from ..ceph.interface import Mount, Session
from ..engine import BusyError, FileSystem, NotFencedError, RefusedError
from ..engine.directories import Directory
from ..engine.fence import fence, strangers
from ..engine.modes import snapshots_of
from ..engine.paths import joined
from ..engine.snapshot_names import SNAPSHOTS
from .clearing import remove_half_made, remove_marks, remove_tree
from .comparing import compare, written_since
from .copying import Pass
from .excluding import MOST_EXCLUDED, Named, left_in, named_in
from .files import Copied
from .judging import Judge, Judges
from .manifest import Manifest, compare_with_manifest, line_of
from .marks import MARK, mark_of
from .pace import UNLIMITED, Limits, Pace, local_time
from .places import Places
from .plan import Way
from .preparing import Preparing
from .record import Direction, Journal, Record, State, no_migration
from .removing import Removing, require_state
from .settling import Settling
from .shards import Hands
from .trees import PlainTree, Sides, Tree, fingerprint
from .turns import Turn, Turns
from .verdict import Verdict

PASSES = 5
"""Passes before the fence, at most: a tree that is written all the time never comes to rest before it."""
_LAST_PASSES = 3
"""Passes behind the fence, at most: nobody writes there."""
LONGEST_KEPT = 100 * 365 * 86400
"""Seconds: what is to be kept longer has no time that could be told."""


class Step(Enum):
    """What a migration is at."""

    WAITING = "waiting for the window"
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
        limits: how fast this process copies, and when; and how fast it removes.
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
        self._places = Places(mount, path)
        self.path = self._places.path
        self._turns = Turns(mount, self._places)
        self._journal = Journal(mount, self._places.hidden, self._turns.require)
        self._settling = Settling(mount, self._places, self._turns, self._journal)
        self._preparing = Preparing(mount, files, self._places, self._journal, self._go_on)
        self._removing = Removing(mount, self._places, self._turns, self._journal, self._go_on, limits)

    # looking

    def require_turn_of(self, turn: Turn) -> None:
        """For a process that copies for another one: raises `LeaseLostError` as `Turns.require_of`."""
        self._turns.require_of(turn)

    def record(self) -> Record | None:
        """What is known of it; None where nothing is migrated."""
        return self._journal.read()

    def required_record(self) -> Record:
        """Raises `NotFoundError` where nothing is migrated."""
        record = self.record()
        if record is None:
            raise no_migration(self.path)
        return record

    def sides(self, record: Record) -> Sides:
        """Both trees, wherever they lie now."""
        source: Tree = self._plain if record.direction is Direction.ENCRYPT else self._files
        new: Tree = self._plain if record.direction is Direction.DECRYPT else self._files
        if record.state in (State.DONE, State.PURGING):
            top, new_top = self._places.old, self.path
        else:
            top, new_top = self.path, self._places.new
        return Sides(
            source, top, new, new_top, self._places.anchors, record.namespace, frozenset(record.excluded)
        )

    # comparing

    def compare(
        self,
        verdict: Verdict,
        go_on: Callable[[], None] = lambda: None,
        told: Callable[[str, bytes, str], None] = lambda *_: None,
        *,
        manifest: bool = False,
        judges: Judges | None = None,
    ) -> Verdict:
        """Compare both sides, in the process that is to verify, or by `judges` of its: raises as `comparing.compare`.
        With `manifest`, and before the cut-over, the manifest is written meanwhile: for a process with the turn, or
        that works for it."""
        record = self.required_record()
        sides = self.sides(record)
        if not manifest or record.state is not State.COPYING:
            return compare(sides, verdict, go_on, told, None, judges)
        with Manifest(self._mount, self._places.manifest, sides.new_top) as written:
            return compare(sides, verdict, go_on, told, written, judges)

    def judge(self, record: Record, go_on: Callable[[], None]) -> Judge:
        """This process as one that compares for another one, which has read the `record`: raises as
        `comparing.compare`."""
        sides = self.sides(record)
        return Judge(sides, partial(line_of, self._mount, sides.new_top), go_on)

    def compare_without_key(
        self,
        verdict: Verdict,
        go_on: Callable[[], None] = lambda: None,
        told: Callable[[str, bytes, str], None] = lambda *_: None,
    ) -> Verdict:
        """Compare the new tree, as it is stored, with what it was when it was verified: raises as
        `manifest.compare_with_manifest`.

        Raises:
            RefusedError: EINVAL: it was not verified yet.
        """
        record = self.required_record()
        if not record.manifest:
            raise RefusedError(
                errno.EINVAL,
                "it was not verified yet, so nobody knows what is to be there",
                self.path,
                remedy="Verify with the keys, or see `migrate status`.",
            )
        top = self.sides(record).new_top
        return compare_with_manifest(
            self._mount, self._places.manifest, record.manifest, top, verdict, go_on, told
        )

    # copying

    def start(
        self,
        way: Way,
        plan: str,
        namespace: str | None = None,
        exclude: Iterable[Named] = (),
        include: Iterable[Named] = (),
        keep: int | None = None,
    ) -> Record:
        """Begin, or go on where an earlier run ended: afterwards the source is in place, the new tree beside it, and a
        cut-over that was interrupted is finished or undone.

        Args:
            way: as it was planned.
            plan: the plan's hash, for the record, which keeps of it what tells nothing of the tree.
            namespace: the RADOS namespace of the new tree's files; None: that of the source. It counts when the new
                tree is begun: later nobody can change it.
            exclude: what is left out from now on; `include` takes it back.
            keep: seconds that the trash is to be kept; 0: until somebody purges it. None: as it was said before. After
                the cut-over they count from now on.

        Raises:
            NotFoundError: nothing is there to be left out.
            RefusedError: EEXIST: another migration of it is under way or kept; ENOTEMPTY: the hidden directory is
                not ours; EINVAL: `keep` is longer than `LONGEST_KEPT`; E2BIG: more is left out than a record can hold.
            BusyError: another process works at it.
        """
        if keep is not None and keep > LONGEST_KEPT:
            raise RefusedError(
                errno.EINVAL,
                "the old tree is to be kept longer than a hundred years",
                self.path,
                remedy="Say `never`. Nothing was changed.",
            )
        try:
            self._mount.mkdir(self._places.hidden, 0o700)
            self._mount.sync()
        except ExistsError:
            pass
        with self._turns.alone():
            record = self._settled()
            if record is None:
                record = self._preparing.begun(way, plan)
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
                record = self._preparing.prepared(record, way, namespace)
            record = self._chosen(record, tuple(exclude), tuple(include))
            return record if keep is None else self._journal.write(record.keeping(keep, time.time()))

    def _chosen(self, record: Record, exclude: tuple[Named, ...], include: tuple[Named, ...]) -> Record:
        """With these left out. Who runs a `start` once more that was killed after the exchange says the same again."""
        sides = self.sides(record)
        new = [each for each in exclude if each not in sides.excluded]
        excluded = sides.excluded | frozenset(named_in(sides.source, sides.top, new))
        excluded -= frozenset(each for each in include if isinstance(each, int))
        excluded -= frozenset(
            named_in(sides.source, sides.top, (each for each in include if isinstance(each, bytes)))
        )
        if excluded == sides.excluded:
            return record
        require_state(
            self._places,
            record,
            State.COPYING,
            f"it is {record.state.value}",
            "Leave --exclude and --include out",
        )
        if len(excluded) > MOST_EXCLUDED:
            raise RefusedError(
                errno.E2BIG,
                f"{len(excluded)} entries would be left out, and {MOST_EXCLUDED} are the most",
                self.path,
                remedy="Leave out a directory that holds them, or move them out. Nothing more is left out than before.",
            )
        return self._journal.write(replace(record, excluded=tuple(sorted(excluded))))

    def converge(self, copied: Copied, *, passes: int = PASSES) -> None:
        """Copy until nothing was left to do in a pass, or so many passes are over; `copied` counts over all.

        Raises what ends a pass (`Pass.run`); it is gone on with by the same calls.
        """
        with self._turns.alone():
            record = self._copying()
            self._wait_for_window()
            self._told(Step.COPYING)
            self._passes(record, copied, passes, fenced=False)

    # cutting over

    def cut_over(self, copied: Copied, verify: Callable[[Record], Verdict], *, evict: bool) -> Late:
        """Fence, copy what is left, verify, and exchange the trees. It waits for its window to begin, and for none from
        then on: nobody can use the tree meanwhile.

        Args:
            verify: compares both sides, by means of its own, and has let go of them when it returns.

        Raises:
            NotFencedError: clients can reach the tree, and `evict` is false.
            BusyError: something could not be copied, is not the same, or was changed while it was verified; the source
                is in place, and the new tree is kept.
        """
        with self._turns.alone():
            record = self._copying()
            self._wait_for_window()
            self._told(Step.FENCING)
            evicted = fence(self._mount, self.path, self.path, evict=evict)
            record, verdict = self._verified(record, copied, verify)
            if evicted and not verdict.equal:
                # what they wrote last, nobody may have counted as a change: it is copied by now, if it is that
                record, verdict = self._verified(record, copied, verify)
            self._require_equal(
                verdict, "Nothing was exchanged. Run the same again: what differs is copied anew."
            )
            self._require_unchanged(record)
            self._require_no_strangers()
            record = replace(record, verified=verdict.same, manifest=verdict.manifest)
            gap = self._exchange(record)
            self._told(Step.CLEARING)
            record = self._settled_as(State.DONE)
            return Late(gap, evicted, verdict, self.late_writes(record))

    def _verified(
        self, record: Record, copied: Copied, verify: Callable[[Record], Verdict]
    ) -> tuple[Record, Verdict]:
        """The last pass behind the fence, and the comparison; what differs is not current any more."""
        self._told(Step.FINISHING)
        self._passes(record, copied, _LAST_PASSES, fenced=True)
        self._require_all_copied(copied)
        record = self._copying()
        self._told(Step.VERIFYING)
        record = replace(record, trash=self._fingerprint(record, self.path))
        self._turns.require()
        verdict = verify(record)
        if not verdict.equal:
            self._copy_again(record, verdict)
        return record, verdict

    def late_writes(self, record: Record) -> list[bytes]:
        """What the trash has otherwise than it was copied, as paths below the top (`written_since`); nothing where it
        is as it was before the verification, whatever has become of the new tree."""
        sides = self.sides(record)
        if fingerprint(self._mount, sides.top, self._watched, sides.excluded) == record.trash:
            return []
        return written_since(sides)

    def left_out(self, record: Record) -> list[bytes]:
        """Where what was excluded lies now, in the source or in the trash, by stored paths."""
        return left_in(self._mount, self.sides(record).top, frozenset(record.excluded), self._watched)

    def _exchange(self, record: Record) -> float:
        """The two renames; the seconds between them."""
        self._told(Step.CUTTING)
        until = int(time.time()) + record.keep if record.keep else 0
        record = self._journal.enter(replace(record, kept_until=until), State.CUTTING)
        gap = self._turns.renamed((self.path, self._places.old), (self._places.new, self.path))
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
        with self._turns.alone():
            interrupted = self.required_record().state is State.UNDOING
            record = self._required_settled()
            if interrupted and record.state is State.COPYING:
                return None
            require_state(self._places, record, State.DONE, "it was not cut over", "see `migrate status`")
            self._places.require(record, record.new, record.source, 0)
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
            gap = self._turns.renamed((self.path, self._places.new), (self._places.old, self.path))
            self._journal.enter(record, State.COPYING)
            return gap

    def purge(
        self, *, lose_changes: bool = False, lose_excluded: bool = False, only_due: bool = False
    ) -> list[bytes]:
        """Remove the trash, and all traces, no faster than the limits. May be run again after an interruption. The
        answer: snapshots of the directories above, by their paths, which may hold the old tree still.

        Args:
            lose_changes: though the trash was written after it was compared.
            lose_excluded: though what was excluded is in the trash only.
            only_due: the time until which the trash is kept has to be over.

        Raises:
            RefusedError: EINVAL: there was no cut-over; ENOTEMPTY: a directory of the trash has snapshots.
            BusyError: the trash was written after it was compared, or what was excluded is there, or it is to be kept
                longer.
            DamagedError: not the new tree is at the path, or not the old one in the trash.
        """
        with self._turns.alone():
            record = self._required_settled()
            if only_due and not record.due(time.time()):
                raise BusyError(
                    errno.EBUSY,
                    "the old tree is to be kept longer",
                    self.path,
                    remedy="See `migrate status`. Nothing was changed.",
                )
            self._removing.purge(record, lose_changes=lose_changes, lose_excluded=lose_excluded)
        above = self.path.rpartition(b"/")[0] or b"/"
        place = joined(above, SNAPSHOTS)
        return [joined(place, name) for name in snapshots_of(self._mount, Directory(above, above, 0))]

    def cancel(self) -> None:
        """Remove the new tree, no faster than the limits; the source is as it was. May be run again after an
        interruption.

        Raises:
            RefusedError: EINVAL: it was cut over.
            DamagedError: not the source is at the path.
        """
        with self._turns.alone():
            self._removing.cancel(self._required_settled())

    # parts

    def _go_on(self) -> None:
        self._turns.require()
        self._watched()

    def _fingerprint(self, record: Record, top: bytes) -> str:
        return fingerprint(self._mount, top, self._go_on, frozenset(record.excluded))

    def _wait_for_window(self) -> None:
        window = self._limits.window
        if window is not None and window.closed_for(local_time()):
            self._told(Step.WAITING)
            Pace(self._limits, self._go_on).wait_for_window()

    def _passes(self, record: Record, copied: Copied, most: int, *, fenced: bool) -> None:
        with self._hands(fenced=fenced) as hands:
            for _ in range(most):
                before, files, size = copied.work, copied.files, copied.size
                copied.begin_pass()
                self._pass(record, copied, hands, fenced=fenced)
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
    def _hands(self, *, fenced: bool) -> Iterator[Hands | None]:
        turn = self._turns.current(fenced=fenced)
        if self._open_hands is None or turn is None:
            yield None
        else:
            with self._open_hands(turn) as hands:
                yield hands

    def _pass(self, record: Record, copied: Copied, hands: Hands | None, *, fenced: bool) -> None:
        def repair() -> None:
            if record.direction is not Direction.DECRYPT:
                remove_half_made(self._mount, self._places.work, self._go_on)

        limits = self._limits.at_any_time if fenced else self._limits
        Pass(self.sides(record), self._go_on, copied, hands, repair, limits).run()

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
                f"{copied.problem_count} could not be copied ({copied.kinds_of_problems}), the first: "
                f"{path.decode(errors='replace')}: {how}",
                self.path,
                remedy="Nothing was exchanged. See to them, remove them, or leave them out with --exclude, and run it "
                "again.",
            )

    def _require_unchanged(self, record: Record) -> None:
        """Nobody has written into the source while it was verified: one more pass finds nothing to do. What those did
        who died in it nobody knows, so then the source itself is asked."""
        late = Copied()
        with self._hands(fenced=True) as hands:
            self._pass(record, late, hands, fenced=True)
        self._require_all_copied(late)
        if late.work:
            raise BusyError(
                errno.EBUSY,
                f"the source was changed while it was verified: {late.work} entries",
                self.path,
                remedy="Nothing was exchanged. See who writes there, and run the same again.",
            )
        if late.redone and self._fingerprint(record, self.path) != record.trash:
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
            remove_marks(self._mount, self._places.work, self._go_on)
            return
        for below in differing:
            if mark_of(sides.new, sides.new_top + below) is not None:
                sides.new.removexattr(sides.new_top + below, MARK)

    def _clear_work(self, record: Record) -> None:
        """What is left beside the new tree, which is in place: the anchors. Until they are gone, files with several
        names have one more."""
        if self._places.number(self._places.anchors) not in (0, record.anchors):
            raise self._places.elsewhere(record)
        remove_tree(self._mount, self._places.anchors, self.path, self._go_on, kept=record.new)
        self._mount.sync()

    def _copying(self) -> Record:
        return self._settled_as(State.COPYING)

    def _settled_as(self, state: State) -> Record:
        record = self._required_settled()
        require_state(self._places, record, state, f"it is {record.state.value}", "see `migrate status`")
        return record

    def _require_no_strangers(self) -> None:
        came = strangers(self._mount, self.path)
        if came:
            raise NotFencedError(self.path, came)

    # what a crash left

    def _required_settled(self) -> Record:
        record = self._settled()
        if record is None:
            raise no_migration(self.path)
        return record

    def _settled(self) -> Record | None:
        record = self._settling.settled()
        if record is not None and record.state is State.DONE:
            self._clear_work(record)
        return record
