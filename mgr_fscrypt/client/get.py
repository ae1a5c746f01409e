"""``get``: from an encrypted subtree to local files."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from ..ceph.interface import Kind
from ..engine import Attributes, FileSystem, LockedError, NameKind
from .advice import copying, shown
from .connection import Connection
from .local import given_permissions
from .outcome import Exit
from .progress import Progress, size_text
from .remote import basename, children, parent, temporary_name
from .report import Reporter

PIECE = 4 << 20
"""Bytes of a file that are in memory at once: an object of the default layout."""


def get(connection: Connection, reporter: Reporter, source: bytes, target: Path, *, replace: bool) -> Exit:
    """Copy a file, a link or a tree into a local directory, or to a new local name."""
    connection.require_keys()
    goal = _goal(source, target)
    copying = _Getting(connection.files, reporter.progress_stream, replace=replace)
    progress = copying.run(source, goal)
    for path in copying.skipped:
        reporter.note(f"skipped {shown(path)}: its name or kind cannot be copied")
    value = {
        "get": shown(goal),
        "entries": progress.entries,
        "bytes": progress.bytes,
        "skipped": len(copying.skipped),
        "seconds": round(progress.seconds, 3),
    }
    reporter.summary(
        value,
        f"got {progress.entries} entries, {size_text(progress.bytes)} in {progress.seconds:.1f} s "
        f"({size_text(progress.rate)}/s)",
    )
    return Exit.DIFFERS if copying.skipped else Exit.DONE


def _goal(source: bytes, target: Path) -> Path:
    name = os.fsdecode(basename(source))
    return target / name if target.is_dir() and name else target


class _Getting:
    """The copying itself; hard links of one file stay links of each other."""

    def __init__(self, files: FileSystem, stream: TextIO | None, *, replace: bool) -> None:
        self._files = files
        self._replace = replace
        self._linked: dict[int, Path] = {}
        self._progress = Progress(stream)
        self.skipped: list[bytes] = []

    def run(self, source: bytes, goal: Path) -> Progress:
        with copying(self._progress):
            found = self._files.stat(source)
            if found.kind is Kind.DIRECTORY:
                self._tree(source, goal, found)
            else:
                self._copy(source, goal, found)
        return self._progress

    def _tree(self, source: bytes, goal: Path, top: Attributes) -> None:
        if self._files.subtree(source).policy is not None:
            # a locked directory can be listed, but that is no copy of it
            _require_unlocked(self._files, source)
        self._directory(goal)
        for each in children(self._files, source):
            local = goal / os.fsdecode(each.path[len(source.rstrip(b"/")) + 1 :])
            if each.leaving:
                self._finish(local, self._files.stat(each.path))
            elif each.name_kind is NameKind.LOCKED:
                _require_unlocked(self._files, parent(each.path))
            elif each.name_kind in (NameKind.HASHED, NameKind.FOREIGN) or each.kind is Kind.SPECIAL:
                self.skipped.append(each.path)
            elif each.kind is Kind.DIRECTORY:
                self._directory(local)
            else:
                self._copy(each.path, local, self._files.stat(each.path))
        self._finish(goal, top)

    def _copy(self, source: bytes, local: Path, found: Attributes) -> None:
        if found.kind is Kind.SYMLINK:
            self._put_in_place(local, lambda name: name.symlink_to(os.fsdecode(self._files.readlink(source))))
            os.utime(local, (found.atime, found.mtime), follow_symlinks=False)
        elif found.kind is Kind.FILE:
            self._put_in_place(local, lambda name: self._file_or_hard_link(source, name, local, found))
        else:
            self.skipped.append(source)
            return
        self._progress.entry()

    def _directory(self, local: Path) -> None:
        try:
            # ours alone until all is in it
            local.mkdir(0o700)
        except FileExistsError:
            if not stat.S_ISDIR(local.lstat().st_mode):
                raise
        self._progress.entry()

    def _finish(self, local: Path, found: Attributes) -> None:
        local.chmod(found.permissions)
        os.utime(local, (found.atime, found.mtime))

    def _put_in_place(self, local: Path, make: Callable[[Path], None]) -> None:
        """Make a new name, or, where one may be replaced, make another one and rename it over."""
        if not (self._replace and os.path.lexists(local)):
            make(local)
            return
        beside = local.with_name(temporary_name())
        try:
            make(beside)
            beside.replace(local)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise

    def _file_or_hard_link(self, source: bytes, name: Path, local: Path, found: Attributes) -> None:
        if found.ino in self._linked:
            name.hardlink_to(self._linked[found.ino])
            return
        self._file(source, name, found)
        if found.nlink > 1:
            self._linked[found.ino] = local

    def _file(self, source: bytes, name: Path, found: Attributes) -> None:
        with self._files.open(source) as opened:
            descriptor = os.open(
                name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
            try:
                with os.fdopen(descriptor, "wb", buffering=0) as local:
                    offset = 0
                    while piece := opened.pread(PIECE, offset):
                        local.write(piece)
                        offset += len(piece)
                        self._progress.advance(len(piece))
                    os.fchmod(descriptor, given_permissions(stat.S_IFREG | found.permissions))
                    os.utime(descriptor, (found.atime, found.mtime))
            except BaseException:
                name.unlink()
                raise


def _require_unlocked(files: FileSystem, directory: bytes) -> None:
    """Raise what the engine raises for a locked directory."""
    subtree = files.subtree(directory)
    if subtree.policy is not None and not subtree.unlocked:
        raise LockedError(directory, subtree.policy.key)
