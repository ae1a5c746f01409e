"""Jobs that migrate a directory: what is asked for beside its path, and what comes of it.

Options and results are these dataclasses as JSON objects. What lies in the tree is named by its inode alone: they are
kept in RADOS, where names of what is encrypted, or will be, are not to be found.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .job import Option
from .strict import KEY_IDENTIFIER, KEY_IDENTIFIER_IS, expect
from .subtree import SubtreeFacts

PLAN, MIGRATE, COMPARE = "migrate-plan", "migrate", "migrate-verify"
ROLLBACK, PURGE, CANCEL, LOOK = "migrate-rollback", "migrate-purge", "migrate-cancel", "migrate-look"
"""The kinds of these jobs."""
KINDS = (PLAN, MIGRATE, COMPARE, ROLLBACK, PURGE, CANCEL, LOOK)
ENCRYPT, REENCRYPT, DECRYPT = "encrypt", "re-encrypt", "decrypt"
"""Directions of a migration."""
COPYING, CUT_OVER, PURGING = "copying", "done", "purging"
"""States of a migration that say which tree is in place: the old one; the new one, with the old one in the trash; the
same, while the trash is going."""
CLOSED = "outside of its window"
"""What a migration is at, as its unit says, while it may not copy."""
_INODES = re.compile(r"([1-9][0-9]{0,19}(,[1-9][0-9]{0,19})*)?")
MOST_WORKERS = 64
WORKERS = 2
"""Processes that copy, and that compare, by default: the service's host has other work."""


@dataclass(frozen=True)
class PlanOptions:
    """Look what a migration would do.

    Args:
        key: identifier of the key of the new tree; empty with `decrypt`.
        decrypt: from encrypted to plain.
        exclude: what is left out: the numbers of inodes, with commas; empty: nothing.
    """

    key: str
    decrypt: bool
    exclude: str = ""

    def __post_init__(self) -> None:
        _expect_key(self.key, decrypt=self.decrypt)
        _expect_inodes(self.exclude, "exclude")


@dataclass(frozen=True)
class StartOptions:
    """Migrate, or go on with it.

    Args:
        key, decrypt: as `PlanOptions` has them.
        plan: the plan's hash; empty: only go on with what was begun.
        even_changed: though the tree has changed since it was planned.
        namespace: the RADOS namespace of the new tree's files; empty: that of the source.
        offline: nobody uses the tree, which is checked before anything is copied.
        evict: cut off the clients that can reach the tree.
        copy_only: stop before the cut-over.
        workers: processes that copy, and that compare.
        files_per_second, bytes_per_second: at most, of all of them; 0: as fast as it goes.
        latency_ms: milliseconds: while opening a file takes longer, pauses are made; 0: none are.
        window: in which it copies, as `22:00-06:00` by the clock of the service's host; empty: at any time.
        keep_trash: seconds that the old tree is kept from the cut-over on; 0: until somebody purges it; less: as it was
            said before.
        exclude, include: what is left out from now on, and what is not any more: as `PlanOptions` has them.
    """

    key: str
    decrypt: bool
    plan: str
    even_changed: bool
    namespace: str
    offline: bool
    evict: bool
    copy_only: bool
    workers: int
    files_per_second: float
    bytes_per_second: float
    latency_ms: int
    window: str
    keep_trash: int
    exclude: str = ""
    include: str = ""

    def __post_init__(self) -> None:
        _expect_key(self.key, decrypt=self.decrypt)
        _expect_workers(self.workers)
        for name in ("files_per_second", "bytes_per_second", "latency_ms"):
            limit = getattr(self, name)
            expect(math.isfinite(limit) and limit >= 0, name, "a number that is not negative")
        expect(not (self.offline and self.evict), "offline and evict", "not both asked for")
        _expect_inodes(self.exclude, "exclude")
        _expect_inodes(self.include, "include")


@dataclass(frozen=True)
class CompareOptions:
    """Compare both trees.

    Args:
        workers: processes that do.
        no_key: the new tree, as it is stored, with what it was when it was verified: by one process.
    """

    workers: int = WORKERS
    no_key: bool = False

    def __post_init__(self) -> None:
        _expect_workers(self.workers)


@dataclass(frozen=True)
class RollbackOptions:
    """Bring the old tree back.

    Args:
        evict: cut off the clients that can reach the tree.
        lose_changes: without comparing both: what was written since the cut-over may be lost.
        dry_run: only say what there is.
        workers: processes that compare.
    """

    evict: bool
    lose_changes: bool
    dry_run: bool
    workers: int = WORKERS

    def __post_init__(self) -> None:
        _expect_workers(self.workers)


@dataclass(frozen=True)
class PurgeOptions:
    """Remove the old tree.

    Args:
        lose_changes: also what was written into it late.
        lose_excluded: also what was left out, and is there only.
        dry_run: only say what there is.
        due: only where the time until which it is kept is over, by what is said where it lies.
    """

    lose_changes: bool
    lose_excluded: bool
    dry_run: bool
    due: bool = False


