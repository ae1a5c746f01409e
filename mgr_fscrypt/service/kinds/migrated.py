"""The kinds about a migration that was begun: compared, rolled back, purged, cancelled, looked at."""

import errno
import time
from collections.abc import Callable

from ...ceph.interface import Mount
from ...engine import BusyError, FileSystem, Keyring, RefusedError
from ...format import MasterKey
from ...messages.job import JobWish
from ...messages.migration_job import (
    CANCEL,
    COMPARE,
    LOOK,
    PURGE,
    ROLLBACK,
    ActResult,
    CancelOptions,
    CompareOptions,
    CompareResult,
    LookOptions,
    PurgeOptions,
    RollbackOptions,
    Standing,
    as_result,
)
from ...migrate import Migration, Record, State, Verdict
from ..jobs import Controls, JobFailedError, Outcome
from .crew import Crew
from .migrating import comparing, without_name
from .migration_place import end_predecessors, gone, inode_text, standing, stored_inode_text, unlocked
from .place import Reach
from .subtree_place import encoded, options_of

_BEGUN = "begun "
"""The cursor of an act that has begun; behind it the inode of the old tree's top."""


class Compare:
    """A `Kind`: both trees are read anew, whichever of them is in place."""

    name = COMPARE
    changes = False
    lasting = False

    def __init__(self, reach: Reach, crew: Crew) -> None:
        """`reach` connects, the `crew` compares."""
        self._reach = reach
        self._crew = crew

    def accept(self, wish: JobWish) -> None:
        """See `Kind`."""
        options_of(CompareOptions, wish.options)

    def run(self, wish: JobWish, controls: Controls) -> Outcome:
        """See `Kind`."""
        options, path = options_of(CompareOptions, wish.options), encoded(wish.path)
        with self._reach() as place:
            verdict = (
                self._compared_without_key(place.mount, path, controls)
                if options.no_key
                else self._compared(place.mount, path, controls, options.workers)
            )
        found = CompareResult(verdict.same, verdict.differ, verdict.missing, verdict.extra, verdict.error)
        return Outcome(as_result(found), code=0 if verdict.equal else 1)

    def _compared(self, mount: Mount, path: bytes, controls: Controls, workers: int) -> Verdict:
        with unlocked(mount, path, controls) as (files, keys):
            migration = Migration(mount, files, path)
            record = migration.required_record()
            verdict = self._crew.compare(path, keys, workers, comparing(controls, _expected(record)))
            _note(controls, migration, record, verdict)
        return verdict

    def _compared_without_key(self, mount: Mount, path: bytes, controls: Controls) -> Verdict:
        with FileSystem(mount, Keyring()) as files:
            migration, verdict = Migration(mount, files, path), Verdict()
            record = migration.required_record()
            told = comparing(controls, _expected(record))
            migration.compare_without_key(verdict, lambda: told(verdict))
            top = migration.sides(record).new_top
        for kind, below, _ in verdict.listed:
            controls.note(kind, stored_inode_text(mount, top + below))
        return verdict


class Rollback:
    """A `Kind`: the old tree takes its place again."""

    name = ROLLBACK
    changes = True
    lasting = False

    def __init__(self, reach: Reach, crew: Crew) -> None:
        """`reach` connects, the `crew` compares."""
        self._reach = reach
        self._crew = crew

    def accept(self, wish: JobWish) -> None:
        """See `Kind`."""
        options_of(RollbackOptions, wish.options)

    def run(self, wish: JobWish, controls: Controls) -> Outcome:
        """See `Kind`."""
        options, path = options_of(RollbackOptions, wish.options), encoded(wish.path)
        with self._reach() as place:
            if options.dry_run:
                return _as_it_stands(place.mount, path)
            controls.check()
            if options.lose_changes:
                with FileSystem(place.mount, Keyring()) as files:
                    self._roll_back(files, place.mount, path, options, controls, [])
            else:
                with unlocked(place.mount, path, controls) as (files, keys):
                    self._roll_back(files, place.mount, path, options, controls, keys)
            with FileSystem(place.mount, Keyring()) as files:
                record = Migration(place.mount, files, path).required_record()
            return _done(standing(place.mount, path, record))

    def _roll_back(
        self,
        files: FileSystem,
        mount: Mount,
        path: bytes,
        options: RollbackOptions,
        controls: Controls,
        keys: list[MasterKey],
    ) -> None:
        migration = Migration(mount, files, path, watched=controls.check)
        if controls.cursor and migration.required_record().state is State.COPYING:
            # an earlier run ended right after its last step
            return

        def verify(record: Record) -> Verdict:
            verdict = self._crew.compare(
                path, keys, options.workers, comparing(controls, record.verified or 1)
            )
            _note(controls, migration, record, verdict)
            return verdict

        end_predecessors(mount, path)
        controls.save(_BEGUN)
        try:
            migration.rollback(evict=options.evict, verify=None if options.lose_changes else verify)
        except BusyError as error:
            raise JobFailedError(without_name(error), remedy=error.remedy) from error


