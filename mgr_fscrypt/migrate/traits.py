"""What belongs to an inode beside its contents: what is carried over, and compared."""

from dataclasses import dataclass, fields
from stat import S_IFLNK

from ..ceph.errors import NoAttributeError, NotFoundError
from ..ceph.interface import Kind
from ..engine import Attributes
from .marks import MARK
from .trees import Tree

QUOTAS = ("ceph.quota.max_bytes", "ceph.quota.max_files")
_NO_QUOTA = b"0"


@dataclass(frozen=True)
class Traits:
    """Times are whole seconds, as libcephfs's binding gives them. `attributes` are the extended ones, ACLs among them,
    and a directory's quotas. A symbolic link has no mode of its own."""

    kind_bits: int
    permissions: int
    uid: int
    gid: int
    mtime: int
    rdev: int
    target: bytes
    attributes: frozenset[tuple[str, bytes]]

    def differences(self, other: "Traits") -> tuple[str, ...]:
        """The names of what is not the same."""
        return tuple(
            each.name for each in fields(self) if getattr(self, each.name) != getattr(other, each.name)
        )


def traits_of(tree: Tree, path: bytes, found: Attributes) -> Traits:
    """Those of the inode at `path`, of which `found` was just seen."""
    link = found.kind_bits == S_IFLNK
    attributes = {(name, tree.getxattr(path, name)) for name in tree.listxattr(path) if name != MARK}
    if found.kind is Kind.DIRECTORY:
        attributes |= {(name, value) for name in QUOTAS if (value := _quota(tree, path, name)) != _NO_QUOTA}
    return Traits(
        kind_bits=found.kind_bits,
        permissions=0 if link else found.permissions,
        uid=found.uid,
        gid=found.gid,
        mtime=int(found.mtime),
        rdev=found.rdev,
        target=tree.readlink(path) if link else b"",
        attributes=frozenset(attributes),
    )


def give(tree: Tree, path: bytes, wanted: Traits, atime: float) -> None:
    """Give the inode at `path`, which is of its kind, these traits; what it has beyond them goes.

    The owner first, which takes set-user-ID bits away; ACLs before the mode, which is the last word; times at the end.
    """
    found = tree.stat(path)
    have = traits_of(tree, path, found)
    if have == wanted and int(found.atime) == int(atime):
        return
    if (have.uid, have.gid) != (wanted.uid, wanted.gid):
        tree.chown(path, wanted.uid, wanted.gid)
    for name in {name for name, _ in have.attributes} - {name for name, _ in wanted.attributes}:
        if name in QUOTAS:
            tree.setxattr(path, name, _NO_QUOTA)
        else:
            tree.removexattr(path, name)
    for name, value in sorted(wanted.attributes - have.attributes):
        tree.setxattr(path, name, value)
    # a new owner takes bits away, and an ACL is a mode as well
    same = (have.uid, have.gid, have.permissions, have.attributes) == (
        wanted.uid,
        wanted.gid,
        wanted.permissions,
        wanted.attributes,
    )
    if wanted.kind_bits != S_IFLNK and not same:
        tree.chmod(path, wanted.permissions)
    tree.utimens(path, atime, wanted.mtime)


def _quota(tree: Tree, path: bytes, name: str) -> bytes:
    try:
        return tree.getxattr(path, name)
    except (NoAttributeError, NotFoundError):
        return _NO_QUOTA
