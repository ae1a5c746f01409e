"""One pass over the source: what differs from it in the new tree is made anew, and nothing else is touched.

One process walks the source, corrects the directories, removes what is gone, and links files of several names. All
other entries it hands out in shards, in the order of the directories, to hands (`shards`) that may be other processes.
A new directory is made by the hand that fills it, if one shard holds all of it: a client that has made a directory, and
has it alone, knows what is in it, and need not ask for each file whether its name is free (doc/migration-scale.md). A
directory gets its attributes when all shards with something of it are done.
"""

import errno
from collections import deque
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future, wait
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

from ..ceph.interface import Kind
from ..engine import Attributes, BusyError
from ..engine.paths import joined
from .belonging import Belonging
from .files import BATCH, BATCH_BYTES, Copied, Copier
from .pace import UNLIMITED, Limits
from .shards import Hands, InThisProcess, Shard, ShardEntry
from .trees import Met, Sides, existing, remove_all

_DEATHS = 3
"""So many times in a row hands may die before a shard is done: then something is wrong with them."""
_LOOK = 0.25
"""Seconds between two looks at whether this process may go on, while it waits for others."""


@dataclass(frozen=True)
class _Begin:
    """Where in a lot that grows a directory begins: so many entries and bytes are before it."""

    entries: int
    size: int


@dataclass
class _Level:
    """A directory on the way.

    Attributes:
        fresh: nothing was in its place before this pass.
        begin: the lot that grows makes it, as the entry that stands there; None: it is there, or could not be entered.
        failed: it could not be entered.
    """

    below: bytes
    fresh: bool = False
    begin: _Begin | None = None
    failed: bool = True


@dataclass
class _Directory:
    """One that was left by the walk, and is complete but for its own attributes."""

    below: bytes
    before: Attributes
    fresh: bool


@dataclass
class _Lot:
    """A shard, and the directories that were left while it grew."""

    entries: list[ShardEntry] = field(default_factory=list)
    size: int = 0
    directories: list[_Directory] = field(default_factory=list)
    done: Future[Copied] | None = None

    @property
    def full(self) -> bool:
        return len(self.entries) >= BATCH or self.size >= BATCH_BYTES or len(self.directories) >= BATCH

    @property
    def waits(self) -> bool:
        """Has nobody been asked for it?"""
        return bool(self.entries) and self.done is None


