"""Snapshots of the CephFS in memory: `.snap` of its directories, as CephFS shows it."""

import errno
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mgr_fscrypt.ceph.errors import error_of

if TYPE_CHECKING:
    from qa.fakes.ceph import Inode

SNAPSHOTS = b".snap"
_INHERITED = re.compile(rb"_(.+)_([0-9]+)", re.DOTALL)


def frozen(inode: "Inode") -> "Inode":
    """As it is now, with all that is below: the same numbers, and never changed any more."""
    return replace(
        inode,
        frozen=True,
        data=bytearray(inode.data),
        names={name: frozen(child) for name, child in inode.names.items()},
        attributes=dict(inode.attributes),
        snapshots={},
        alternate_names={},
    )


def listed(way: Sequence["Inode"]) -> "Inode":
    """`.snap` of the last of these directories, which lead to it from the root."""
    here = way[-1]
    found = replace(here, frozen=True, attributes={}, names=dict(here.snapshots), lists=here)
    for above in way[:-1]:
        for name, top in above.snapshots.items():
            inside = next((each for each in _all(top) if each.ino == here.ino), None)
            if inside is not None:
                found.names[b"_%b_%d" % (name, above.ino)] = inside
    return found


def make(parent: "Inode", name: bytes, path: bytes) -> None:
    """A snapshot of the directory whose `.snap` this is."""
    assert parent.lists is not None
    if name in parent.names:
        raise error_of(errno.EEXIST, "mkdir", path)
    if name.startswith(b"_") or len(name) > 240:
        raise error_of(errno.EINVAL, "mkdir", path)
    parent.lists.snapshots[name] = frozen(parent.lists)


def remove(parent: "Inode", name: bytes, path: bytes) -> None:
    """Remove a snapshot."""
    assert parent.lists is not None
    if name.startswith(b"_"):
        raise error_of(errno.EINVAL, "rmdir", path)
    if name not in parent.lists.snapshots:
        raise error_of(errno.ENOENT, "rmdir", path)
    del parent.lists.snapshots[name]


def require_living(inode: "Inode", path: bytes | None = None) -> None:
    if inode.frozen:
        raise error_of(errno.EROFS, "change a snapshot", path)


def _all(top: "Inode") -> Iterator["Inode"]:
    yield top
    for child in top.names.values():
        if stat.S_ISDIR(child.mode):
            yield from _all(child)
