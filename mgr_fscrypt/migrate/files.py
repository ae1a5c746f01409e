"""Single files, links and special files of one process's part of a pass: brought over, and finished many at a time.

A file is copied if its copy has not the mark of the source as it is now (`marks`). Copies are finished in batches:
contents, then one sync, then names and attributes, one sync more, and last the mark of each whose source has not
changed since it was looked at. One that changed meanwhile stays without a mark, for the next pass.

A file of several names is copied once, under the number of its inode in a directory beside the new tree (its *anchor*),
and every name of the copy is a link to that.
"""

import errno
import os
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from stat import S_IFREG, S_ISGID, S_ISUID, S_ISVTX

from ..ceph.errors import NotFoundError
from ..ceph.interface import Kind
from ..engine import Attributes, RefusedError
from ..engine.acls import DEFAULT_ACL
from ..engine.blocks import pieces
from ..engine.paths import joined
from ..format import BLOCK_SIZE
from .belonging import Belonging
from .layouts import layout_for_copy, own_layout
from .marks import MARK, Mark, mark_of
from .pace import Asked, Limits, Pace
from .problems import Problem, problem_of
from .traits import Traits, give, traits_of
from .trees import NEW_FILE, PlainTree, Sides, attribute, existing, not_of_one_file, remove_all

BATCH = 128
BATCH_BYTES = 64 << 20
_LISTED = 100
_MADE = 0o700
"""The mode of a directory until it has all its attributes."""
_SPECIAL = S_ISUID | S_ISGID | S_ISVTX
"""Bits of a mode that a new owner, or a write, takes away."""


@dataclass
class Copied:
    """What one pass did.

    Attributes:
        files, size: contents, in bytes, that were copied and have their mark.
        others: directories, links, further names and special files that were made or corrected.
        removed: what lay in the new tree, and not in the source any more.
        current, current_size: names of files that had their mark already, in the last pass, and their bytes.
        changed: sources that changed while they were copied: for the next pass.
        redone: shards that were done again after a death: what was copied before it counts as current then.
        problems: the first hundred of `problem_count`: paths in the source, and what kept them from being copied;
            `classes`: how many of each class there are.
    """

    files: int = 0
    size: int = 0
    others: int = 0
    removed: int = 0
    current: int = 0
    current_size: int = 0
    changed: int = 0
    redone: int = 0
    problem_count: int = 0
    problems: list[tuple[bytes, str]] = field(default_factory=list)
    classes: Counter[Problem] = field(default_factory=Counter)

    @property
    def work(self) -> int:
        """How much there was to do."""
        return self.files + self.others + self.removed + self.changed

    def add(self, other: "Copied") -> None:
        """What another process did for this pass."""
        self.files += other.files
        self.size += other.size
        self.others += other.others
        self.removed += other.removed
        self.current += other.current
        self.current_size += other.current_size
        self.changed += other.changed
        self.problem_count += other.problem_count
        self.classes += other.classes
        self.problems += other.problems[: _LISTED - len(self.problems)]

    def add_current(self, source: Attributes) -> None:
        """A file that has its mark."""
        self.current += 1
        self.current_size += source.size

    @property
    def kinds_of_problems(self) -> str:
        """For people: how many of each class."""
        return ", ".join(f"{count} {kind.value}" for kind, count in self.classes.most_common())

    def begin_pass(self) -> None:
        """What is told of the last pass only is forgotten."""
        self.problem_count, self.problems = 0, []
        self.current = self.current_size = 0
        self.classes.clear()

    def add_problem(self, path: bytes, error: OSError) -> None:
        """Note one; it does not keep others from being copied."""
        self.problem_count += 1
        self.classes[problem_of(error)] += 1
        if len(self.problems) < _LISTED:
            self.problems.append((path, error.strerror or str(error)))


@dataclass
class _Item:
    """Something that waits for the end of its batch: a copied file, or a directory that is complete but for its own
    attributes."""

    source: bytes
    new: bytes
    before: Attributes
    fresh: bool = True
    """Was it made by this pass?"""
    names: list[bytes] = field(default_factory=list)
    """Where the copy, which is an anchor, is to be linked to."""


