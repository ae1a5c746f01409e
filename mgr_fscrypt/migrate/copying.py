"""One pass over the source: what differs from it in the new tree is made anew, and nothing else is touched.

A file is copied if its copy has not the mark of the source as it is now (`marks`). Copies are finished many at a time:
contents, then one sync, then names and attributes, one sync more, and last the mark of each whose source has not
changed since it was looked at. One that changed meanwhile stays without a mark, for the next pass. Directories get
their attributes when all that lies in them is there.

A file of several names is copied once, under the number of its inode in a directory beside the new tree (its *anchor*),
and every name of the copy is a link to that.
"""

import errno
import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from stat import S_IFREG

from ..ceph.errors import NotFoundError
from ..ceph.interface import Kind
from ..engine import Attributes, RefusedError
from ..engine.blocks import pieces
from ..engine.paths import joined
from ..format import BLOCK_SIZE
from .belonging import Belonging
from .marks import MARK, Mark, mark_of
from .traits import give, traits_of
from .trees import NEW_FILE, Met, Tree, existing, not_of_one_file, remove_all

_BATCH = 128
_BATCH_BYTES = 64 << 20
_LISTED = 100
_MADE = 0o700
"""The mode of a directory until it has all its attributes."""


@dataclass
class Copied:
    """What one pass did.

    Attributes:
        files, size: contents, in bytes, that were copied and have their mark.
        others: directories, links, further names and special files that were made or corrected.
        removed: what lay in the new tree, and not in the source any more.
        current: names of files that had their mark already, in the last pass.
        changed: sources that changed while they were copied: for the next pass.
        problems: the first hundred of `problem_count`: paths in the source, and what kept them from being copied.
    """

    files: int = 0
    size: int = 0
    others: int = 0
    removed: int = 0
    current: int = 0
    changed: int = 0
    problem_count: int = 0
    problems: list[tuple[bytes, str]] = field(default_factory=list)

    @property
    def work(self) -> int:
        """How much there was to do."""
        return self.files + self.others + self.removed + self.changed

    def add_problem(self, path: bytes, error: OSError) -> None:
        """Note one; it does not keep others from being copied."""
        self.problem_count += 1
        if len(self.problems) < _LISTED:
            self.problems.append((path, error.strerror or str(error)))


@dataclass
class _Item:
    """Something that waits for the end of its batch: a copied file, or a directory that is complete but for its own
    attributes."""

    source: bytes
    new: bytes
    before: Attributes
    names: list[bytes] = field(default_factory=list)
    """Where the copy, which is an anchor, is to be linked to."""


