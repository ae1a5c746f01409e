"""Handing a subtree to kernel clients (`release`) and taking it back (`hold`).

Both are metadata jobs: contents stay where they are. Each file is changed in steps that leave it readable at every
point, and a job that was killed is run again. The subtree's mark changes last. Both need that no other client can
meet the subtree: stale clients put an old `ceph.fscrypt.auth` back (doc/facts.md F5b), and clients that have met one
are aborted by a later shrinking truncate (F4, F5).
"""

import errno
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field

from ..ceph.errors import NoAttributeError, NotFoundError
from ..ceph.interface import Kind, Mount, Session
from ..format import (
    AUTH_XATTR,
    BLOCK_SIZE,
    ENGINE_XATTR,
    FILE_XATTR,
    EngineRecord,
    SizeRule,
    believe_size,
    encode_file_size,
    raw_size,
)
from .directories import Directories, Directory, inconsistent
from .errors import BusyError, DamagedError, EngineError
from .fence import fence
from .inodes import (
    LEASE_TIMEOUT,
    ByPath,
    FileFacts,
    FileMode,
    finished_facts,
    optional,
    read_facts,
)
from .keyring import Keyring
from .paths import joined, named
from .snapshot_names import SNAPSHOTS
from .subtrees import MODE_XATTR
from .tails import seal, sealed
from .unlocking import key_of
from .walking import Unreadable, Visited, walk

_LISTED = 100
_PASSES = 3


Proceed = Callable[[], None]
"""Called before each file; what it raises ends the job there, which is run again."""


def go_on() -> None:
    """A `Proceed` of who does not stop."""


@dataclass(frozen=True)
class Problem:
    """Something that kept a file from its new mode: its path, as its reader sees it and as stored, and the class of
    error."""

    path: bytes
    stored: bytes
    kind: str
    message: str
    remedy: str


@dataclass
class Report:
    """What a job did. Run it again to go on where problems were.

    Attributes:
        changed: files that this run gave their new mode.
        unchanged: files that had it, and further names of files.
        evicted: clients that were cut off for it.
        problems: the first hundred of `problem_count`.
        snapshots: of the subtree's root, as stored: they keep the mode that they were taken in.
    """

    changed: int = 0
    unchanged: int = 0
    evicted: tuple[Session, ...] = ()
    problem_count: int = 0
    problems: list[Problem] = field(default_factory=list)
    snapshots: tuple[bytes, ...] = ()

    @property
    def complete(self) -> bool:
        """Has every file its new mode, as a fresh mount sees it?"""
        return self.problem_count == 0

    def add(self, visited: Visited, error: EngineError) -> None:
        """Note a problem."""
        self.problem_count += 1
        if len(self.problems) < _LISTED:
            words, kind = error.strerror or str(error), type(error).__name__
            self.problems.append(Problem(visited.plain, visited.stored, kind, words, error.remedy))


def release(
    mount: Mount,
    keyring: Keyring,
    directories: Directories,
    root: Directory,
    *,
    evict: bool,
    proceed: Proceed = go_on,
) -> Report:
    """Engine to kernel mode: files get `ceph.fscrypt.auth` and `ceph.fscrypt.file` as a kernel writes them, and lose
    our own attribute. Afterwards this mount has forgotten every inode: kernels may truncate them (F4).

    Raises:
        LockedError: the key is not here; tails are checked with it, since kernels trust them (doc/format.md D4).
        NotFencedError: other clients can reach the subtree, and `evict` is false.
    """
    root.require_key()
    report = Report(evicted=fence(mount, root.stored, root.plain, evict=evict))
    with closing(files_below(directories, root, report, proceed)) as files:
        for visited in files:
            try:
                with named(visited.plain):
                    changed = _release_file(mount, keyring, visited)
            except EngineError as error:
                report.add(visited, error)
            else:
                report.changed += changed
                report.unchanged += not changed
    mount.sync()
    with mount.fresh() as fresh:
        scan(fresh, keyring, root, FileMode.KERNEL, report, proceed)
    if report.complete:
        _unmark(mount, root)
    report.snapshots = snapshots_of(mount, root)
    mount.renew()
    return report


