"""The kinds `release` and `hold`: whose a subtree's files are.

The engine's own steps are their journal: what a run that was killed has done is met by the next one.
"""

from collections.abc import Callable
from contextlib import closing

from ...ceph.errors import NoAttributeError
from ...ceph.interface import Mount
from ...engine import FileMode, FileSystem, Keyring, Report
from ...engine.fence import strangers
from ...messages.job import JobWish
from ...messages.subtree_job import HOLD, RELEASE, HoldOptions, ModeResult, ReleaseOptions, as_result
from ..jobs import Controls, Outcome
from .place import Reach
from .subtree_place import decoded, encoded, known_facts, opened, options_of


class Release:
    """A `Kind`: engine to kernel mode."""

    name = RELEASE
    changes = True
    lasting = False

    def __init__(self, reach: Reach) -> None:
        """`reach` connects."""
        self._reach = reach

    def accept(self, wish: JobWish) -> None:
        """See `Kind`."""
        options_of(ReleaseOptions, wish.options)

    def run(self, wish: JobWish, controls: Controls) -> Outcome:
        """See `Kind`."""
        options = options_of(ReleaseOptions, wish.options)
        path = encoded(wish.path)
        with self._reach() as place:
            mount = place.mount
            if options.dry_run:
                return _previewed(mount, path, FileMode.ENGINE, fenced=True)
            return _with_key(
                mount, path, controls, lambda files, proceed: files.release(path, proceed=proceed)
            )


class Hold:
    """A `Kind`: kernel to engine mode."""

    name = HOLD
    changes = True
    lasting = False

    def __init__(self, reach: Reach) -> None:
        """`reach` connects."""
        self._reach = reach

    def accept(self, wish: JobWish) -> None:
        """See `Kind`."""
        options_of(HoldOptions, wish.options)

    def run(self, wish: JobWish, controls: Controls) -> Outcome:
        """See `Kind`. Only new inodes need the key."""
        options = options_of(HoldOptions, wish.options)
        path = encoded(wish.path)
        with self._reach() as place:
            mount = place.mount
            if options.dry_run:
                return _previewed(mount, path, FileMode.KERNEL, fenced=not options.copy)
            if options.copy:
                return _with_key(
                    mount, path, controls, lambda files, proceed: files.hold_by_copy(path, proceed=proceed)
                )
            with FileSystem(mount, Keyring()) as files:
                known_facts(files, path)
                return _changed(
                    files, path, controls, files.hold(path, proceed=_counting(mount, path, controls))
                )


def _with_key(
    mount: Mount,
    path: bytes,
    controls: Controls,
    change: Callable[[FileSystem, Callable[[], None]], Report],
) -> Outcome:
    with FileSystem(mount, Keyring()) as locked:
        identifier = bytes.fromhex(known_facts(locked, path).policy.key_identifier)
    with controls.key(identifier) as key, opened(mount, key) as files:
        report = change(files, _counting(mount, path, controls))
        return _changed(files, path, controls, report)


def _counting(mount: Mount, path: bytes, controls: Controls) -> Callable[[], None]:
    """What the engine calls before each file: asks whether to go on, and tells how far it is.

    Each file is looked at twice: it is changed, and then seen by a fresh mount.
    """
    total = 2 * _files_below(mount, path)
    done = 0

    def proceed() -> None:
        nonlocal done
        controls.progress(done, max(total, done), "looks at files")
        done += 1

    controls.check()
    return proceed


def _files_below(mount: Mount, path: bytes) -> int:
    """As the MDSs count, which may be late."""
    try:
        return int(mount.getxattr(path, "ceph.dir.rfiles") or 0)
    except NoAttributeError:
        return 0


def _changed(files: FileSystem, path: bytes, controls: Controls, report: Report) -> Outcome:
    for problem in report.problems:
        controls.note(problem.kind, problem.stored)
    seen = report.changed + report.unchanged + report.problem_count
    controls.progress(seen, seen, "files")
    result = ModeResult(
        changed=report.changed,
        unchanged=report.unchanged,
        problems=report.problem_count,
        bytes=0,
        snapshots=tuple(map(decoded, report.snapshots)),
        clients=(),
        facts=known_facts(files, path),
    )
    return Outcome(as_result(result), code=0 if report.complete else 1)


def _previewed(mount: Mount, path: bytes, from_: FileMode, *, fenced: bool) -> Outcome:
    with FileSystem(mount, Keyring()) as files:
        facts = known_facts(files, path)
        with closing(files.mode_changes(path, from_)) as changes:
            sizes = [each.size for each in changes]
    result = ModeResult(
        changed=len(sizes),
        unchanged=0,
        problems=0,
        bytes=sum(sizes),
        snapshots=(),
        clients=tuple(map(str, strangers(mount, path))) if fenced else (),
        facts=facts,
    )
    return Outcome(as_result(result))