class Purge:
    """A `Kind`: the old tree goes, for good."""

    name = PURGE
    changes = True
    lasting = False

    def __init__(self, reach: Reach) -> None:
        """`reach` connects."""
        self._reach = reach

    def accept(self, wish: JobWish) -> None:
        """See `Kind`."""
        options_of(PurgeOptions, wish.options)

    def run(self, wish: JobWish, controls: Controls) -> Outcome:
        """See `Kind`."""
        options, path = options_of(PurgeOptions, wish.options), encoded(wish.path)
        with self._reach() as place, FileSystem(place.mount, Keyring()) as files:
            migration = Migration(place.mount, files, path, watched=_counting(controls))
            return _ended(
                place.mount,
                migration,
                controls,
                lambda: _purge(migration, options),
                dry_run=options.dry_run,
                due=options.due,
            )


class Cancel:
    """A `Kind`: the new tree goes, before the cut-over."""

    name = CANCEL
    changes = True
    lasting = False

    def __init__(self, reach: Reach) -> None:
        """`reach` connects."""
        self._reach = reach

    def accept(self, wish: JobWish) -> None:
        """See `Kind`."""
        options_of(CancelOptions, wish.options)

    def run(self, wish: JobWish, controls: Controls) -> Outcome:
        """See `Kind`."""
        options, path = options_of(CancelOptions, wish.options), encoded(wish.path)
        with self._reach() as place, FileSystem(place.mount, Keyring()) as files:
            migration = Migration(place.mount, files, path, watched=_counting(controls))
            return _ended(place.mount, migration, controls, migration.cancel, dry_run=options.dry_run)


class Look:
    """A `Kind`: what is left of a migration. It changes nothing, and needs no key."""

    name = LOOK
    changes = False
    lasting = False

    def __init__(self, reach: Reach) -> None:
        """`reach` connects."""
        self._reach = reach

    def accept(self, wish: JobWish) -> None:
        """See `Kind`."""
        options_of(LookOptions, wish.options)

    def run(self, wish: JobWish, controls: Controls) -> Outcome:
        """See `Kind`."""
        options, path = options_of(LookOptions, wish.options), encoded(wish.path)
        controls.check()
        with self._reach() as place, FileSystem(place.mount, Keyring()) as files:
            record = Migration(place.mount, files, path).record()
            if record is None:
                return _done(gone(place.mount, path, options.source))
            return _done(standing(place.mount, path, record))


def _expected(record: Record) -> int:
    """Entries that are to be compared, so far as one knows."""
    return record.verified or record.copied or 1


def _note(controls: Controls, migration: Migration, record: Record, verdict: Verdict) -> None:
    sides = migration.sides(record)
    for kind, below, _ in verdict.listed:
        controls.note(kind, inode_text(sides, below))


def _counting(controls: Controls) -> Callable[[], None]:
    """What is called before each entry that is looked at or removed."""
    done = 0

    def watch() -> None:
        nonlocal done
        controls.progress(done, None, "entries")
        done += 1

    return watch


def _as_it_stands(mount: Mount, path: bytes) -> Outcome:
    with FileSystem(mount, Keyring()) as files:
        return _done(standing(mount, path, Migration(mount, files, path).required_record()))


def _purge(migration: Migration, options: PurgeOptions) -> None:
    try:
        migration.purge(
            lose_changes=options.lose_changes, lose_excluded=options.lose_excluded, only_due=options.due
        )
    except BusyError as error:
        raise JobFailedError(without_name(error), remedy=error.remedy) from error
    except RefusedError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        # its own words name a directory of the tree
        raise JobFailedError(
            "a directory of the old tree has snapshots of its own, which hold what was there before",
            remedy="remove them (`rmdir DIRECTORY/.snap/NAME` in the trash), then resume the job",
        ) from error


def _ended(
    mount: Mount,
    migration: Migration,
    controls: Controls,
    act: Callable[[], None],
    *,
    dry_run: bool,
    due: bool = False,
) -> Outcome:
    """An act that leaves nothing of a migration behind; one that is to be `due` waits for another job where it is
    not."""
    if migration.record() is None and controls.cursor:
        # an earlier run ended right after its last step
        return _done(gone(mount, migration.path, int(controls.cursor.removeprefix(_BEGUN))))
    record = migration.required_record()
    if dry_run or (due and not record.due(time.time())):
        return _done(standing(mount, migration.path, record))
    controls.save(f"{_BEGUN}{record.source}")
    act()
    return _done(standing(mount, migration.path, record, over=True))


def _done(found: Standing) -> Outcome:
    return Outcome(as_result(ActResult(found)))
