"""Removing what is not wanted any more, by stored names: no key is needed."""

import errno
from contextlib import closing

from ..ceph.errors import CephError, NoAttributeError, NotFoundError
from ..ceph.interface import Kind, Mount
from ..engine import RefusedError
from ..engine.directories import read_auth
from ..engine.making import unfinished
from .marks import MARK
from .trees import PlainTree, remove_all, walk


def remove_half_made(mount: Mount, stored: bytes) -> None:
    """What a copier that died left half made in an encrypted tree (doc/engine-xattr.md). It was alone there, so nobody
    is waited for."""
    half_made: list[bytes] = []
    tree = PlainTree(mount)
    with closing(walk(tree, stored)) as all_below:
        for met in all_below:
            path = stored + met.below
            if met.entry is None or met.leaving or met.entry.kind is Kind.SPECIAL:
                continue
            if met.entry.kind is Kind.SYMLINK:
                if read_auth(mount, path, path) is None:
                    half_made.append(path)
            elif unfinished(mount.stat(path)):
                half_made.append(path)
    for path in half_made:
        remove_all(tree, path)


def remove_marks(mount: Mount, stored: bytes) -> None:
    """The marks of finished copies, from the tree that is in use by now."""
    tree = PlainTree(mount)
    with closing(walk(tree, stored)) as all_below:
        for met in all_below:
            if met.entry is not None and met.entry.kind is Kind.FILE:
                try:
                    mount.removexattr(stored + met.below, MARK)
                except (NoAttributeError, NotFoundError):
                    continue


def remove_tree(mount: Mount, stored: bytes, plain: bytes) -> None:
    """All of it.

    Raises:
        RefusedError: a directory of it has snapshots, which keep it.
    """
    try:
        remove_all(PlainTree(mount), stored)
    except CephError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        raise RefusedError(
            errno.ENOTEMPTY,
            "a directory of it has snapshots, which hold what was there before",
            plain,
            remedy="Remove the snapshots (in the `.snap` of the directories that are left), and run the same again.",
        ) from error
