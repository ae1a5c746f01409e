"""A kernel's mount of a fake cluster, as far as names go (engine/kernel_names.py)."""

import errno
import stat
from collections.abc import Iterator

from mgr_fscrypt.ceph.interface import Kind
from mgr_fscrypt.format import AUTH_XATTR, Context, MasterKey, Names

from .ceph import FakeCluster, Inode


class FakeKernel:
    """A kernel's mount of a fake cluster, with the key.

    Attributes:
        believes: how often it says that a new name is taken, whatever is there.
        refuses: its errno for every rename.
        meanwhile: what somebody else puts in the place of a name when it is renamed to, which fails then.
    """

    def __init__(self, cluster: FakeCluster, key: MasterKey) -> None:
        self._cluster = cluster
        self._key = key
        self.believes = 0
        self.refuses = 0
        self.meanwhile: Inode | None = None

    def make_empty(self, path: bytes, context: Context, name: bytes, *, directory: bool) -> int:
        there, names = self._directory(path, context), Names(self._key, context)
        dentry = names.encode(name)
        if self.believes:
            self.believes -= 1
            raise FileExistsError(errno.EEXIST, "taken, it believes")
        if dentry.dname in there.names:
            raise FileExistsError(errno.EEXIST, "taken")
        made = self._cluster.inode((stat.S_IFDIR if directory else stat.S_IFREG) | 0o600)
        there.names[dentry.dname] = made
        there.alternate_names[dentry.dname] = dentry.alternate_name
        return made.ino

    def rename(self, path: bytes, context: Context, old: bytes, new: bytes) -> None:
        there, names = self._directory(path, context), Names(self._key, context)
        dentry = names.encode(new)
        if self.meanwhile is not None:
            there.names[dentry.dname] = self.meanwhile
        if self.refuses:
            raise OSError(self.refuses, "refused")
        there.names[dentry.dname] = there.names.pop(names.encode(old).dname)
        there.alternate_names.pop(names.encode(old).dname, None)
        if dentry.is_hashed:
            there.alternate_names[dentry.dname] = dentry.alternate_name

    def _directory(self, path: bytes, context: Context) -> Inode:
        (found,) = (
            one
            for one in _below(self._cluster.root)
            if one.attributes.get(AUTH_XATTR) == context.encode_auth() and one.kind is Kind.DIRECTORY
        )
        return found


def _below(inode: Inode) -> Iterator[Inode]:
    yield inode
    for each in inode.names.values():
        yield from _below(each)