def hold(mount: Mount, keyring: Keyring, root: Directory, *, evict: bool, proceed: Proceed = go_on) -> Report:
    """Kernel to engine mode: files get our own attribute and lose `ceph.fscrypt.auth`. No key is needed.

    Attributes are unset by a mount that meets the files for the first time (F5), after this mount has forgotten them.

    Raises:
        NotFencedError: other clients can reach the subtree, and `evict` is false.
    """
    mount.renew()
    report = Report(evicted=fence(mount, root.stored, root.plain, evict=evict))
    for _ in range(_PASSES):
        found = Report()
        with (
            mount.fresh() as fresh,
            closing(files_below(Directories(fresh, keyring), root, found, proceed)) as files,
        ):
            for visited in files:
                try:
                    with named(visited.plain):
                        changed = _hold_file(fresh, visited)
                except EngineError as error:
                    found.add(visited, error)
                else:
                    found.changed += changed
                    found.unchanged += not changed
            fresh.sync()
        report.changed += found.changed
        report.unchanged = max(found.unchanged + found.changed - report.changed, 0)
        report.problems, report.problem_count = found.problems, found.problem_count
        with mount.fresh() as fresh:
            scan(fresh, keyring, root, FileMode.ENGINE, report, proceed)
        if report.complete:
            mark(mount, root)
            break
    report.snapshots = snapshots_of(mount, root)
    return report


def files_below(
    directories: Directories, root: Directory, report: Report, proceed: Proceed
) -> Generator[Visited]:
    """Regular files below `root`; what cannot be entered becomes a problem."""
    with closing(walk(directories, root)) as all_below:
        for found in all_below:
            if isinstance(found, Unreadable):
                report.add(found.visited, found.error)
            elif found.entry.kind is Kind.FILE:
                proceed()
                yield found


def _release_file(mount: Mount, keyring: Keyring, visited: Visited) -> bool:
    """Was it in engine mode, wholly or in part?"""
    stored, plain = visited.stored, visited.plain
    facts = read_facts(mount, stored, plain, thorough=True)
    if facts.context.policy != visited.parent.policy:
        raise inconsistent(plain)
    subject = ByPath(mount, stored)
    if facts.mode is FileMode.KERNEL:
        pair = optional(subject, ENGINE_XATTR)
        if pair is not None:
            mount.removexattr(stored, ENGINE_XATTR)
        return pair is not None
    _seal_tail(mount, keyring, visited, facts)
    mount.setxattr(stored, FILE_XATTR, encode_file_size(facts.real_size))
    mount.setxattr(stored, AUTH_XATTR, facts.context.encode_auth())
    mount.removexattr(stored, ENGINE_XATTR)
    return True


def _seal_tail(mount: Mount, keyring: Keyring, visited: Visited, facts: FileFacts) -> None:
    """Zeros past the end of the file: a kernel shows what is there when the file grows."""
    if facts.real_size % BLOCK_SIZE == 0:
        return
    key = key_of(keyring, facts.context, visited.plain)
    if not sealed(mount, key, visited.stored, facts):
        with mount.lease(facts.raw.ino) as lease:
            lease.acquire(LEASE_TIMEOUT)
            seal(mount, key, visited.stored, visited.plain)


def _hold_file(mount: Mount, visited: Visited) -> bool:
    """Was it in kernel mode, wholly or in part?"""
    stored, plain = visited.stored, visited.plain
    facts = read_facts(mount, stored, plain, thorough=True)
    if facts.context.policy != visited.parent.policy:
        raise inconsistent(plain)
    subject = ByPath(mount, stored)
    if facts.mode is FileMode.KERNEL:
        _require_whole_blocks(facts, plain)
        record = EngineRecord(facts.context, facts.real_size)
        mount.setxattr(stored, ENGINE_XATTR, record.encode())
        mount.setxattr(stored, AUTH_XATTR, b"")
    leftover = optional(subject, FILE_XATTR)
    if leftover is not None:
        mount.setxattr(stored, FILE_XATTR, b"")
    return facts.mode is FileMode.KERNEL


