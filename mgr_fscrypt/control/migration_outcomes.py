"""What comes of jobs about migrations: the register follows the trees, and what is left behind is remembered.

Both are the same when they are done twice.
"""

import errno
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from ..messages.job import JobState
from ..messages.migration_job import (
    CANCEL,
    COPYING,
    CUT_OVER,
    LOOK,
    MIGRATE,
    PURGE,
    PURGING,
    ROLLBACK,
    ActResult,
    CancelOptions,
    MigrateResult,
    PurgeOptions,
    RollbackOptions,
    Standing,
)
from ..messages.service import ForgetJob
from ..messages.subtree import SubtreeFacts
from ..messages.subtree_job import read
from ..store import LeftMigration
from .jobs import JobService
from .refusal import RefusalError
from .results import Result
from .subtree_detail import SubtreeDetail
from .subtrees import Subtrees

FOLLOWED = (MIGRATE, ROLLBACK, PURGE, CANCEL, LOOK)
"""Kinds of jobs that something comes of."""


class LeftMigrations(Protocol):
    """Where it is kept; `store.LeftMigrationTable` tells what each call means."""

    def put(self, left: LeftMigration) -> None:
        """Record one."""
        ...

    def remove(self, fscid: int, path: str) -> None:
        """Drop one."""
        ...

    def at(self, fscid: int, path: str) -> LeftMigration | None:
        """Give one."""
        ...

    def all(self) -> tuple[LeftMigration, ...]:
        """Give all."""
        ...


class MigrationOutcomes:
    """Settles jobs that are done.

    Args:
        service: is told to forget what nobody asked for.
        subtrees: the register.
        left: what migrations left behind.
        answer: does work on the database, and answers in time.
        recorded: does work of a command about something, and records it in the audit.
    """

    def __init__(
        self,
        *,
        service: JobService,
        subtrees: Subtrees,
        left: LeftMigrations,
        answer: Callable[[Callable[[], Result]], Result],
        recorded: Callable[[str, Sequence[str], Callable[[], Result]], Result],
    ) -> None:
        self._service = service
        self._subtrees = subtrees
        self._left = left
        self._answer = answer
        self._recorded = recorded

    def settle(self, fs_name: str, state: JobState) -> Result:
        """Have the register as the job left things; EAGAIN: not now. Raises MessageError."""
        found = _standing(state)
        if found is None:
            return Result()
        path, kind = state.wish.path, state.wish.kind
        if kind == ROLLBACK or (kind == MIGRATE and found.state != COPYING):
            registered = self._register(fs_name, path, found.facts)
            if registered.code == errno.EAGAIN:
                return registered
        kept = self._answer(lambda: self._remember(state, found))
        if kind == LOOK and kept.success:
            # nobody asked for it
            with suppress(RefusalError):
                self._service.asked(lambda: ForgetJob(state.id))
        return kept

    def _register(self, fs_name: str, path: str, facts: SubtreeFacts | None) -> Result:
        """Another directory may be at the path by now, or one that is no subtree."""
        known = self._answer(lambda: self._subtrees.show(fs_name, path))
        if not known.success and known.code != errno.ENOENT:
            return known
        if isinstance(known.answer, SubtreeDetail) and (
            facts is None or known.answer.subtree.inode != facts.inode
        ):
            gone = self._act("subtree forget", fs_name, path, lambda: self._subtrees.forget(fs_name, path))
            if not gone.success:
                return gone
        if facts is None:
            return Result()
        report = facts.encode()
        looked = self._answer(lambda: self._subtrees.adopt(fs_name, path, report, dry_run=True))
        if looked.success and not looked.changed:
            return looked
        return self._act("subtree adopt", fs_name, path, lambda: self._subtrees.adopt(fs_name, path, report))

    def _act(self, command: str, fs_name: str, path: str, work: Callable[[], Result]) -> Result:
        return self._answer(lambda: self._recorded(command, (fs_name, path), work))

    def _remember(self, state: JobState, found: Standing) -> Result:
        """On the database's thread."""
        fscid, path = state.wish.fscid, state.wish.path
        before = self._left.at(fscid, path)
        since = int(state.ended or 0)
        if before is not None and before.source == found.source:
            since = before.since
        if found.state in (CUT_OVER, PURGING):
            direction, key = found.direction, found.key
        elif found.state == "" and found.snapshots and before is not None:
            direction, key = before.direction, before.key_identifier
        else:
            if before is not None:
                self._left.remove(fscid, path)
            return Result()
        left = LeftMigration(
            fscid,
            path,
            direction,
            key,
            found.source,
            found.state != "",
            found.snapshots,
            since,
            found.kept_until,
        )
        if left != before:
            self._left.put(left)
        return Result()


def _standing(state: JobState) -> Standing | None:
    """What a job tells that changed something, or looked; None: it tells nothing. Raises MessageError."""
    options, outcome = state.wish.options, state.outcome()
    match state.wish.kind:
        case "migrate":
            return read(MigrateResult, outcome, "result").standing
        case "migrate-rollback":
            dry_run = read(RollbackOptions, options, "options").dry_run
        case "migrate-purge":
            dry_run = read(PurgeOptions, options, "options").dry_run
        case "migrate-cancel":
            dry_run = read(CancelOptions, options, "options").dry_run
        case _:
            dry_run = False
    return None if dry_run else read(ActResult, outcome, "result").standing
