"""The kinds `migrate-plan` and `migrate`: a directory into encrypted form, under another key, or back.

What is where, and the record of the migration itself, say how far it is (doc/migration.md): a run that was killed is
gone on with from the start, and copies no finished file again.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

from ...ceph.errors import NoAttributeError, NotFoundError
from ...ceph.interface import Mount
from ...engine import BusyError, FileSystem, Keyring
from ...engine.fence import fence
from ...format import MasterKey
from ...messages.job import JobWish
from ...messages.migration_job import (
    CLOSED,
    MIGRATE,
    PLAN,
    FoundObstacle,
    MigrateResult,
    PlanOptions,
    PlanResult,
    StartOptions,
    as_result,
    inodes_in,
)
from ...migrate import Copied, Direction, Migration, Plan, Record, State, Step, Verdict, Way, look_over
from ...migrate.migration import PASSES
from ...migrate.pace import Limits, Window, local_time
from ...migrate.plan import require_same
from ...migrate.shards import Hands
from ...migrate.trees import PlainTree, Tree
from ...migrate.turns import Turn
from ..jobs import CancelledError, Controls, JobFailedError, Outcome, RefusedWishError
from .crew import Crew
from .migration_place import blinded, end_predecessors, inode_text, number_at, standing, unlocked, way_of
from .place import Reach
from .subtree_place import encoded, options_of, require_full_size

NAMED = 5
"""Obstacles of each class that a result has."""
_FIRST = "the first: "
"""After these words messages of a migration name an entry, which no record may."""


class MigratePlan:
    """A `Kind`. It changes nothing."""

    name = PLAN
    changes = False
    lasting = False

    def __init__(self, reach: Reach) -> None:
        """`reach` connects."""
        self._reach = reach

    def accept(self, wish: JobWish) -> None:
        """See `Kind`."""
        options_of(PlanOptions, wish.options)

    def run(self, wish: JobWish, controls: Controls) -> Outcome:
        """See `Kind`."""
        options, path = options_of(PlanOptions, wish.options), encoded(wish.path)
        with self._reach() as place:
            way, _ = way_of(place.mount, path, options.key, decrypt=options.decrypt)
            with unlocked(place.mount, path, controls, way.key) as (files, keys):
                left_out = inodes_in(options.exclude)
                found = _looked_over(place.mount, files, way, keys[0], controls, left_out)
                source = _source(place.mount, files, way)
                return Outcome(as_result(_told(found, source)), code=0 if found.clear else 1)


class Migrate:
    """A `Kind`. One that is cancelled before the cut-over removes the new tree."""

    name = MIGRATE
    changes = True
    lasting = True

    def __init__(self, reach: Reach, crew: Crew) -> None:
        """`reach` connects, the `crew` copies and compares."""
        self._reach = reach
        self._crew = crew

    def accept(self, wish: JobWish) -> None:
        """See `Kind`."""
        _limits_of(options_of(StartOptions, wish.options))

    def run(self, wish: JobWish, controls: Controls) -> Outcome:
        """See `Kind`."""
        options, path = options_of(StartOptions, wish.options), encoded(wish.path)
        with self._reach() as place:
            try:
                controls.check()
                way, record = way_of(place.mount, path, options.key, decrypt=options.decrypt)
                with unlocked(place.mount, path, controls, way.key) as (files, keys):
                    work = _Work(place.mount, files, keys, way, options, controls, self._crew)
                    return Outcome(as_result(work.run(record)))
            except CancelledError:
                done = _put_away(place.mount, path, controls)
                if done is None:
                    raise
                return done


class _Work:
    """One run."""

    def __init__(
        self,
        mount: Mount,
        files: FileSystem,
        keys: list[MasterKey],
        way: Way,
        options: StartOptions,
        controls: Controls,
        crew: Crew,
    ) -> None:
        self._mount = mount
        self._files = files
        self._keys = keys
        self._way = way
        self._options = options
        self._controls = controls
        self._crew = crew
        self._copied = Copied()
        self._verdict: Verdict | None = None
        self._total = _entries(mount, way.path)
        self._step = Step.COPYING
        # each worker, and this process
        self._limits = _limits_of(options).shared(options.workers + 1)
        self.migration = Migration(
            mount, files, way.path, self._begin_step, self._watch, self._hands, self._limits
        )

    def run(self, known: Record | None) -> MigrateResult:
        """To its end, or to where it has to stop."""
        options, path = self._options, self._way.path
        if self._way.direction is not Direction.DECRYPT:
            require_full_size(self._keys[0])
        if known is None:
            self._require_planned()
        end_predecessors(self._mount, path)
        if options.offline:
            fence(self._mount, path, path, evict=False)
        keep = options.keep_trash if options.keep_trash >= 0 else None
        record = self.migration.start(
            self._way,
            options.plan,
            options.namespace or None,
            exclude=inodes_in(options.exclude),
            include=inodes_in(options.include),
            keep=keep,
        )
        if record.state is State.DONE:
            return self._result(record, written=self.migration.late_writes(record))
        self.migration.converge(self._copied, passes=1 if options.offline else PASSES)
        self._note_problems(record)
        if options.copy_only:
            return self._result(self.migration.required_record())
        if self._copied.problem_count:
            kinds = ", ".join(f"{count} {kind.value}" for kind, count in self._copied.classes.most_common())
            raise JobFailedError(
                f"{self._copied.problem_count} entries could not be copied ({kinds}); the source is in place, and what "
                "was copied is kept",
                remedy="see to them, or remove them (`find PATH -inum INODE` names what `job show` lists), then "
                "resume the job; or go on without them: `migrate start` with --exclude INODE,...",
            )
        try:
            late = self.migration.cut_over(self._copied, self._verify, evict=options.evict)
        except BusyError as error:
            raise self._nameless(error, record) from error
        return self._result(
            self.migration.required_record(), written=late.written, evicted=tuple(map(str, late.evicted))
        )

    def _require_planned(self) -> None:
        if not self._options.plan:
            raise JobFailedError(
                "nothing is under way there that could be gone on with",
                remedy="a migration begins with a plan: `ceph fscrypt migrate plan`",
            )
        left_out = inodes_in(self._options.exclude)
        found = _looked_over(self._mount, self._files, self._way, self._keys[0], self._controls, left_out)
        require_same(self._options.plan, found, even_changed=self._options.even_changed)
        if not found.clear:
            blocking = sorted(obstacle.word for obstacle in found.obstacles if obstacle.blocks)
            raise JobFailedError(
                f"something is in its way: {', '.join(blocking)}; nothing was changed",
                remedy="see what: `ceph fscrypt migrate plan`",
            )

    def _result(
        self, record: Record, *, written: list[bytes] | None = None, evicted: tuple[str, ...] = ()
    ) -> MigrateResult:
        self._controls.progress(self._total, self._total, f"entries, {self._copied.size} bytes copied")
        sides = self.migration.sides(record)
        for below in written or ():
            self._controls.note("written-in-trash", inode_text(sides, below))
        return MigrateResult(
            standing=standing(self._mount, self._way.path, record),
            evicted=evicted,
            problems=self._copied.problem_count,
            written=len(written or ()),
        )

    def _note_problems(self, record: Record) -> None:
        sides = self.migration.sides(record)
        for path, _ in self._copied.problems:
            self._controls.note("not-copied", inode_text(sides, path.removeprefix(sides.top)))

    def _nameless(self, error: BusyError, record: Record) -> JobFailedError:
        """What kept it from the cut-over, without the name that it may say."""
        if self._copied.problem_count:
            self._note_problems(record)
        if self._verdict is not None and not self._verdict.equal:
            sides = self.migration.sides(record)
            for kind, below, _ in self._verdict.listed:
                self._controls.note(kind, inode_text(sides, below))
        return JobFailedError(without_name(error), remedy=error.remedy)

    # while it works

    def _begin_step(self, step: Step) -> None:
        self._step = step
        self._controls.check()

    def _watch(self) -> None:
        copied = self._copied
        # of a later pass what was copied before is current
        done = copied.current + copied.files + copied.others
        window = self._limits.window
        at = CLOSED if window is not None and window.closed_for(local_time()) else self._step.value
        self._controls.progress(
            min(done, self._total), self._total, f"entries, {copied.size} bytes copied ({at})"
        )

    def _hands(self, turn: Turn) -> AbstractContextManager[Hands]:
        return self._crew.hands(self._keys, self._options.workers, turn, self._limits)

    def _verify(self, _: Record) -> Verdict:
        self._verdict = None
        told = comparing(self._controls, self._total)
        found = self._crew.compare(self._way.path, self._keys, self._options.workers, told, manifest=True)
        self._verdict = found
        return found


def comparing(controls: Controls, total: int) -> Callable[[Verdict], None]:
    """What is told while two trees are compared."""

    def told(verdict: Verdict) -> None:
        done = verdict.same + verdict.differ + verdict.missing + verdict.extra + verdict.error
        controls.progress(min(done, total), total, f"entries, {verdict.size} bytes compared")

    return told


def without_name(error: BusyError) -> str:
    """What it says, but for the name of an entry."""
    return (error.strerror or "busy").partition(_FIRST)[0].rstrip(" ,;")


def _put_away(mount: Mount, path: bytes, controls: Controls) -> Outcome | None:
    """The source as it was: the new tree goes, if it is not in place already. What came of one that is."""
    with FileSystem(mount, Keyring()) as files:
        migration = Migration(mount, files, path, watched=controls.require_turn)
        record = migration.record()
        if record is None:
            return None
        if record.state in (State.DONE, State.PURGING):
            return Outcome(as_result(MigrateResult(standing(mount, path, record), (), 0, 0)))
        migration.cancel()
    return None


def _limits_of(options: StartOptions) -> Limits:
    """Raises `RefusedWishError`."""
    try:
        window = Window.parse(options.window) if options.window else None
    except ValueError as error:
        raise RefusedWishError(str(error)) from error
    return Limits(options.files_per_second, options.bytes_per_second, options.latency_ms / 1000, window)


def _entries(mount: Mount, path: bytes) -> int:
    """As the MDSs count, which may be late; 1 where they do not, or where a crash has left nothing at the path."""
    try:
        return max(1, int(mount.getxattr(path, "ceph.dir.rentries")))
    except (NoAttributeError, NotFoundError):
        return 1


def _source(mount: Mount, files: FileSystem, way: Way) -> Tree:
    return PlainTree(mount) if way.direction is Direction.ENCRYPT else files


def _looked_over(
    mount: Mount, files: FileSystem, way: Way, key: MasterKey, controls: Controls, exclude: tuple[int, ...]
) -> Plan:
    """A plan, whose hash may be kept."""
    total, done = _entries(mount, way.path), 0

    def go_on() -> None:
        nonlocal done
        controls.progress(min(done, total), total, "entries looked at")
        done += 1

    found = look_over(mount, files, _source(mount, files, way), way, go_on, exclude)
    found.hash = blinded(found.hash, key)
    return found


def _told(found: Plan, source: Tree) -> PlanResult:
    listed = []
    for obstacle in found.obstacles:
        for path, how in [(path, how) for each, path, how in found.listed if each is obstacle][:NAMED]:
            inside = path.startswith(found.way.path + b"/")
            listed.append(
                FoundObstacle(
                    obstacle.word,
                    obstacle.blocks,
                    number_at(source, path) if inside else 0,
                    obstacle.meaning,
                    how,
                )
            )
    return PlanResult(
        direction=found.way.direction.value,
        key=found.way.key.hex(),
        plan=found.hash,
        clear=found.clear,
        files=found.files,
        directories=found.directories,
        links=found.links,
        special=found.special,
        names=found.names,
        bytes=found.size,
        room=found.room,
        totals=found.totals,
        expected=found.expected,
        obstacles={obstacle.word: count for obstacle, count in found.obstacles.items()},
        listed=tuple(listed),
    )
