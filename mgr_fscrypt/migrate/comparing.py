"""Whether the new tree is the source: every file is read anew on both sides, and every attribute looked at.

Nothing is taken from the copier's memory; whoever wants a proof lets other processes compare, with mounts of their own.
One process walks both trees, and hands out what it meets in shards, in the order of the directories (`judging`); what
comes of them it tells in the same order, whoever was through first.
"""

import errno
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future, wait
from contextlib import closing
from itertools import chain

from ..ceph.interface import Kind
from ..engine import BusyError, DirEntry
from .belonging import Belonging
from .files import BATCH, BATCH_BYTES
from .judging import Findings, Judge, JudgeHere, Judges, Question, Questions
from .manifest import Manifest
from .marks import Mark, mark_of
from .trees import Met, Sides, Tree, existing, not_of_one_file, walk
from .verdict import Verdict

_LISTED = 100
_LOOK = 0.25
"""Seconds between two looks at whether this process may go on, while it waits for others."""


def compare(
    sides: Sides,
    verdict: Verdict,
    go_on: Callable[[], None] = lambda: None,
    told: Callable[[str, bytes, str], None] = lambda *_: None,
    manifest: Manifest | None = None,
    judges: Judges | None = None,
) -> Verdict:
    """Compare all of both. `verdict` counts also while it runs; `go_on` is called before each entry, and `told` with
    each that was compared: class, path below the top, and how they differ. The new tree goes into the `manifest`, if
    there is to be one and both are the same. The `judges` compare, and by default this process; a tree that is no more
    than one shard it compares by itself, since others would take longer to come.

    Raises:
        CephError: what concerns more than one file.
        LockedError: the key of a side is not here.
        RefusedError: a side that was to be encrypted is not.
        BusyError: EIO: one of the judges died.
    """
    compared = _Compared(sides, verdict, go_on, told, manifest, judges)
    compared.look_at_source()
    compared.look_at_copy()
    if manifest is not None and verdict.equal:
        verdict.manifest = manifest.digest()
    return verdict


