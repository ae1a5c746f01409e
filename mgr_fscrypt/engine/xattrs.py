"""Extended attributes, as users see them: theirs pass, as they are; those that hold the encryption do not.

Values are not encrypted, as the kernel does not encrypt them (doc/format.md): no key is needed for them.
`ceph.fscrypt.auth` reads in both modes as the kernel shows it, and cannot be changed; of the others that are ours
(doc/engine-xattr.md) nothing is seen at all.
"""

import errno

from ..ceph.errors import NoAttributeError
from ..ceph.interface import Kind, Mount
from ..format import AUTH_XATTR, Context
from .acls import ACCESS_ACL, permissions_of
from .errors import RefusedError
from .making import require_usable_mode

_OURS = ("trusted.fscrypt.", "ceph.fscrypt.")
_LAYOUT = "ceph.file.layout"
_OF_USERS = "user."


def shown(names: list[str]) -> list[str]:
    """Those that users may see."""
    return [name for name in names if not name.startswith(_OURS)]


def value(mount: Mount, stored: bytes, plain: bytes, name: str, context: Context | None) -> bytes:
    """An attribute of the inode at `stored`, whose context this is. `NoAttributeError` where there is none to see."""
    if not name.startswith(_OURS):
        return mount.getxattr(stored, name)
    if name == AUTH_XATTR and context is not None:
        return context.encode_auth()
    raise NoAttributeError(errno.ENODATA, f"no attribute {name}", plain)


def require_changeable(name: str, kind: Kind, plain: bytes) -> None:
    """May users set and remove this attribute?

    Raises:
        RefusedError: EPERM: it is ours, or a `user.*` attribute of what can have none (xattr(7)); EINVAL: the layout
            of a file.
    """
    if name.startswith(_OURS):
        raise RefusedError(
            errno.EPERM,
            f"{name} holds the encryption",
            plain,
            remedy="Leave it: nobody could read this any more. Nothing was changed.",
        )
    if name.startswith(_OF_USERS) and kind not in (Kind.FILE, Kind.DIRECTORY):
        raise RefusedError(
            errno.EPERM,
            f"a {kind.value} has no {_OF_USERS}* attributes",
            plain,
            remedy="Set it on a file or a directory. Nothing was changed.",
        )
    if name.startswith(_LAYOUT):
        raise RefusedError(
            errno.EINVAL,
            "files keep the layout that they were made with",
            plain,
            remedy="Give the directory a layout before it is made a subtree. Nothing was changed.",
        )


def require_usable_value(name: str, new: bytes, plain: bytes) -> None:
    """Raises `RefusedError` EINVAL for an ACL that is none, or whose mode marks what is half made."""
    if name == ACCESS_ACL:
        require_usable_mode(permissions_of(new, plain), plain)
