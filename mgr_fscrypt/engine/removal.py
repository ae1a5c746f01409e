"""Removing a subtree, top and all. It needs no key: names are taken as they are stored, as by a kernel without it.

What lies in it goes deepest first, and the top last, so a run that ended early is run again. A run may take hours, and
goes by paths: before each step it looks whether the directory at the path is still the one that it listed, so what
somebody moves there meanwhile, or makes a symbolic link lead to, stays.
"""

import errno
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass

from ..ceph.errors import NotFoundError
from ..ceph.interface import Entry, Kind, Mount
from .directories import Directory
from .errors import BusyError, RefusedError
from .modes import Proceed, snapshots_of
from .paths import joined, named


@dataclass
class Removed:
    """What was removed, but for the top.

    Attributes:
        files: names of whatever is no directory.
        directories: with their own.
    """

    files: int = 0
    directories: int = 0


def require_removable(mount: Mount, root: Directory, *, contents: bool) -> None:
    """Look whether `remove` would be refused; nothing is changed.

    Raises:
        RefusedError: ENOTEMPTY: something is in it, and `contents` is false; or it has snapshots.
    """
    kept = snapshots_of(mount, root)
    own = [name for name in kept if not name.startswith(b"_")]
    if own:
        shown = ", ".join(name.decode(errors="replace") for name in own[:5])
        raise RefusedError(
            errno.ENOTEMPTY,
            f"it has {len(own)} snapshots of its own: {shown}",
            root.plain,
            remedy="Remove them first (`rmdir DIR/.snap/NAME`). Nothing was changed.",
        )
    with closing(mount.scandir(root.stored)) as entries:
        empty = next(entries, None) is None
    if not empty and not contents:
        raise RefusedError(
            errno.ENOTEMPTY,
            "something is in it",
            root.plain,
            remedy="Remove it first, or have it removed with its contents. Nothing was changed.",
        )


def remove(mount: Mount, root: Directory, *, contents: bool, proceed: Proceed, last: Proceed) -> Removed:
    """Remove it; with `contents` all that lies in it, too; `last` is called when only the top is left.

    Raises:
        RefusedError: as `require_removable`; what was removed before stays so.
        BusyError: ESTALE: it, or a directory in it, was moved meanwhile; what lies there now is left alone.
        CephError: ENOTEMPTY: somebody put something into it meanwhile: run it again.
    """
    with named(root.plain):
        require_removable(mount, root, contents=contents)
        removed = Removed()
        ways: list[tuple[bytes, int, Generator[Entry]]] = [
            (root.stored, root.ino, mount.scandir(root.stored))
        ]
        try:
            while ways:
                path, ino, entries = ways[-1]
                entry = next(entries, None)
                proceed()
                _require_unmoved(mount, root, path, ino)
                if entry is not None and entry.kind is Kind.DIRECTORY:
                    below = joined(path, entry.name)
                    ways.append((below, entry.ino, mount.scandir(below)))
                elif entry is not None:
                    removed.files += _gone(mount.unlink, joined(path, entry.name))
                else:
                    ways.pop()
                    if not ways:
                        last()
                    done = _gone(mount.rmdir, path)
                    removed.directories += done and bool(ways)
        finally:
            for _, _, entries in ways:
                entries.close()
        mount.sync()
    return removed


def _require_unmoved(mount: Mount, root: Directory, path: bytes, ino: int) -> None:
    """Is the directory at `path` still the one that was listed? One in the tree may be gone: others may remove, too."""
    try:
        there = mount.identify(path).ino == ino
    except NotFoundError:
        there = path != root.stored
    if not there:
        raise BusyError(
            errno.ESTALE,
            "it, or a directory in it, was moved or removed by somebody while it was removed; what lies there now was "
            "left alone",
            root.plain,
            remedy="Look where it is, and begin anew.",
        )


def _gone(act: Callable[[bytes], None], path: bytes) -> bool:
    """Was it we who removed it?"""
    try:
        act(path)
    except NotFoundError:
        return False
    return True