@dataclass(frozen=True)
class ModeChange:
    """A file that would be given the other mode: its path, as its reader sees it and as stored, and its real size."""

    plain: bytes
    stored: bytes
    size: int


def mode_changes(
    mount: Mount, directories: Directories, root: Directory, from_: FileMode
) -> Generator[ModeChange]:
    """The files below `root` that are in this mode, each inode once; whoever does not run it to its end closes it.

    Raises:
        EngineError: a file or directory cannot be looked at.
    """
    linked = set[int]()
    with closing(walk(directories, root)) as all_below:
        for found in all_below:
            if isinstance(found, Unreadable):
                raise found.error
            if found.entry.kind is not Kind.FILE:
                continue
            with named(found.plain):
                # not settled: that might take a lease, and write
                facts = finished_facts(ByPath(mount, found.stored), found.plain)
            if facts.mode is not from_ or facts.raw.ino in linked:
                continue
            if facts.raw.nlink > 1:
                linked.add(facts.raw.ino)
            yield ModeChange(found.plain, found.stored, facts.real_size)


def scan(
    mount: Mount, keyring: Keyring, root: Directory, mode: FileMode, report: Report, proceed: Proceed
) -> None:
    """Look at every file once more, and add what has not the mode."""
    if not report.complete:
        return
    with closing(files_below(Directories(mount, keyring), root, report, proceed)) as files:
        for visited in files:
            subject = ByPath(mount, visited.stored)
            try:
                with named(visited.plain):
                    facts = finished_facts(subject, visited.plain, thorough=True)
                    if facts.mode is not mode or not facts.settled:
                        raise _not_converted(visited.plain, mode)
                    if mode is FileMode.KERNEL:
                        _require_kernels(subject, facts, visited.plain)
            except EngineError as error:
                report.add(visited, error)


def _require_kernels(subject: ByPath, facts: FileFacts, plain: bytes) -> None:
    size = believe_size(facts.raw.size, optional(subject, FILE_XATTR) or b"")
    believed = size.rule in (SizeRule.BELIEVED, SizeRule.EMPTY)
    if not believed or raw_size(size.real) != facts.raw.size or optional(subject, ENGINE_XATTR) is not None:
        raise _not_converted(plain, FileMode.KERNEL)


def _require_whole_blocks(facts: FileFacts, plain: bytes) -> None:
    if raw_size(facts.real_size) != facts.raw.size:
        raise DamagedError(
            errno.EUCLEAN,
            f"its raw size {facts.raw.size} is not whole blocks: something that does not know encryption wrote it",
            plain,
            remedy="Copy out what can be read, and restore the rest.",
        )


def _not_converted(plain: bytes, mode: FileMode) -> BusyError:
    return BusyError(
        errno.EBUSY,
        f"a fresh mount does not see it in {mode.value} mode",
        plain,
        remedy="Another client has changed it meanwhile: run the same again.",
    )


def mark(mount: Mount, root: Directory) -> None:
    """New files in the subtree are in engine mode from now on."""
    mount.setxattr(root.stored, MODE_XATTR, FileMode.ENGINE.value.encode())
    mount.sync()


def _unmark(mount: Mount, root: Directory) -> None:
    try:
        mount.removexattr(root.stored, MODE_XATTR)
    except NoAttributeError:
        return
    mount.sync()


def snapshots_of(mount: Mount, root: Directory) -> tuple[bytes, ...]:
    """The names of a directory's snapshots, as stored."""
    try:
        with closing(mount.scandir(joined(root.stored, SNAPSHOTS))) as entries:
            return tuple(entry.name for entry in entries)
    except NotFoundError:
        return ()