@dataclass(frozen=True)
class CancelOptions:
    """Remove the new tree, before the cut-over; `dry_run`: only say what there is."""

    dry_run: bool


@dataclass(frozen=True)
class LookOptions:
    """Look what is left of a migration.

    Args:
        source: the inode of the old tree's top, to be looked for in snapshots.
    """

    source: int


@dataclass(frozen=True)
class FoundObstacle:
    """Something in the way of a migration.

    Args:
        obstacle: its class.
        blocks: it has to go first.
        inode: of what it is about, in the tree; 0: it is about the tree itself, or what is not there any more.
        meaning: for people.
        detail: more of it; empty where there is none.
    """

    obstacle: str
    blocks: bool
    inode: int
    meaning: str
    detail: str


@dataclass(frozen=True)
class PlanResult:
    """What a migration would do.

    Args:
        direction: `ENCRYPT`, `REENCRYPT` or `DECRYPT`.
        key: identifier of the key of the new tree, or of the source where it is decrypted.
        plan: the hash that `StartOptions` takes.
        clear: nothing blocks it.
        files, directories, links, special, names: counted; `names` are further names of files.
        bytes: of contents; `room`: that the new tree needs beside the old one.
        totals: what CephFS counts by itself, which may be some seconds late.
        expected: seconds that it may take one process, by a sample; None: nobody knows.
        obstacles: how many of each class.
        listed: some of each.
    """

    direction: str
    key: str
    plan: str
    clear: bool
    files: int
    directories: int
    links: int
    special: int
    names: int
    bytes: int
    room: int
    totals: Mapping[str, int]
    expected: float | None
    obstacles: Mapping[str, int]
    listed: tuple[FoundObstacle, ...]


@dataclass(frozen=True)
class Standing:
    """How a migration stands.

    Args:
        direction, key: as `PlanResult` has them.
        state: `COPYING`, `CUT_OVER`, `PURGING` or another word of `migrate.record.State`; empty: there is none any
            more, and the fields beside `facts` and `snapshots` tell of the one that was.
        source: the inode of the old tree's top.
        passes, copied, bytes: over the source; files, and bytes of contents.
        verified: entries that were compared before the cut-over.
        gap: seconds without anything at the path, at the cut-over.
        facts: of the subtree that is at the path; None: it is not encrypted.
        snapshots: that hold the old tree, by their paths.
        kept_until: when the old tree may go, in seconds since the epoch; 0: nobody said so.
        left_out: entries that were excluded.
    """

    direction: str
    key: str
    state: str
    source: int
    passes: int
    copied: int
    bytes: int
    verified: int
    gap: float
    facts: SubtreeFacts | None
    snapshots: tuple[str, ...]
    kept_until: int
    left_out: int


@dataclass(frozen=True)
class MigrateResult:
    """What came of a migration.

    Args:
        standing: how it stands.
        evicted: clients that were cut off.
        problems: how many entries could not be copied, with `copy_only`.
        written: how many entries the trash has otherwise than they were copied: look at them before the purge.
    """

    standing: Standing
    evicted: tuple[str, ...]
    problems: int
    written: int


@dataclass(frozen=True)
class CompareResult:
    """How many entries of both trees are the same, and how many of each other class."""

    same: int
    differ: int
    missing: int
    extra: int
    error: int


@dataclass(frozen=True)
class ActResult:
    """What came of an act upon a migration: how it stands since; of a dry run, how it stands."""

    standing: Standing


Options = (
    PlanOptions | StartOptions | CompareOptions | RollbackOptions | PurgeOptions | CancelOptions | LookOptions
)
Results = PlanResult | MigrateResult | CompareResult | ActResult


def as_options(options: Options) -> Mapping[str, Option]:
    """As a wish has them."""
    return asdict(options)


def as_result(result: Results) -> Mapping[str, Any]:
    """As an outcome has it."""
    return asdict(result)


def inodes_in(text: str) -> tuple[int, ...]:
    """The numbers of a list with commas. Raises `ValueError`."""
    return tuple(int(each) for each in text.split(",") if each)


def _expect_inodes(text: str, name: str) -> None:
    expect(_INODES.fullmatch(text) is not None, name, "numbers of inodes, with commas between them")


def _expect_workers(count: int) -> None:
    expect(1 <= count <= MOST_WORKERS, "workers", f"from 1 to {MOST_WORKERS}")


def _expect_key(key: str, *, decrypt: bool) -> None:
    if decrypt:
        expect(not key, "key", "left to the tree, with decrypt")
    else:
        expect(KEY_IDENTIFIER.fullmatch(key) is not None, "key", KEY_IDENTIFIER_IS)