class _Compared:
    """Both trees, shard by shard."""

    def __init__(
        self,
        sides: Sides,
        verdict: Verdict,
        go_on: Callable[[], None],
        told: Callable[[str, bytes, str], None],
        manifest: Manifest | None,
        judges: Judges | None,
    ) -> None:
        self._old = Belonging(sides.source, sides.top, sides.excluded)
        self._copy = Belonging(sides.new, sides.new_top)
        self._sides = sides
        self._verdict = verdict
        self._go_on = go_on
        self._told = told
        self._manifest = manifest
        describe = (lambda _: b"") if manifest is None else manifest.line
        self._here = JudgeHere(Judge(sides, describe, go_on))
        self._judges = judges

    def look_at_source(self) -> None:
        """Each entry of the source, and its copy."""
        with closing(self._old.walk()) as all_below:
            self._judge(Questions(each) for each in _sharded(self._of_source(all_below)))

    def look_at_copy(self) -> None:
        """What only the copy has; all else is added to the manifest, for as long as both are the same: nobody wants
        one of a tree that is not."""
        with closing(self._copy.walk()) as all_below:
            self._judge(
                Questions(each, of_copy=True, described=self._manifest is not None and self._verdict.equal)
                for each in _sharded(self._of_copy(all_below))
            )

    def _of_source(self, all_below: Iterator[Met]) -> Iterator[tuple[Question, int]]:
        """What is to be asked, each with the bytes that are to be read for it."""
        for met in all_below:
            self._go_on()
            if met.error is not None:
                yield _unlisted(met, met.error), 0
            elif not met.leaving:
                size = 0 if self._judges is None else self._size_in_source(met)
                yield Question(met.below, met.entry), size

    def _of_copy(self, all_below: Iterator[Met]) -> Iterator[tuple[Question, int]]:
        stored: list[bytes] = []
        for met in all_below:
            self._go_on()
            if met.error is not None:
                yield _unlisted(met, met.error), 0
            if met.leaving:
                stored.pop()
                continue
            below = b"" if met.entry is None else stored[-1] + b"/" + met.entry.stored
            if met.is_directory:
                stored.append(below)
            size = 0
            if self._manifest is not None and self._judges is not None and _is_file(met.entry):
                size = self._manifest.size_of(below)
            yield Question(met.below, stored=below), size

    def _size_in_source(self, met: Met) -> int:
        """0 where nobody can tell: who compares it says why."""
        if not _is_file(met.entry):
            return 0
        try:
            return self._sides.source.stat(self._sides.top + met.below).size
        except OSError as error:
            if not_of_one_file(error):
                raise
            return 0

    def _judge(self, shards: Iterator[Questions]) -> None:
        begin = [each for _, each in zip(range(2), shards, strict=False)]
        judges = self._here if self._judges is None or len(begin) == 1 else self._judges
        under_way: deque[Future[Findings]] = deque()
        try:
            for each in chain(begin, shards):
                under_way.append(judges.submit(each))
                self._take_in(under_way, at_most=judges.width)
            self._take_in(under_way, at_most=0)
        except BrokenExecutor as error:
            raise BusyError(
                errno.EIO,
                "a process that compares died before it was through",
                self._sides.top,
                remedy="See why (`dmesg` names those that had no memory), or ask for fewer with --workers, and run the "
                "same again.",
            ) from error

    def _take_in(self, under_way: deque[Future[Findings]], at_most: int) -> None:
        """Until no more than so many are under way, in the order of the walk."""
        while len(under_way) > at_most:
            while not wait([under_way[0]], _LOOK).done:
                self._go_on()
            found = under_way.popleft().result()
            self._verdict.size += found.size
            for kind, below, how in found.told:
                self._verdict.add(kind, below, how)
                self._told(kind, below or b"/", how)
            if self._manifest is not None and self._verdict.equal:
                self._manifest.add(found.lines)


def _sharded(asked: Iterator[tuple[Question, int]]) -> Iterator[tuple[Question, ...]]:
    entries: list[Question] = []
    waiting = 0
    for each, size in asked:
        entries.append(each)
        waiting += size
        if len(entries) >= BATCH or waiting >= BATCH_BYTES:
            yield tuple(entries)
            entries, waiting = [], 0
    if entries:
        yield tuple(entries)


def _unlisted(met: Met, error: OSError) -> Question:
    return Question(met.below, error=error.strerror or str(error))


def _is_file(entry: DirEntry | None) -> bool:
    return entry is not None and entry.kind is Kind.FILE


def written_since(sides: Sides) -> list[bytes]:
    """What a source that was replaced has now and the new tree has not as its copy; the first hundred, as paths below
    the top. Somebody wrote it after it was copied, or users of the new tree have replaced or removed the copy since:
    from here both look the same."""
    found: list[bytes] = []
    with closing(walk(sides.source, sides.top, sides.excluded)) as all_below:
        for met in all_below:
            if len(found) == _LISTED:
                break
            if met.entry is None or met.leaving:
                continue
            try:
                is_copied = _is_copied(
                    sides.source, sides.new, sides.top + met.below, sides.new_top + met.below
                )
            except OSError as error:
                if not_of_one_file(error):
                    raise
                is_copied = False
            if not is_copied:
                found.append(met.below)
    return found


def _is_copied(source: Tree, new: Tree, path: bytes, new_path: bytes) -> bool:
    now = existing(source, path)
    if now is None:
        return True
    there = new.stat(new_path)
    if there.kind_bits != now.kind_bits:
        return False
    match now.kind:
        case Kind.FILE:
            return mark_of(new, new_path) == Mark(now.ino, now.version or 0)
        case Kind.SYMLINK:
            return new.readlink(new_path) == source.readlink(path)
        case _:
            return True