class Pass:
    """One pass, for one use.

    Args:
        go_on: called before each entry, each piece of a file, and while others are waited for; what it raises ends the
            pass.
        copied: counts, also while the pass runs.
        hands: who copies; by default this process.
        repair: called when hands have died, and nobody is at work: removes what they left half made.
        limits: how fast this process copies.
    """

    def __init__(
        self,
        sides: Sides,
        go_on: Callable[[], None],
        copied: Copied,
        hands: Hands | None = None,
        repair: Callable[[], None] = lambda: None,
        limits: Limits = UNLIMITED,
    ) -> None:
        self._sides = sides
        self._source = sides.source
        self._new = sides.new
        self._go_on = go_on
        self._copied = copied
        self._here = InThisProcess(sides, go_on, limits)
        self._hands = hands or self._here
        self._handed_out = False
        self._repair = repair
        self._belonging = Belonging(sides.source, sides.top, sides.excluded)
        self._copier = Copier(sides, self._belonging, go_on, copied, limits)
        self._lot = _Lot()
        self._under_way: deque[_Lot] = deque()
        self._deaths = 0
        self._way: list[_Level] = []

    def run(self) -> None:
        """From top to bottom. Raises what ends it: a lost lease or session, no room, a key that is gone."""
        with closing(self._belonging.walk()) as all_below:
            for met in all_below:
                self._go_on()
                self._copier.wait_for_window()
                self._copier.attempt(met.below, partial(self._meet, met))
                if self._lot.full:
                    self._hand_out()
                if self._copier.full:
                    self._copier.finish()
        self._hand_out(last=True)
        self._take_in(at_most=0)
        self._copier.finish()

    def _meet(self, met: Met) -> None:
        source, new = self._sides.top + met.below, self._sides.new_top + met.below
        if met.leaving:
            self._leave(met, source, new)
        elif self._way and self._way[-1].failed:
            if met.is_directory:
                self._way.append(_Level(met.below))
        elif met.entry is None or met.is_directory:
            self._enter(met, source, new)
        else:
            self._belonging.require_name(source, met.entry)
            self._assign(met.below, met.entry.kind, source)

    # directories

    def _enter(self, met: Met, source: bytes, new: bytes) -> None:
        # the one above is needed as soon as something lies in it that is not the same shard's
        self._make_now()
        above = self._way[-1] if self._way else _Level(b"", failed=False)
        level = _Level(met.below)
        # also after an error: what lies in it is met all the same, and `leaving` it
        self._way.append(level)
        if above.failed:
            return
        self._belonging.require_name(source, met.entry)
        self._belonging.require(source, Kind.DIRECTORY)
        there = None if above.fresh else existing(self._new, new)
        if there is None:
            level.fresh = True
            level.begin = _Begin(len(self._lot.entries), self._lot.size)
            self._lot.entries.append(ShardEntry(met.below, Kind.DIRECTORY, fresh=True))
        else:
            level.fresh = self._copier.make_directory(met.below, there)
        level.failed = False

    def _make_now(self) -> None:
        """The innermost directory on the way, if the lot that grows was to make it. Where that fails, what the lot has
        of it is dropped."""
        level = self._way[-1] if self._way else None
        if level is None or level.begin is None:
            return
        begin, level.begin = level.begin, None
        del self._lot.entries[begin.entries]
        make = partial(self._copier.make_directory, level.below, None)
        level.failed = not self._copier.attempt(level.below, make)
        if level.failed:
            del self._lot.entries[begin.entries :]
            self._lot.size = begin.size

    def _leave(self, met: Met, source: bytes, new: bytes) -> None:
        level = self._way[-1]
        if level.begin is not None and len(self._lot.entries) == level.begin.entries + 1:
            # with nothing in it that is a shard's
            self._make_now()
        self._way.pop()
        if level.failed:
            return
        if met.error is not None:
            raise met.error
        before = self._source.stat(source)
        if not level.fresh:
            self._remove_what_is_gone(source, new)
        self._lot.directories.append(_Directory(met.below, before, level.fresh))

    def _remove_what_is_gone(self, source: bytes, new: bytes) -> None:
        with closing(self._new.scandir(new)) as entries:
            for entry in entries:
                there = existing(self._source, joined(source, entry.name))
                if there is None or there.ino in self._sides.excluded:
                    self._go_on()
                    remove_all(self._new, joined(new, entry.name), self._go_on)
                    self._copied.removed += 1

    # shards

    def _assign(self, below: bytes, kind: Kind, source: bytes) -> None:
        """To a shard; but a file of several names, whose others may lie anywhere, is this process's own."""
        size = 0
        level = self._way[-1]
        if kind is Kind.FILE:
            found = self._source.stat(source)
            if found.kind is Kind.FILE and found.nlink > 1:
                self._make_now()
                if not level.failed:
                    self._copier.bring(below, kind, fresh=level.fresh)
                return
            size = found.size
        self._lot.entries.append(ShardEntry(below, kind, level.fresh))
        self._lot.size += size

    def _hand_out(self, *, last: bool = False) -> None:
        """What is full. The first shard waits for a second one: a tree that is no more than that is no work for others,
        who would take longer to come than to copy it."""
        lot, self._lot = self._lot, self._rest()
        self._under_way.append(lot)
        waiting = [each for each in self._under_way if each.waits]
        if last and len(waiting) == 1 and not self._handed_out:
            waiting[0].done = self._here.submit(Shard(tuple(waiting[0].entries)))
        elif len(waiting) > 1 or self._handed_out:
            for each in waiting:
                self._submit(each)
        self._take_in(at_most=self._hands.width)

    def _rest(self) -> _Lot:
        """What of the lot that is handed out belongs to the next one: a directory that it makes, and that the walk has
        not left, goes to that with all it has so far. One that fills a lot by itself is made here."""
        begin = self._way[-1].begin if self._way else None
        if begin is None:
            return _Lot()
        if begin.entries == 0:
            self._make_now()
            return _Lot()
        rest = _Lot(self._lot.entries[begin.entries :], self._lot.size - begin.size)
        del self._lot.entries[begin.entries :]
        self._way[-1].begin = _Begin(0, 0)
        return rest

    def _submit(self, lot: _Lot) -> None:
        self._handed_out = True
        try:
            lot.done = self._hands.submit(Shard(tuple(lot.entries)))
        except BrokenExecutor as error:
            # those before it tell the same, and it is done again with them
            lot.done = Future()
            lot.done.set_exception(error)

    def _take_in(self, at_most: int) -> None:
        """Until no more than so many are under way. In the order of the walk, so a directory comes after what is in
        it."""
        while len(self._under_way) > at_most:
            lot = self._under_way[0]
            if lot.waits:
                self._submit(lot)
            if lot.done is not None:
                while not wait([lot.done], _LOOK).done:
                    self._go_on()
                try:
                    self._copied.add(lot.done.result())
                except BrokenExecutor:
                    self._begin_anew()
                    continue
                self._deaths = 0
            self._under_way.popleft()
            self._go_on()
            for each in lot.directories:
                self._copier.complete(each.below, each.before, fresh=each.fresh)
            if self._copier.full:
                self._copier.finish()

    def _begin_anew(self) -> None:
        """Hands have died: others do again what was under way. What was finished has its mark."""
        self._deaths += 1
        if self._deaths > _DEATHS:
            raise BusyError(
                errno.EIO,
                f"processes that copy have died {self._deaths} times in a row",
                self._sides.top,
                remedy="See why (`dmesg` names those that had no memory), or ask for fewer with --workers, and run the "
                "same again: what was copied stays copied.",
            )
        self._hands.replace()
        # what waits here is not half made by anybody else
        self._copier.finish()
        self._repair()
        for lot in self._under_way:
            if lot.done is not None and (lot.done.cancelled() or lot.done.exception() is not None):
                self._copied.redone += 1
                lot.entries = [ShardEntry(each.below, each.kind, fresh=False) for each in lot.entries]
                self._submit(lot)
