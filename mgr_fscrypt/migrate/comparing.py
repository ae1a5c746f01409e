"""Whether the new tree is the source: every file is read anew on both sides, and every attribute looked at.

Nothing is taken from the copier's memory; whoever wants a proof lets another process compare, with mounts of its own.
"""

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

from ..ceph.errors import NotFoundError
from ..ceph.interface import Kind
from ..engine import Attributes
from ..engine.blocks import pieces
from .marks import Mark, mark_of
from .traits import traits_of
from .trees import Tree, existing, not_of_one_file, walk

CLASSES = ("same", "differ", "missing", "extra", "error")
_LISTED = 100


@dataclass
class Verdict:
    """How many of each class there are, and the bytes of the files that were compared; `listed` are the first hundred
    of those that are not the same: class, path below the top, and how they differ."""

    same: int = 0
    differ: int = 0
    missing: int = 0
    extra: int = 0
    error: int = 0
    size: int = 0
    listed: list[tuple[str, bytes, str]] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Is the new tree the source?"""
        return not (self.differ or self.missing or self.extra or self.error)

    def add(self, kind: str, below: bytes, how: str = "") -> None:
        """Count one."""
        setattr(self, kind, getattr(self, kind) + 1)
        if kind != "same" and len(self.listed) < _LISTED:
            self.listed.append((kind, below or b"/", how))


def compare(
    source: Tree,
    new: Tree,
    top: bytes,
    new_top: bytes,
    verdict: Verdict,
    go_on: Callable[[], None] = lambda: None,
) -> Verdict:
    """Compare all of both. `verdict` counts also while it runs; `go_on` is called before each entry.

    Raises:
        CephError: what concerns more than one file.
    """
    with closing(walk(source, top)) as all_below:
        for met in all_below:
            go_on()
            if met.leaving and met.error is None:
                continue
            try:
                if met.error is not None:
                    raise met.error
                found = existing(new, new_top + met.below)
                if found is None:
                    verdict.add("missing", met.below)
                    continue
                how = _differences(source, new, top + met.below, new_top + met.below, found, verdict)
            except OSError as error:
                if not_of_one_file(error):
                    raise
                verdict.add("error", met.below, error.strerror or str(error))
                continue
            verdict.add("differ" if how else "same", met.below, ", ".join(how))
    with closing(walk(new, new_top)) as all_below:
        for met in all_below:
            go_on()
            if met.error is not None:
                verdict.add("error", met.below, met.error.strerror or str(met.error))
            elif not met.leaving and existing(source, top + met.below) is None:
                verdict.add("extra", met.below)
    return verdict


def _differences(
    source: Tree, new: Tree, path: bytes, new_path: bytes, there: Attributes, verdict: Verdict
) -> list[str]:
    found = source.stat(path)
    wanted, given = traits_of(source, path, found), traits_of(new, new_path, there)
    how = list(wanted.differences(given))
    if found.kind is not Kind.FILE or there.kind is not Kind.FILE:
        return how
    if found.nlink > 1 and not _linked_alike(found, there, mark_of(new, new_path)):
        how.append("names")
    if not _same_contents(source, new, path, new_path):
        how.append("contents")
    if mark_of(new, new_path) != Mark(found.ino, found.version or 0):
        how.append("changed since it was copied")
    verdict.size += found.size
    return how


def _linked_alike(found: Attributes, there: Attributes, mark: Mark | None) -> bool:
    """Has the copy as many names as the source? (All of them are below the top, so each is met, and is known by its
    mark to be a name of that copy.) Until the end of a migration there is one more, the anchor."""
    return mark is not None and mark.ino == found.ino and there.nlink - found.nlink in (0, 1)


def _same_contents(source: Tree, new: Tree, path: bytes, new_path: bytes) -> bool:
    with source.open(path, os.O_RDONLY) as old, new.open(new_path, os.O_RDONLY) as other:
        size = old.size
        if other.size != size:
            return False
        for start, stop in pieces(0, size):
            if old.pread(stop - start, start) != other.pread(stop - start, start):
                return False
    return True


def written_since(source: Tree, new: Tree, top: bytes, new_top: bytes) -> list[bytes]:
    """Files of a source that was replaced, which changed after they were copied; the first hundred, as paths below the
    top. What the new tree has not, or has another file for, its users have changed by now."""
    found: list[bytes] = []
    with closing(walk(source, top)) as all_below:
        for met in all_below:
            if met.entry is None or met.entry.kind is not Kind.FILE or len(found) == _LISTED:
                continue
            try:
                now, mark = source.stat(top + met.below), mark_of(new, new_top + met.below)
            except NotFoundError:
                continue
            if mark is not None and mark.ino == now.ino and mark.change != now.version:
                found.append(met.below)
    return found