class Copier:
    """What one process copies, for one use.

    Args:
        belonging: of the source.
        go_on: called before each piece of a file and each end of one, before each entry that is removed with a
            directory, and in pauses; what it raises ends the work.
        copied: counts, also while it runs.
        limits: how fast.
    """

    def __init__(
        self,
        sides: Sides,
        belonging: Belonging,
        go_on: Callable[[], None],
        copied: Copied,
        limits: Limits,
    ) -> None:
        self._pace = Pace(limits, go_on)
        self._source = sides.source
        self._new = sides.new
        self._sides = sides
        self._encrypts = not isinstance(sides.new, PlainTree)
        self._go_on = go_on
        self._copied = copied
        self._belonging = belonging
        self._waiting: list[_Item] = []
        self._linked: dict[int, _Item] = {}
        self._passing_on: dict[bytes, bool] = {}
        self._bytes = 0
        self._names = 0

    @property
    def full(self) -> bool:
        """Is it time to `finish`?"""
        return len(self._waiting) + self._names >= BATCH or self._bytes >= BATCH_BYTES

    def attempt(self, below: bytes, act: Callable[[], object]) -> bool:
        """Note what keeps one entry from being copied, so that the others are; was it done? Raises what concerns all of
        them."""
        path = self._sides.top + below
        try:
            act()
        except NotFoundError as error:
            # somebody removed it meanwhile, with all below: the next pass removes the copy
            if existing(self._source, path) is not None:
                self._copied.add_problem(path, error)
        except OSError as error:
            if not_of_one_file(error):
                raise
            self._copied.add_problem(path, error)
        else:
            return True
        return False

    def wait_for_window(self) -> None:
        """Returns when it may be copied."""
        self._pace.wait_for_window()

    def bring(self, below: bytes, kind: Kind, *, fresh: bool) -> None:
        """An entry that a listing told of, by its path below the top; a directory with nothing in it. `fresh`: nothing
        is known to be in its place, since the directory above was made by this pass."""
        source, new = self._sides.top + below, self._sides.new_top + below
        if kind is Kind.DIRECTORY:
            self.make_directory(below, None if fresh else existing(self._new, new))
        elif kind is Kind.FILE:
            self._file(source, new, fresh=fresh)
        else:
            self._other(source, new, fresh=fresh)

    def complete(self, below: bytes, before: Attributes, *, fresh: bool) -> None:
        """A directory in which all is there: it gets its attributes with the batch."""
        self._waiting.append(_Item(self._sides.top + below, self._sides.new_top + below, before, fresh))

    # directories

    def make_directory(self, below: bytes, there: Attributes | None) -> bool:
        """With the layout of the source's, if it is not what is `there`. Was it made?"""
        source, new = self._sides.top + below, self._sides.new_top + below
        if there is not None and there.kind is not Kind.DIRECTORY:
            self._new.unlink(new)
            there = None
        layout = layout_for_copy(self._source, source, self._sides.namespace, encrypts=self._encrypts)
        if there is not None and layout and self._missed(layout, new):
            self._new.rmdir(new)
            there = None
        if there is not None:
            return False
        self._new.mkdir(new, _MADE, attributes=layout)
        self._copied.others += 1
        return True

    def _missed(self, layout: list[tuple[str, bytes]], new: bytes) -> bool:
        """Whoever made it died before it had all of its layout, or the source got that later. With nothing in it, it
        can be made anew."""
        own = own_layout(self._new, new)
        if own is not None and set(layout) <= set(own.attributes):
            return False
        with closing(self._new.scandir(new)) as entries:
            return next(entries, None) is None

    # files

    def _file(self, source: bytes, new: bytes, *, fresh: bool) -> None:
        before = self._source.stat(source)
        if before.kind is not Kind.FILE:
            raise _replaced(source)
        if before.nlink > 1:
            self._linked_file(source, new, before)
        elif not fresh and self._is_current(new, before):
            self._copied.add_current(before)
        else:
            if not fresh:
                remove_all(self._new, new, self._go_on)
            self._copy(_Item(source, new, before))

    def _linked_file(self, source: bytes, new: bytes, before: Attributes) -> None:
        anchor = joined(self._sides.anchors, b"%x" % before.ino)
        waiting = self._linked.get(before.ino)
        if waiting is not None:
            waiting.names.append(new)
            self._names += 1
        elif self._is_current(anchor, before):
            self._copied.add_current(before)
            self._link(anchor, new)
        elif self._is_current(new, before):
            # a run that ended had no more need of the anchor
            self._copied.add_current(before)
            remove_all(self._new, anchor, self._go_on)
            self._new.link(new, anchor)
        else:
            item = _Item(source, anchor, before, names=[new])
            remove_all(self._new, anchor, self._go_on)
            self._copy(item)
            self._linked[before.ino] = item

    def _link(self, anchor: bytes, new: bytes) -> None:
        there = existing(self._new, new)
        if there is not None and there.ino == self._new.stat(anchor).ino:
            return
        remove_all(self._new, new, self._go_on)
        self._new.link(anchor, new)
        self._copied.others += 1

    def _is_current(self, new: bytes, before: Attributes) -> bool:
        """Size and time count beside the mark: what a client has written that was cut off before it told the MDS, that
        takes in as both, and not as another change (doc/migration.md)."""
        there = existing(self._new, new)
        return (
            there is not None
            and there.kind_bits == S_IFREG
            and (there.size, int(there.mtime)) == (before.size, int(before.mtime))
            and mark_of(self._new, new) == _mark(before)
        )

    def _copy(self, item: _Item) -> None:
        with self._pace.timed(Asked.MDS):
            opened = self._source.open(item.source, os.O_RDONLY)
        with opened as old:
            self._belonging.require(item.source, Kind.FILE, item.before.size)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
            # the right mode from the start saves a round trip; nobody else can reach it there
            with self._new.open(item.new, flags, item.before.permissions) as new:
                size = old.size
                for start, stop in pieces(0, size):
                    self._go_on()
                    with self._pace.timed(Asked.OSD):
                        data = memoryview(old.pread(stop - start, start))
                    for begin, end in written(data):
                        new.pwrite(data[begin:end], start + begin)
                    self._bytes += len(data)
                    self._pace.done(size=len(data))
                new.truncate(size)
                # while it is open, these need no round trip
                new.chown(item.before.uid, item.before.gid)
                new.utimens(item.before.atime, int(item.before.mtime))
        self._waiting.append(item)
        self._pace.done(files=1)

    # all others

    def _other(self, source: bytes, new: bytes, *, fresh: bool) -> None:
        before = self._source.stat(source)
        wanted = traits_of(self._source, source, before)
        there = None if fresh else existing(self._new, new)
        if there is not None and traits_of(self._new, new, there) == wanted:
            return
        self._belonging.require(source, before.kind)
        if there is not None:
            remove_all(self._new, new, self._go_on)
        if before.kind is Kind.SYMLINK:
            self._new.symlink(wanted.target, new)
        elif before.kind is Kind.SPECIAL:
            self._new.mknod(new, before.kind_bits | NEW_FILE, before.rdev)
        else:
            raise _replaced(source)
        give(self._new, new, wanted, before.atime)
        self._copied.others += 1
        self._pace.done(files=1)

    # the end of a batch

    def finish(self) -> None:
        """All that was copied is durable, and complete but for what has changed meanwhile."""
        batch, self._waiting = self._waiting, []
        self._bytes = self._names = 0
        self._linked.clear()
        self._new.sync()
        done: list[_Item] = []
        for item in batch:
            self._go_on()
            try:
                self._give(item)
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
                self._go_on()
                try:
                    self._mark(item)
                except NotFoundError:
                    # the copy is not there any more
                    self._copied.changed += 1

    def _give(self, item: _Item) -> None:
        wanted = traits_of(self._source, item.source, item.before)
        if item.before.kind is Kind.DIRECTORY:
            if traits_of(self._new, item.new, self._new.stat(item.new)) == wanted:
                return
            self._copied.others += not item.fresh
        for name in item.names:
            remove_all(self._new, name, self._go_on)
            self._new.link(item.new, name)
        if not self._has_all(item, wanted):
            give(self._new, item.new, wanted, item.before.atime)

    def _has_all(self, item: _Item, wanted: Traits) -> bool:
        """Is it a file that got all that it is to have while it was open? To look at each costs more than to know."""
        return (
            item.before.kind is Kind.FILE
            and not wanted.attributes
            and not wanted.permissions & _SPECIAL
            and not self._passes_on(item.new.rpartition(b"/")[0])
        )

    def _passes_on(self, directory: bytes) -> bool:
        """Has this directory of the new tree an ACL for what is made in it? A new one gets it after all that lies in
        it."""
        found = self._passing_on.get(directory)
        if found is None:
            found = attribute(self._new, directory, DEFAULT_ACL) is not None
            self._passing_on[directory] = found
        return found

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
