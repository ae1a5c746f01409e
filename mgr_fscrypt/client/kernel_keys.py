"""The Linux kernel's own fscrypt: the ioctls that put keys into a mounted file system and take them out.

Numbers and layouts are those of include/uapi/linux/fscrypt.h (Linux 5.4 and newer), and ioctl numbers as
asm-generic/ioctl.h makes them (x86-64, arm64, riscv64, s390x; not powerpc, mips or sparc):

====  ====  =====  ==================================================================================
 nr    dir  bytes  argument
====  ====  =====  ==================================================================================
 22    WR       9  u64 size of the buffer behind (out: of the policy), policy of 12 or 24 bytes
 23    WR      80  key name, u32 bytes of the key, u32 key_id (0: the key is behind), 32 zeros; the key
 24    WR      64  key name, out: u32 flags, 20 zeros
 25    WR      64  the same, for all users
 26    WR     128  key name, 24 zeros, out: u32 status, u32 flags, u32 users, 52 reserved
 27     R      16  out: the nonce
====  ====  =====  ==================================================================================

A key name (struct fscrypt_key_specifier) is u32 type, u32 zero, and 32 bytes that begin with a v1 policy's
descriptor (type 1) or a v2 policy's identifier (type 2). Integers have the machine's order.

A key belongs to the mounted file system (the superblock), not to a process or mount namespace: whoever adds it
unlocks the files for everybody who may reach them by their modes. The kernel counts the users who added it, and
takes it out when the last of them removes it (Documentation/filesystems/fscrypt.rst).
"""

import errno
import fcntl
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from ..format import DESCRIPTOR_SIZE, NONCE_SIZE, MasterKey, Policy

Ioctl = Callable[[int, int, bytearray], object]
"""ioctl(2): descriptor, request, argument, which it changes in place. Raises ``OSError``."""

_POLICY = struct.Struct("=Q24s")
_KEY_NAME = struct.Struct("=II32s")
_ADD = struct.Struct(f"={_KEY_NAME.size}sII32s")
_REMOVE = struct.Struct(f"={_KEY_NAME.size}sI20s")
_STATUS = struct.Struct(f"={_KEY_NAME.size}s24sIII52s")

_BY_DESCRIPTOR, _BY_IDENTIFIER = 1, 2
_FILES_BUSY, _OTHER_USERS = 1, 2
_ADDED_BY_SELF = 1


def _request(number: int, size: int) -> int:
    """_IOWR('f', number, size)."""
    return 3 << 30 | size << 16 | ord("f") << 8 | number


_GET_POLICY = _request(22, 9)
_ADD_KEY = _request(23, _ADD.size)
_REMOVE_KEY = _request(24, _REMOVE.size)
_REMOVE_KEY_ALL_USERS = _request(25, _REMOVE.size)
_GET_KEY_STATUS = _request(26, _STATUS.size)
_GET_NONCE = 2 << 30 | NONCE_SIZE << 16 | ord("f") << 8 | 27
"""_IOR('f', 27, __u8[16])."""


class Presence(Enum):
    """Whether the kernel has a key for a file system (FSCRYPT_KEY_STATUS_*)."""

    ABSENT = 1
    PRESENT = 2
    INCOMPLETELY_REMOVED = 3
    """The key is gone; files that were in use at that moment are still readable by their own keys."""

    @property
    def title(self) -> str:
        """The name that people and programs get."""
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True)
class KeyStatus:
    """What the kernel says of a key.

    Args:
        presence: whether it has it.
        users: how many users added it, and have not removed it.
        added_by_self: the caller is one of them. The kernel names no others.
    """

    presence: Presence
    users: int
    added_by_self: bool

    @property
    def others(self) -> int:
        """How many users other than the caller added it."""
        return self.users - self.added_by_self


@dataclass(frozen=True)
class Removal:
    """What was left after a key was removed.

    Args:
        files_busy: files in use stay readable; the key itself is gone.
        other_users: other users added it too, so it stays, for everybody.
    """

    files_busy: bool
    other_users: bool


class KernelKeys:
    """The keys of one mounted file system.

    Args:
        descriptor: an open directory or file of it, not with O_PATH; stays the caller's.
        ioctl: how the kernel is asked.

    All methods raise ``OSError``: ENOTTY where the file system or the kernel has no fscrypt at all, EOPNOTSUPP
    where this file system has it switched off.
    """

    def __init__(self, descriptor: int, ioctl: Ioctl = fcntl.ioctl) -> None:
        self._descriptor = descriptor
        self._ioctl = ioctl

    def policy(self) -> Policy | None:
        """Give the policy of the open directory or file; None when it is not encrypted. Needs no key.

        Raises:
            ContextError: the kernel has a policy of a version or modes that we do not know.
        """
        argument = bytearray(_POLICY.pack(_POLICY.size - 8, b""))
        try:
            self._ioctl(self._descriptor, _GET_POLICY, argument)
        except OSError as error:
            if error.errno == errno.ENODATA:
                return None
            raise
        size, policy = _POLICY.unpack(argument)
        return Policy.decode(policy[:size])

    def nonce(self) -> bytes:
        """Give the nonce of the open directory or file, which needs no key. Raises ENODATA when it is not encrypted."""
        argument = bytearray(NONCE_SIZE)
        self._ioctl(self._descriptor, _GET_NONCE, argument)
        return bytes(argument)

    def add(self, key: MasterKey) -> bytes:
        """Add a key for the calling user, and give the identifier that the kernel computed of it (16 bytes).

        Adding it once more changes nothing. One that was removed incompletely is whole again.

        Raises:
            OSError: also EDQUOT, when the user has added too many keys (fscrypt.rst; root cannot).
        """
        secret = key.expose()
        argument = bytearray(_ADD.pack(_key_name(b"", _BY_IDENTIFIER), len(secret), 0, b"") + secret)
        self._ioctl(self._descriptor, _ADD_KEY, argument)
        _, _, name = _KEY_NAME.unpack_from(argument)
        return bytes(name[: len(key.identifier)])

    def remove(self, name: bytes, *, all_users: bool = False) -> Removal:
        """Remove the calling user's claim on a key, or those of all users; without claims the key goes.

        Called again for a key that was removed incompletely, it tries again.

        Args:
            name: identifier (16 bytes) or descriptor (8 bytes) of the key, as in a policy.
            all_users: for root only.

        Raises:
            OSError: also ENOKEY, when the key is not there or the user has not added it, and EACCES.
        """
        argument = bytearray(_REMOVE.pack(_key_name(name), 0, b""))
        self._ioctl(self._descriptor, _REMOVE_KEY_ALL_USERS if all_users else _REMOVE_KEY, argument)
        _, flags, _ = _REMOVE.unpack(argument)
        return Removal(files_busy=bool(flags & _FILES_BUSY), other_users=bool(flags & _OTHER_USERS))

    def status(self, name: bytes) -> KeyStatus:
        """Tell whether the kernel has a key; any user may ask. `name` is as for `remove`."""
        argument = bytearray(_STATUS.pack(_key_name(name), b"", 0, 0, 0, b""))
        self._ioctl(self._descriptor, _GET_KEY_STATUS, argument)
        _, _, presence, flags, users, _ = _STATUS.unpack(argument)
        return KeyStatus(Presence(presence), users, bool(flags & _ADDED_BY_SELF))


def _key_name(name: bytes, kind: int | None = None) -> bytes:
    if kind is None:
        kind = _BY_DESCRIPTOR if len(name) == DESCRIPTOR_SIZE else _BY_IDENTIFIER
    return _KEY_NAME.pack(kind, 0, name)
