"""What CephFS does with POSIX ACLs: children inherit the default one, and mode and access ACL follow each other."""

import errno
import stat
import struct
from typing import Protocol

from mgr_fscrypt.ceph.errors import error_of
from mgr_fscrypt.engine.acls import ACCESS_ACL, DEFAULT_ACL

OWNER, USER, GROUP, NAMED_GROUP, MASK, OTHERS = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
NOBODY = 0xFFFFFFFF

Entries = list[tuple[int, int, int]]
"""Tag, permissions, whose."""


class Inode(Protocol):
    mode: int
    attributes: dict[str, bytes]


def encode(*entries: tuple[int, int] | tuple[int, int, int]) -> bytes:
    """Of entries (tag, permissions) or (tag, permissions, whose)."""
    filled = [(*entry, NOBODY)[:3] for entry in entries]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in filled)


def decode(acl: bytes) -> Entries:
    return list(struct.iter_unpack("<HHI", acl[4:]))


def inherit(parent: dict[str, bytes], child: Inode) -> None:
    """A child that was just made with its mode."""
    default = parent.get(DEFAULT_ACL)
    if default is None or stat.S_ISLNK(child.mode):
        return
    entries = decode(default)
    child.attributes[ACCESS_ACL] = encode(*_limited(entries, child.mode, both=True))
    child.mode &= ~0o777 | _bits(decode(child.attributes[ACCESS_ACL]))
    if not _extended(entries):
        del child.attributes[ACCESS_ACL]
    if stat.S_ISDIR(child.mode):
        child.attributes[DEFAULT_ACL] = default


def follow_mode(inode: Inode) -> None:
    """After a chmod."""
    if ACCESS_ACL in inode.attributes:
        entries = decode(inode.attributes[ACCESS_ACL])
        inode.attributes[ACCESS_ACL] = encode(*_limited(entries, inode.mode, both=False))


def set_access(inode: Inode, acl: bytes) -> None:
    entries = decode(acl)
    inode.mode = inode.mode & ~0o777 | _bits(entries)
    inode.attributes.pop(ACCESS_ACL, None)
    if _extended(entries):
        inode.attributes[ACCESS_ACL] = acl


def require_fit(inode: Inode, name: str) -> None:
    """A default ACL is a directory's."""
    if name == DEFAULT_ACL and not stat.S_ISDIR(inode.mode):
        raise error_of(errno.EACCES, f"set {name}")


def _extended(entries: Entries) -> bool:
    return any(tag in (USER, NAMED_GROUP, MASK) for tag, _, _ in entries)


def _bits(entries: Entries) -> int:
    allowed = {tag: bits for tag, bits, _ in entries}
    return allowed[OWNER] << 6 | allowed.get(MASK, allowed[GROUP]) << 3 | allowed[OTHERS]


def _limited(entries: Entries, mode: int, *, both: bool) -> Entries:
    """With the mode's bits in the entries that stand for it; with `both`, what the ACL allows too."""
    masked = any(tag == MASK for tag, _, _ in entries)
    shifts = {OWNER: 6, MASK if masked else GROUP: 3, OTHERS: 0}
    limited = []
    for tag, bits, whose in entries:
        said = mode >> shifts[tag] & 7 if tag in shifts else bits
        limited.append((tag, bits & said if both else said, whose))
    return limited
