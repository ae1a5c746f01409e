"""What comparing an entry of one side with the other comes to, and what processes that compare are asked for: a shard
of either tree at a time.

A shard names entries, and no key. Each is read anew and judged by itself, so it does not matter who is asked for which.
"""

import os
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from ..ceph.interface import Kind
from ..engine import Attributes, DirEntry
from ..engine.blocks import pieces
from ..engine.paths import joined
from .ahead import Ahead
from .belonging import Belonging
from .marks import Mark, mark_of
from .traits import traits_of
from .trees import Sides, Tree, existing, not_of_one_file

Told = tuple[str, bytes, str]
"""Class, path below the top, and how it differs."""


@dataclass(frozen=True)
class Question:
    """An entry.

    Attributes:
        below: its path below the top.
        entry: as it was listed; None for the top.
        stored: of one of the copy, its path below the top as it is stored.
        error: why it could not be listed, which is all that is to be told of it; empty where it could.
    """

    # not in logs of those who are asked
    below: bytes = field(repr=False)
    entry: DirEntry | None = field(repr=False, default=None)
    stored: bytes = field(repr=False, default=b"")
    error: str = ""


@dataclass(frozen=True)
class Questions:
    """A shard, in the order of the directories: of the source, or of the copy, with its lines for the manifest if
    `described`."""

    entries: tuple[Question, ...]
    of_copy: bool = False
    described: bool = False


@dataclass(frozen=True)
class Findings:
    """What came of a shard: what is to be told, in its order; the bytes that were compared; and the lines of what is in
    both trees, for the manifest."""

    told: tuple[Told, ...]
    size: int = 0
    lines: bytes = b""


class Judges(Protocol):
    """Who compares, each with a mount of its own."""

    @property
    def width(self) -> int:
        """So many shards keep all of them busy."""

    def submit(self, questions: Questions, /) -> Future[Findings]:
        """Have it compared. Its result may be `BrokenExecutor`: then one of them died.

        Raises:
            BrokenExecutor: one of them died before.
        """


class Judge:
    """One process that compares.

    Args:
        describe: makes the line of the manifest of what lies at a stored path of the copy.
        go_on: called before each entry and each piece of a file.
    """

    def __init__(
        self,
        sides: Sides,
        describe: Callable[[bytes], bytes],
        go_on: Callable[[], None] = lambda: None,
    ) -> None:
        self._old = Belonging(sides.source, sides.top, sides.excluded)
        self._copy = Belonging(sides.new, sides.new_top)
        self._sides = sides
        self._describe = describe
        self._go_on = go_on
        self._size = 0
        self._ahead = (Ahead(), Ahead())

    def judged(self, questions: Questions) -> Findings:
        """Raises what concerns more than one entry, as `comparing.compare`."""
        self._size = 0
        sides, (of_source, of_copy) = self._sides, self._ahead
        of_source.look(sides.source, sides.top, (each.below for each in questions.entries))
        of_copy.look(sides.new, sides.new_top, (each.below for each in questions.entries))
        told: list[Told] = []
        lines = bytearray()
        for each in questions.entries:
            self._go_on()
            try:
                if each.error:
                    told.append(("error", each.below, each.error))
                elif not questions.of_copy:
                    told.append(self._like_its_copy(each))
                elif self._is_extra(each):
                    told.append(("extra", each.below, ""))
                elif questions.described:
                    lines += self._describe(each.stored)
            except OSError as error:
                if not_of_one_file(error):
                    raise
                told.append(("error", each.below, error.strerror or str(error)))
        return Findings(tuple(told), self._size, bytes(lines))

    def _like_its_copy(self, asked: Question) -> Told:
        there = existing(self._sides.new, self._sides.new_top + asked.below)
        if there is None:
            return "missing", asked.below, ""
        how = self._differences(asked, there)
        return "differ" if how else "same", asked.below, ", ".join(how)

    def _is_extra(self, asked: Question) -> bool:
        of = existing(self._sides.source, self._sides.top + asked.below)
        return of is None or of.ino in self._sides.excluded

    def _differences(self, asked: Question, there: Attributes) -> list[str]:
        """The names of what is not the same; `there` is the copy. Raises `OSError`: they cannot be compared."""
        source, new = self._sides.source, self._sides.new
        path, new_path = self._sides.top + asked.below, self._sides.new_top + asked.below
        found = source.stat(path)
        self._old.require_name(path, asked.entry)
        self._old.require(path, found.kind)
        self._copy.require(new_path, there.kind)
        wanted, given = traits_of(source, path, found), traits_of(new, new_path, there)
        how = list(wanted.differences(given))
        if found.kind is not Kind.FILE or there.kind is not Kind.FILE:
            return how
        mark = mark_of(new, new_path)
        if not self._linked_alike(found, there, mark):
            how.append("names")
        if not _same_contents(source, new, path, new_path, self._go_on):
            how.append("contents")
        if mark != Mark(found.ino, found.version or 0):
            how.append("changed since it was copied")
        self._size += found.size
        return how

    def _linked_alike(self, found: Attributes, there: Attributes, mark: Mark | None) -> bool:
        """Has the copy as many names as the source, beside its anchor? Each name below the top is met, and is known by
        its mark to be one of that copy: a name of the source that lies outside is one that the copy has not."""
        if found.nlink == there.nlink == 1:
            return True
        anchor = existing(self._sides.new, joined(self._sides.anchors, b"%x" % found.ino))
        anchored = anchor is not None and anchor.ino == there.ino
        return mark is not None and mark.ino == found.ino and there.nlink == found.nlink + anchored


def _same_contents(source: Tree, new: Tree, path: bytes, new_path: bytes, go_on: Callable[[], None]) -> bool:
    with source.open(path, os.O_RDONLY) as old, new.open(new_path, os.O_RDONLY) as other:
        size = old.size
        if other.size != size:
            return False
        for start, stop in pieces(0, size):
            go_on()
            if old.pread(stop - start, start) != other.pread(stop - start, start):
                return False
    return True


class JudgeHere:
    """No other process: a shard is compared when it was submitted."""

    width = 0

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def submit(self, questions: Questions, /) -> Future[Findings]:
        """Raises what the shard raises."""
        done: Future[Findings] = Future()
        done.set_result(self._judge.judged(questions))
        return done
