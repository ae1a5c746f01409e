"""``migrate plan|start|status|verify|rollback|purge|cancel`` (doc/migration.md)."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ..ceph.access import Access
from ..ceph.errors import NotAllowedError
from ..ceph.reclaim import reset
from ..engine import BusyError
from ..engine.fence import fence
from ..format import MasterKey
from ..migrate import (
    Copied,
    Direction,
    Late,
    Migration,
    Obstacle,
    Plan,
    Record,
    State,
    Step,
    Verdict,
    Way,
    look_over,
)
from ..migrate.migration import PASSES
from ..migrate.offers import Offers
from ..migrate.pace import UNLIMITED, Limits
from ..migrate.plan import require_same, totals
from ..migrate.proving import compared
from ..migrate.record import hidden_of
from ..migrate.reports import told_in
from ..migrate.scheduler import Scheduler
from ..migrate.shards import Hands
from ..migrate.trees import PlainTree
from ..migrate.turns import Turn
from ..migrate.workers import workers
from ..subtree_facts import facts_of
from . import dask
from .advice import shown
from .connection import Connection
from .key_files import read_key, require_full_size
from .outcome import Exit, Failure
from .progress import Progress, size_text, time_text
from .register import tell_manager_anew
from .report import Reporter
from .times import moment

WORKERS = 4
"""Processes that copy, and that compare, by default: they wait for the cluster most of the time."""
_CUT_OVER = "it is cut over: the new tree is in place, the old one in the trash"


@dataclass(frozen=True)
class Wish:
    """What was asked for.

    Args:
        path: of the directory.
        decrypt: to plain.
        old_key: the file of the key that the source is encrypted with.
        exclude: what is left out, by paths from the directory.
    """

    path: bytes
    decrypt: bool = False
    old_key: str | None = None
    exclude: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Start:
    """How it is to be started: the plan's hash, which only a new migration needs, where its files will lie, what was
    left out and is not any more, what is done about others, who copies (so many processes, or those that a `scheduler`
    knows) and compares (so many), and where the comparison is told entry by entry. A `piece` is one of several
    directories, which were planned together."""

    plan: str | None = None
    even_changed: bool = False
    confirm: str | None = None
    offline: bool = False
    evict: bool = False
    copy_only: bool = False
    namespace: str | None = None
    workers: int = WORKERS
    scheduler: Scheduler | None = None
    limits: Limits = UNLIMITED
    include: tuple[bytes, ...] = ()
    report: Path | None = None
    keep: int | None = None
    piece: bool = False


def plan(connection: Connection, reporter: Reporter, wish: Wish) -> Exit:
    """Tell what would happen, and what is in the way."""
    found = _looked_over(connection, reporter, _way(connection, wish), wish.exclude)
    for obstacle, path, how in found.listed:
        word = "blocks" if obstacle.blocks else "note"
        reporter.answer(
            {"obstacle": obstacle.word, "blocks": obstacle.blocks, "path": shown(path), "detail": shown(how)},
            f"{word}: {obstacle.word}: {shown(path)}: {obstacle.meaning}"
            + (f" ({shown(how)})" if how else ""),
        )
    value = {
        "path": shown(found.way.path),
        "direction": found.way.direction.value,
        "key_identifier": found.way.key.hex(),
        "files": found.files,
        "directories": found.directories,
        "links": found.links,
        "special": found.special,
        "further_names": found.names,
        "bytes": found.size,
        "room": found.room,
        "totals": found.totals,
        "expected_seconds": found.expected,
        "sampled": found.estimate and found.estimate.files,
        "obstacles": {obstacle.word: count for obstacle, count in found.obstacles.items()},
        "clear": found.clear,
        "plan": found.hash,
    }
    lines = [
        f"{found.way.direction.value} {shown(found.way.path)}, key {found.way.key.hex()}",
        f"  {found.files} files ({size_text(found.size)}), {found.names} further names of them, {found.directories} "
        f"directories, {found.links} symbolic links, {found.special} special files",
        f"  needs {size_text(found.room)} more while both trees are there, and is checked by other processes",
        *_expected(found),
        *_counted(found),
    ]
    lines.append(f"plan {found.hash}" if found.clear else "It cannot be started: see what blocks above.")
    reporter.answer(value, "\n".join(lines))
    return Exit.DONE if found.clear else Exit.DIFFERS


def start(connection: Connection, reporter: Reporter, wish: Wish, how: Start) -> Exit:
    """Begin or go on; copy, fence, verify, exchange."""
    with told_in(how.report):
        # what cannot be told there is found now, and not when all is copied and clients are cut off
        pass
    way = _way(connection, wish)
    shown_path = shown(way.path)
    if wish.decrypt and how.confirm != f"store {shown_path} in the clear":
        raise Failure(
            Exit.USAGE,
            "this stores what is encrypted in the clear, for good",
            remedy=f'if that is meant, add: --confirm "store {shown_path} in the clear"',
        )
    work = _Work(connection, reporter, way.path, how)
    if work.migration.record() is None:
        _begin(connection, reporter, way, how, wish.exclude)
    if how.offline:
        fence(connection.mount, way.path, way.path, evict=False)
    with work.drawn():
        record = work.migration.start(way, how.plan or "", how.namespace, wish.exclude, how.include, how.keep)
        if record.state is State.COPYING:
            work.expect()
            work.migration.converge(work.copied, passes=1 if how.offline else PASSES)
    if record.state is State.DONE:
        _tell(connection, reporter, way.path)
        late = _told_of_late_writes(reporter, way.path, work.migration.late_writes(record))
        left = _told_of_what_is_left_out(reporter, work.migration, record)
        reporter.summary(_described(record) | late | left, f"{shown_path}: {_CUT_OVER}.")
        return Exit.DIFFERS if late["written_in_trash"] else Exit.DONE
    _tell_problems(reporter, work.copied)
    if how.copy_only:
        reporter.summary(
            _described(work.migration.required_record()) | _counts(work.copied),
            f"{shown_path}: copied {work.copied.files} files ({size_text(work.copied.size)}); the source is "
            f"in place. Run it again without --copy-only.",
        )
        return Exit.DIFFERS if work.copied.problem_count else Exit.DONE
    with work.drawn():
        try:
            verify = partial(work.verify, manifest=True)
            done = work.migration.cut_over(work.copied, verify, evict=how.evict)
        except BusyError:
            # the last pass looked at them again
            _tell_problems(reporter, work.copied)
            raise
    _tell(connection, reporter, way.path)
    return _cut_over(connection, reporter, work, done)


def status(connection: Connection, reporter: Reporter, path: bytes) -> Exit:
    """Tell how far it is."""
    record = Migration(connection.mount, connection.files, path).required_record()
    text = (
        f"{shown(path)}: {record.direction.value}, key {record.key}: {record.state.value}; {record.copied} files "
        f"({size_text(record.size)}) copied in {record.passes} passes"
    )
    if record.excluded:
        text += f"; {len(record.excluded)} left out"
    if record.state is State.DONE:
        text += (
            f"; {record.verified} entries verified; nothing was at the path for {1000 * record.gap:.1f} ms; the old "
            f"tree is kept in {shown(hidden_of(path))}{_kept(record)}"
        )
    reporter.answer(_described(record), text)
    return Exit.DONE


def verify(connection: Connection, reporter: Reporter, wish: Wish, how: Start, *, no_key: bool) -> Exit:
    """Compare both trees, whichever of them is in place; with `no_key` the new one with its manifest. All entries are
    told in files in the directory `how.report`."""
    work = _Work(connection, reporter, wish.path, how)
    if no_key:
        with work.drawn():
            verdict = work.verify_without_key()
    else:
        add_old_key(connection, wish)
        connection.require_keys()
        with work.drawn():
            verdict = work.verify(work.migration.required_record())
    for kind, below, differs in verdict.listed:
        reporter.answer(
            {"class": kind, "path": shown(wish.path + below), "how": shown(differs)},
            f"{kind}: {shown(wish.path + below)}" + (f": {shown(differs)}" if differs else ""),
        )
    reporter.summary(
        _classes(verdict),
        f"{shown(wish.path)}: {verdict.same} the same, {verdict.differ} differ, {verdict.missing} missing, "
        f"{verdict.extra} extra, {verdict.error} could not be compared ({size_text(verdict.size)}).",
    )
    return Exit.DONE if verdict.equal else Exit.DIFFERS


def rollback(
    connection: Connection, reporter: Reporter, wish: Wish, how: Start, *, lose_changes: bool, dry_run: bool
) -> Exit:
    """The old tree takes its place again."""
    add_old_key(connection, wish)
    if not lose_changes:
        connection.require_keys()
    work = _Work(connection, reporter, wish.path, how)
    if dry_run:
        return _would(
            reporter, work.migration.required_record(), f"bring the old tree back to {shown(wish.path)}"
        )
    with work.drawn():
        gap = work.migration.rollback(evict=how.evict, verify=None if lose_changes else work.verify)
    _tell(connection, reporter, wish.path)
    measured = "" if gap is None else f"; nothing was there for {1000 * gap:.1f} ms"
    reporter.summary(
        {"path": shown(wish.path), "rolled_back": True, "gap": gap},
        f"the old tree is at {shown(wish.path)} again{measured}. The new one is kept: `migrate start` goes on with it, "
        f"`migrate cancel` removes it.",
    )
    return Exit.DONE


def purge(
    connection: Connection,
    reporter: Reporter,
    path: bytes,
    *,
    lose_changes: bool,
    lose_excluded: bool,
    due: bool,
    limits: Limits,
    dry_run: bool,
) -> Exit:
    """Remove the old tree."""
    migration = _Work(connection, reporter, path, Start(workers=0, limits=limits)).migration
    what = f"the old tree, for good, of {shown(path)}"
    if due:
        record = migration.required_record()
        if not record.due(time.time()):
            kept = _kept(record) if record.state is State.DONE else ""
            text = f"{shown(path)}: nothing was removed: it is {record.state.value}{kept}"
            reporter.summary(_described(record) | {"due": False}, text)
            return Exit.DONE
    if dry_run:
        record = migration.required_record()
        if record.state in (State.COPYING, State.CANCELLING):
            raise Failure(
                Exit.REFUSED,
                "it was not cut over: there is no old tree in the trash",
                remedy="see `migrate status`",
            )
        _told_of_what_is_left_out(reporter, migration, record)
        return _would(reporter, record, f"remove {what}")
    # its time is looked at once more then: somebody may be at it just now who says another one
    above = migration.purge(lose_changes=lose_changes, lose_excluded=lose_excluded, only_due=due)
    snapshots = [shown(each) for each in above]
    for each in snapshots:
        reporter.note(f"{each}: a snapshot of a directory above, which may hold the old tree still")
    reporter.summary({"path": shown(path), "done": "purge", "snapshots_above": snapshots}, f"removed {what}.")
    return Exit.DONE


def cancel(connection: Connection, reporter: Reporter, path: bytes, *, limits: Limits, dry_run: bool) -> Exit:
    """Remove the new tree."""
    migration = _Work(connection, reporter, path, Start(workers=0, limits=limits)).migration
    what = f"the new tree of {shown(path)}"
    if dry_run:
        return _would(reporter, migration.required_record(), f"remove {what}")
    migration.cancel()
    reporter.summary({"path": shown(path), "done": "cancel"}, f"removed {what}.")
    return Exit.DONE


def _would(reporter: Reporter, record: Record, what: str) -> Exit:
    reporter.answer(_described(record) | {"would": what}, f"would {what}; it is {record.state.value}")
    return Exit.DONE


def _way(connection: Connection, wish: Wish) -> Way:
    """By what is there and what was given: the direction follows from both."""
    add_old_key(connection, wish)
    path = wish.path
    connection.require_keys()
    record = Migration(connection.mount, connection.files, path).record()
    policy = connection.files.subtree(path).policy if record is None else None
    if wish.decrypt:
        given = connection.keys.key
        if given is None and policy is None and record is not None:
            return Way(path, Direction.DECRYPT, bytes.fromhex(record.key))
        if given is None and policy is not None:
            return Way(path, Direction.DECRYPT, policy.key)
        return Way(path, Direction.DECRYPT, connection.required_key().identifier)
    key = connection.required_key()
    require_full_size(key)
    if record is not None and record.direction is not Direction.DECRYPT:
        return Way(path, record.direction, key.identifier)
    return Way(path, Direction.ENCRYPT if policy is None else Direction.REENCRYPT, key.identifier)


def add_old_key(connection: Connection, wish: Wish) -> None:
    """The key of a source that is encrypted, if one was given, is there from now on."""
    if wish.old_key is not None:
        connection.keys.keyring.add(read_key(wish.old_key))


def _looked_over(connection: Connection, reporter: Reporter, way: Way, exclude: tuple[bytes, ...]) -> Plan:
    source = PlainTree(connection.mount) if way.direction is Direction.ENCRYPT else connection.files
    progress = Progress(reporter.progress_stream)
    try:
        return look_over(connection.mount, connection.files, source, way, progress.entry, exclude)
    finally:
        progress.close()


def _begin(
    connection: Connection, reporter: Reporter, way: Way, how: Start, exclude: tuple[bytes, ...]
) -> None:
    if how.plan is None:
        raise Failure(
            Exit.USAGE,
            "a migration begins with a plan",
            remedy="run `migrate plan`, and give its hash as --plan",
        )
    found = _looked_over(connection, reporter, way, exclude)
    if not how.piece:
        require_same(how.plan, found, even_changed=how.even_changed)
    if not found.clear:
        obstacle, path, _ = next(each for each in found.listed if each[0].blocks)
        raise Failure(
            Exit.REFUSED,
            f"{shown(path)} is in the way, and maybe more: {obstacle.meaning}",
            remedy="see all with `migrate plan`",
        )


def _expected(found: Plan) -> Iterator[str]:
    if found.expected is not None and found.estimate is not None:
        yield (
            f"  expected to take {time_text(found.expected)} with one process, and "
            f"{time_text(found.expected / WORKERS)} at best with {WORKERS}: {found.estimate.files} files "
            f"({size_text(found.estimate.size)}) were read and enciphered now, what writing takes is guessed"
        )


def _counted(found: Plan) -> Iterator[str]:
    for obstacle in Obstacle:
        count = found.obstacles[obstacle]
        if count:
            yield f"  {obstacle.word}: {count}" + (", blocks" if obstacle.blocks else "")


def _tell(connection: Connection, reporter: Reporter, path: bytes) -> None:
    tell_manager_anew(connection, reporter, path, facts_of(connection.files, path))


def _tell_problems(reporter: Reporter, copied: Copied) -> None:
    for path, message in copied.problems:
        reporter.note(f"{shown(path)}: {shown(message)}")
    copied.problems.clear()


def _told_of_what_is_left_out(reporter: Reporter, migration: Migration, record: Record) -> dict[str, object]:
    left = [shown(each) for each in migration.left_out(record)]
    for each in left:
        reporter.note(f"{each}: was excluded: it is here only, and `migrate purge` asks before it removes it")
    return {"excluded": left}


def _kept(record: Record) -> str:
    return f" until {moment(record.kept_until)}" if record.kept_until else " until somebody purges it"


def _told_of_late_writes(reporter: Reporter, path: bytes, written: list[bytes]) -> dict[str, list[str]]:
    for below in written:
        reporter.note(
            f"{shown(path + below)}: in {shown(hidden_of(path))}/old is another than was copied: a client that came in "
            f"between wrote it, or the new one was replaced since; look at both before you purge"
        )
    return {"written_in_trash": [shown(path + below) for below in written]}


def _cut_over(connection: Connection, reporter: Reporter, work: "_Work", late: Late) -> Exit:
    path = work.path
    told = _told_of_late_writes(reporter, path, late.written)
    record = work.migration.required_record()
    value = (
        _described(record)
        | _counts(work.copied)
        | _classes(late.verdict)
        | {"evicted": [str(each) for each in late.evicted]}
        | told
        | _told_of_what_is_left_out(reporter, work.migration, record)
    )
    reporter.summary(
        value,
        f"{shown(path)} is exchanged: {work.copied.files} files copied now ({size_text(work.copied.size)}); "
        f"{late.verdict.same} entries verified by other processes; nothing was at the path for "
        f"{1000 * late.gap:.1f} ms. The old tree is kept{_kept(record)}: `migrate purge` removes it, `migrate "
        f"rollback` brings it back.",
    )
    return Exit.DIFFERS if late.written else Exit.DONE


def _described(record: Record) -> dict[str, object]:
    return {
        "path": record.path,
        "direction": record.direction.value,
        "key_identifier": record.key,
        "state": record.state.value,
        "plan": record.plan,
        "passes": record.passes,
        "copied": record.copied,
        "bytes": record.size,
        "verified": record.verified,
        "gap": record.gap,
        "left_out": len(record.excluded),
        "kept_until": record.kept_until,
    }


def _counts(copied: Copied) -> dict[str, object]:
    return {
        "files": copied.files,
        "current": copied.current,
        "changed_meanwhile": copied.changed,
        "problems": copied.problem_count,
        "problems_by_class": {kind.value: count for kind, count in copied.classes.items()},
    }


def _classes(verdict: Verdict) -> dict[str, object]:
    return {
        "same": verdict.same,
        "differ": verdict.differ,
        "missing": verdict.missing,
        "extra": verdict.extra,
        "error": verdict.error,
    }


def _end_session(access: Access, session: str) -> None:
    # that of another entity the fence names, with all others that can reach the tree
    with suppress(NotAllowedError):
        reset(access, session)


@dataclass
class _Work:
    """A migration, and the line that shows how far it is."""

    connection: Connection
    reporter: Reporter
    path: bytes
    how: Start
    copied: Copied = field(default_factory=Copied)

    def __post_init__(self) -> None:
        self._progress = Progress(self.reporter.progress_stream)
        self._totals: dict[str, int] = {}
        self.migration = Migration(
            self.connection.mount,
            self.connection.files,
            self.path,
            self._step,
            self._watch,
            self._hands,
            self.how.limits.shared(self.how.workers + 1),
        )

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """The line is taken away at the end."""
        try:
            yield
        finally:
            self._progress.close()

    def expect(self) -> None:
        """All that is there, from now on: what is left is told."""
        self._totals = totals(self.connection.mount, self.path)

    def verify(self, record: Record, *, manifest: bool = False) -> Verdict:
        """By other processes; with `manifest` this one has the turn."""
        access, keys, how = self.connection.mount.cluster.access, self._keys(record), self.how
        return compared(
            access, self.path, keys, self._compared, how.report, manifest=manifest, workers=how.workers
        )

    def verify_without_key(self) -> Verdict:
        """By this process, which has none."""
        verdict = Verdict()
        with told_in(self.how.report) as told:
            return self.migration.compare_without_key(verdict, lambda: self._compared(verdict), told)

    def _hands(self, turn: Turn) -> AbstractContextManager[Hands]:
        access, how = self.connection.mount.cluster.access, self.how
        if how.scheduler is not None:
            return dask.hands(self.connection.mount, access, how.scheduler, turn, how.limits)
        # of those elsewhere whom whoever had the turn before has left at work
        Offers(self.connection.mount, self.path).clear(partial(_end_session, access))
        keys = self._keys(self.migration.required_record())
        return workers(access, keys, how.workers, turn, how.limits.shared(how.workers + 1))

    def _keys(self, record: Record) -> list[MasterKey]:
        files, keyring = self.connection.files, self.connection.keys.keyring
        sides = self.migration.sides(record)
        tops = ((sides.source, sides.top), (sides.new, sides.new_top))
        policies = [files.subtree(each).policy for tree, each in tops if tree is files]
        found = [keyring.find(policy.key) for policy in policies if policy is not None]
        return [key for key in found if key is not None]

    def _step(self, step: Step) -> None:
        self._progress.close()
        entries = self._totals.get("files", 0) + self._totals.get("directories", 0)
        self._progress = Progress(
            self.reporter.progress_stream, self._totals.get("bytes", 0), entries=entries
        )
        on_terminal = self.reporter.progress_stream is not None and self.reporter.progress_stream.isatty()
        if on_terminal or step is Step.WAITING:
            self.reporter.note(f"{shown(self.path)}: {step.value}")

    def _watch(self) -> None:
        copied = self.copied
        self._progress.reach(
            copied.files + copied.others + copied.current,
            copied.size + copied.current_size,
            copied.kinds_of_problems,
        )

    def _compared(self, verdict: Verdict) -> None:
        self._progress.reach(verdict.same, verdict.size)
