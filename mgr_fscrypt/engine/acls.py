"""POSIX ACLs (acl(5)), as far as making children needs to know them: Ceph keeps, enforces and inherits them.

A child of a directory with a default ACL gets that ACL and the mode that both allow (`posix_acl_create` of the kernel;
libcephfs does the same). Our children are made with a mark instead of their mode (`making`), so the mode that they get
last is worked out here: a plain chmod would give others what the default ACL denies them (doc/facts.md P3).
"""

import errno
import struct

from ..ceph.interface import Mount
from .errors import RefusedError
from .inodes import ByPath, optional

ACCESS_ACL = "system.posix_acl_access"
DEFAULT_ACL = "system.posix_acl_default"

# include/uapi/linux/posix_acl_xattr.h: a version, then entries of tag, permissions and whose
_VERSION = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
_KNOWN_VERSION = 2
_OWNER, _GROUP, _MASK, _OTHERS = 0x01, 0x04, 0x10, 0x20
_ALL = 0o777


def permissions_of(acl: bytes, plain: bytes) -> int:
    """The permission bits that go with an ACL; those of the group are its mask, where it has one.

    Raises:
        RefusedError: EINVAL: this is no ACL.
    """
    version, entries = acl[: _VERSION.size], acl[_VERSION.size :]
    if version != _VERSION.pack(_KNOWN_VERSION) or len(entries) % _ENTRY.size:
        raise _no_acl(plain)
    allowed: dict[int, int] = {tag: bits & 0o7 for tag, bits, _ in _ENTRY.iter_unpack(entries)}
    if not {_OWNER, _GROUP, _OTHERS} <= allowed.keys():
        raise _no_acl(plain)
    return allowed[_OWNER] << 6 | allowed.get(_MASK, allowed[_GROUP]) << 3 | allowed[_OTHERS]


def most_for_children(mount: Mount, stored: bytes, plain: bytes, umask: int) -> int:
    """The permission bits that a directory's default ACL leaves its new children; `umask` counts where it has none."""
    acl = optional(ByPath(mount, stored), DEFAULT_ACL)
    return _ALL & ~umask if acl is None else permissions_of(acl, plain)


def limited(mode: int, most: int) -> int:
    """The mode of a new child that is asked for with `mode`."""
    return mode & (most | ~_ALL)


def _no_acl(plain: bytes) -> RefusedError:
    return RefusedError(
        errno.EINVAL,
        "this is no POSIX ACL",
        plain,
        remedy="Set it with setfacl(1). Nothing was changed.",
    )