class Pass:
    """One pass, for one use.

    Args:
        anchors: the directory for anchors, beside `new_top`.
        go_on: called before each entry and each piece of a file; what it raises ends the pass.
        copied: counts, also while the pass runs.
    """

    def __init__(
        self,
        source: Tree,
        new: Tree,
        top: bytes,
        new_top: bytes,
        anchors: bytes,
        go_on: Callable[[], None],
        copied: Copied,
    ) -> None:
        self._source = source
        self._new = new
        self._top = top
        self._new_top = new_top
        self._anchors = anchors
        self._go_on = go_on
        self._copied = copied
        self._belonging = Belonging(source, top)
        self._waiting: list[_Item] = []
        self._linked: dict[int, _Item] = {}
        self._bytes = 0
        self._names = 0
        self._entered: list[bool | None] = []
        """Of each directory on the way: was it made in this pass? None: it could not be entered."""

    def run(self) -> None:
        """From top to bottom. Raises what ends it: a lost lease or session, no room, a key that is gone."""
        with closing(self._belonging.walk()) as all_below:
            for met in all_below:
                self._go_on()
                try:
                    self._meet(met)
                except NotFoundError as error:
                    # somebody removed it meanwhile, with all below: the next pass removes the copy
                    if existing(self._source, self._top + met.below) is not None:
                        self._copied.add_problem(self._top + met.below, error)
                except OSError as error:
                    if not_of_one_file(error):
                        raise
                    self._copied.add_problem(self._top + met.below, error)
                if len(self._waiting) + self._names >= _BATCH or self._bytes >= _BATCH_BYTES:
                    self._finish()
        self._finish()

    def _meet(self, met: Met) -> None:
        source, new = self._top + met.below, self._new_top + met.below
        if met.leaving:
            self._leave(met, source, new)
        elif self._entered and self._entered[-1] is None:
            if met.is_directory:
                self._entered.append(None)
        elif met.is_directory:
            self._enter(met, source, new)
        elif met.entry is not None and met.entry.kind is Kind.FILE:
            self._belonging.require_name(source, met.entry)
            self._file(source, new)
        else:
            self._belonging.require_name(source, met.entry)
            self._other(source, new)

    # directories

    def _enter(self, met: Met, source: bytes, new: bytes) -> None:
        fresh: bool | None = None
        try:
            self._belonging.require_name(source, met.entry)
            self._belonging.require(source, Kind.DIRECTORY)
            there = existing(self._new, new)
            if there is not None and there.kind is not Kind.DIRECTORY:
                self._new.unlink(new)
                there = None
            if there is None:
                self._new.mkdir(new, _MADE)
            fresh = there is None
        finally:
            # also after an error: what lies in it is met all the same, and `leaving` it
            self._entered.append(fresh)

    def _leave(self, met: Met, source: bytes, new: bytes) -> None:
        fresh = self._entered.pop()
        if fresh is None:
            return
        if met.error is not None:
            raise met.error
        before = self._source.stat(source)
        if not fresh:
            self._remove_what_is_gone(source, new)
        wrong = fresh or traits_of(self._source, source, before) != traits_of(
            self._new, new, self._new.stat(new)
        )
        # what waits to be linked may get a name in it
        if wrong or self._linked:
            self._copied.others += wrong
            self._waiting.append(_Item(source, new, before))

    def _remove_what_is_gone(self, source: bytes, new: bytes) -> None:
        with closing(self._new.scandir(new)) as entries:
            for entry in entries:
                if existing(self._source, joined(source, entry.name)) is None:
                    remove_all(self._new, joined(new, entry.name))
                    self._copied.removed += 1

    # files

    def _file(self, source: bytes, new: bytes) -> None:
        before = self._source.stat(source)
        if before.kind is not Kind.FILE:
            raise _replaced(source)
        if before.nlink > 1:
            self._linked_file(source, new, before)
        elif self._is_current(new, before):
            self._copied.current += 1
        else:
            self._copy(_Item(source, new, before))

    def _linked_file(self, source: bytes, new: bytes, before: Attributes) -> None:
        anchor = joined(self._anchors, b"%x" % before.ino)
        waiting = self._linked.get(before.ino)
        if waiting is not None:
            waiting.names.append(new)
            self._names += 1
        elif self._is_current(anchor, before):
            self._copied.current += 1
            self._link(anchor, new)
        elif self._is_current(new, before):
            # a run that ended had no more need of the anchor
            self._copied.current += 1
            remove_all(self._new, anchor)
            self._new.link(new, anchor)
        else:
            item = _Item(source, anchor, before, [new])
            self._copy(item)
            self._linked[before.ino] = item

    def _link(self, anchor: bytes, new: bytes) -> None:
        there = existing(self._new, new)
        if there is not None and there.ino == self._new.stat(anchor).ino:
            return
        remove_all(self._new, new)
        self._new.link(anchor, new)
        self._copied.others += 1

    def _is_current(self, new: bytes, before: Attributes) -> bool:
        there = existing(self._new, new)
        return there is not None and there.kind_bits == S_IFREG and mark_of(self._new, new) == _mark(before)

    def _copy(self, item: _Item) -> None:
        remove_all(self._new, item.new)
        with self._source.open(item.source, os.O_RDONLY) as old:
            self._belonging.require(item.source, Kind.FILE)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
            # the right mode from the start saves a round trip; nobody else can reach it there
            with self._new.open(item.new, flags, item.before.permissions) as new:
                size = old.size
                for start, stop in pieces(0, size):
                    self._go_on()
                    data = memoryview(old.pread(stop - start, start))
                    for begin, end in written(data):
                        new.pwrite(data[begin:end], start + begin)
                    self._bytes += len(data)
                new.truncate(size)
        self._waiting.append(item)

    # all others

    def _other(self, source: bytes, new: bytes) -> None:
        before = self._source.stat(source)
        wanted = traits_of(self._source, source, before)
        there = existing(self._new, new)
        if there is not None and traits_of(self._new, new, there) == wanted:
            return
        self._belonging.require(source, before.kind)
        remove_all(self._new, new)
        if before.kind is Kind.SYMLINK:
            self._new.symlink(wanted.target, new)
        elif before.kind is Kind.SPECIAL:
            self._new.mknod(new, before.kind_bits | NEW_FILE, before.rdev)
        else:
            raise _replaced(source)
        give(self._new, new, wanted, before.atime)
        self._copied.others += 1

    # the end of a batch

    def _finish(self) -> None:
        batch, self._waiting = self._waiting, []
        self._bytes = self._names = 0
        self._linked.clear()
        self._new.sync()
        done: list[_Item] = []
        for item in batch:
            self._go_on()
            try:
                wanted = traits_of(self._source, item.source, item.before)
                for name in item.names:
                    remove_all(self._new, name)
                    self._new.link(item.new, name)
                give(self._new, item.new, wanted, item.before.atime)
                done.append(item)
            except NotFoundError:
                self._copied.changed += 1
            except OSError as error:
                if not_of_one_file(error):
                    raise
                self._copied.add_problem(item.source, error)
        self._new.sync()
        for item in done:
            if item.before.kind is Kind.FILE:
                self._mark(item)

    def _mark(self, item: _Item) -> None:
        after = existing(self._source, item.source)
        if after is None or _mark(after) != _mark(item.before):
            self._copied.changed += 1
            return
        self._new.setxattr(item.new, MARK, _mark(after).encode())
        self._copied.files += 1
        self._copied.size += after.size


def written(data: memoryview) -> list[tuple[int, int]]:
    """The parts of a piece that are not whole blocks of zeros: those are holes in the copy."""
    zeros = bytes(BLOCK_SIZE)
    found: list[tuple[int, int]] = []
    for begin in range(0, len(data), BLOCK_SIZE):
        end = min(begin + BLOCK_SIZE, len(data))
        if data[begin:end] == zeros[: end - begin]:
            continue
        if found and found[-1][1] == begin:
            found[-1] = (found[-1][0], end)
        else:
            found.append((begin, end))
    return found


def _mark(found: Attributes) -> Mark:
    if found.version is None:
        raise ValueError("a stat by path gives the change attribute")
    return Mark(found.ino, found.version)


def _replaced(source: bytes) -> RefusedError:
    return RefusedError(
        errno.ESTALE, "it was replaced by something else meanwhile", source, remedy="Run the same again."
    )
