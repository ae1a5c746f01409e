"""Whether the new tree is the source: every file is read anew on both sides, and every attribute looked at.

Nothing is taken from the copier's memory; whoever wants a proof lets another process compare, with mounts of its own.
"""

import os
from collections.abc import Callable
from contextlib import closing

from ..ceph.interface import Kind
from ..engine import Attributes
from ..engine.blocks import pieces
from ..engine.paths import joined
from .belonging import Belonging
from .manifest import Manifest
from .marks import Mark, mark_of
from .traits import traits_of
from .trees import Met, Sides, Tree, existing, not_of_one_file, walk
from .verdict import Verdict

_LISTED = 100


def compare(
    sides: Sides,
    verdict: Verdict,
    go_on: Callable[[], None] = lambda: None,
    told: Callable[[str, bytes, str], None] = lambda *_: None,
    manifest: Manifest | None = None,
) -> Verdict:
    """Compare all of both. `verdict` counts also while it runs; `go_on` is called before each entry, and `told` with
    each that was compared: class, path below the top, and how they differ. The new tree goes into the `manifest`, if
    there is to be one and both are the same.

    Raises:
        CephError: what concerns more than one file.
        LockedError: the key of a side is not here.
        RefusedError: a side that was to be encrypted is not.
    """
    compared = _Compared(sides, verdict, go_on, told)
    compared.look_at_source()
    compared.look_at_copy(manifest)
    if manifest is not None and verdict.equal:
        verdict.manifest = manifest.digest()
    return verdict


class _Compared:
    """Both trees, entry by entry."""

    def __init__(
        self,
        sides: Sides,
        verdict: Verdict,
        go_on: Callable[[], None],
        told: Callable[[str, bytes, str], None],
    ) -> None:
        self._old = Belonging(sides.source, sides.top, sides.excluded)
        self._copy = Belonging(sides.new, sides.new_top)
        self._sides = sides
        self._source = sides.source
        self._new = sides.new
        self._top = sides.top
        self._new_top = sides.new_top
        self._verdict = verdict
        self._go_on = go_on
        self._told = told

    def look_at_source(self) -> None:
        """Each entry of the source, and its copy."""
        with closing(self._old.walk()) as all_below:
            for met in all_below:
                self._go_on()
                if met.leaving and met.error is None:
                    continue
                try:
                    if met.error is not None:
                        raise met.error
                    found = existing(self._new, self._new_top + met.below)
                    if found is None:
                        self._add("missing", met.below)
                        continue
                    how = self._differences(met, found)
                except OSError as error:
                    if not_of_one_file(error):
                        raise
                    self._add("error", met.below, error.strerror or str(error))
                    continue
                self._add("differ" if how else "same", met.below, ", ".join(how))

    def look_at_copy(self, manifest: Manifest | None) -> None:
        """What only the copy has; all else is added to the manifest, for as long as both are the same: nobody wants
        one of a tree that is not."""
        stored: list[bytes] = []
        with closing(self._copy.walk()) as all_below:
            for met in all_below:
                self._go_on()
                if met.error is not None:
                    self._add("error", met.below, met.error.strerror or str(met.error))
                if met.leaving:
                    stored.pop()
                    continue
                below = b"" if met.entry is None else stored[-1] + b"/" + met.entry.stored
                if met.is_directory:
                    stored.append(below)
                try:
                    of = existing(self._source, self._top + met.below)
                    if of is None or of.ino in self._sides.excluded:
                        self._add("extra", met.below)
                    elif manifest is not None and self._verdict.equal:
                        manifest.add(below)
                except OSError as error:
                    if not_of_one_file(error):
                        raise
                    self._add("error", met.below, error.strerror or str(error))

    def _add(self, kind: str, below: bytes, how: str = "") -> None:
        self._verdict.add(kind, below, how)
        self._told(kind, below or b"/", how)

    def _differences(self, met: Met, there: Attributes) -> list[str]:
        """The names of what is not the same; `there` is the copy. Raises `OSError`: they cannot be compared."""
        path, new_path = self._top + met.below, self._new_top + met.below
        found = self._source.stat(path)
        self._old.require_name(path, met.entry)
        self._old.require(path, found.kind)
        self._copy.require(new_path, there.kind)
        wanted, given = traits_of(self._source, path, found), traits_of(self._new, new_path, there)
        how = list(wanted.differences(given))
        if found.kind is not Kind.FILE or there.kind is not Kind.FILE:
            return how
        mark = mark_of(self._new, new_path)
        if not self._linked_alike(found, there, mark):
            how.append("names")
        if not _same_contents(self._source, self._new, path, new_path):
            how.append("contents")
        if mark != Mark(found.ino, found.version or 0):
            how.append("changed since it was copied")
        self._verdict.size += found.size
        return how

    def _linked_alike(self, found: Attributes, there: Attributes, mark: Mark | None) -> bool:
        """Has the copy as many names as the source, beside its anchor? Each name below the top is met, and is known by
        its mark to be one of that copy: a name of the source that lies outside is one that the copy has not."""
        if found.nlink == there.nlink == 1:
            return True
        anchor = existing(self._new, joined(self._sides.anchors, b"%x" % found.ino))
        anchored = anchor is not None and anchor.ino == there.ino
        return mark is not None and mark.ino == found.ino and there.nlink == found.nlink + anchored


def _same_contents(source: Tree, new: Tree, path: bytes, new_path: bytes) -> bool:
    with source.open(path, os.O_RDONLY) as old, new.open(new_path, os.O_RDONLY) as other:
        size = old.size
        if other.size != size:
            return False
        for start, stop in pieces(0, size):
            if old.pread(stop - start, start) != other.pread(stop - start, start):
                return False
    return True


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
