"""Removing what is not wanted any more, by stored names: no key is needed."""

import errno
from collections.abc import Callable
from contextlib import closing

from ..ceph.errors import CephError, NoAttributeError, NotFoundError
from ..ceph.interface import Kind, Mount
from ..engine import RefusedError
from ..engine.directories import Directory, read_auth
from ..engine.making import unfinished
from ..engine.modes import snapshots_of
from ..engine.paths import joined
from ..engine.snapshot_names import SNAPSHOTS
from .marks import MARK
from .trees import PlainTree, remove_all, walk

_INHERITED = b"_"
"""What names of snapshots of the directories above begin with, in `.snap`; no other one may."""


def remove_half_made(mount: Mount, stored: bytes, go_on: Callable[[], None]) -> None:
    """What a copier that died left half made in an encrypted tree (doc/engine-xattr.md). It was alone there, so nobody
    is waited for. `go_on`, here as below, is called before each entry, and raises for one whose turn is over."""
    tree = PlainTree(mount)
    with closing(walk(tree, stored)) as all_below:
        for met in all_below:
            go_on()
            path = stored + met.below
            if met.entry is None or met.leaving or met.entry.kind is Kind.SPECIAL:
                continue
            if met.entry.kind is Kind.SYMLINK:
                half_made = read_auth(mount, path, path) is None
            else:
                half_made = unfinished(mount.stat(path))
            if half_made:
                remove_all(tree, path, go_on)


def remove_marks(mount: Mount, stored: bytes, go_on: Callable[[], None]) -> None:
    """The marks of finished copies, from the tree that is in use by now."""
    tree = PlainTree(mount)
    with closing(walk(tree, stored)) as all_below:
        for met in all_below:
            go_on()
            if met.entry is not None and met.entry.kind is Kind.FILE:
                try:
                    mount.removexattr(stored + met.below, MARK)
                except (NoAttributeError, NotFoundError):
                    continue


def remove_tree(mount: Mount, stored: bytes, plain: bytes, go_on: Callable[[], None], *, kept: int) -> None:
    """All of it, but for the inode `kept`, which is refused (`remove_all`).

    Raises:
        RefusedError: a directory of it has snapshots, which keep it.
    """
    try:
        remove_all(PlainTree(mount), stored, go_on, kept=kept)
    except CephError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        raise _snapshots(plain, "the `.snap` of the directories that are left") from error


def require_no_snapshots(mount: Mount, stored: bytes, plain: bytes, go_on: Callable[[], None]) -> None:
    """Raises `RefusedError`, ENOTEMPTY: a directory of the tree has snapshots of its own, so it cannot go."""
    with closing(walk(PlainTree(mount), stored)) as all_below:
        for met in all_below:
            go_on()
            if met.error is not None:
                raise met.error
            if not met.is_directory or met.leaving:
                continue
            path = stored + met.below
            if any(not name.startswith(_INHERITED) for name in snapshots_of(mount, Directory(path, path, 0))):
                raise _snapshots(plain, joined(path, SNAPSHOTS).decode(errors="replace"))


def _snapshots(plain: bytes, where: str) -> RefusedError:
    return RefusedError(
        errno.ENOTEMPTY,
        "a directory of it has snapshots, which hold what was there before",
        plain,
        remedy=f"Remove the snapshots (in {where}), and run the same again.",
    )
