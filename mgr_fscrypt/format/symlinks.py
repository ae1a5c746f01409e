"""Symlink targets: encrypted under the symlink's own key (doc/format.md L1, fs/crypto/hooks.c)."""

import struct

from . import cts
from .alphabet import decode_base64, encode_base64
from .context import Context
from .errors import NameFormatError, NameTooLongError, TargetFormatError
from .keys import Inode, MasterKey, Secretive, derive_iv_rule, derive_key
from .names import SMALLEST_CIPHERTEXT, padded_size

TARGET_MAX = 4093
"""Bytes that a plain target, and its ciphertext, can have: PATH_MAX less the length field and a NUL."""

_LENGTH = struct.Struct("<H")


class Target(Secretive):
    """The target of one symlink: the link's own context and the master key give the key."""

    def __init__(self, master: MasterKey, symlink: Context, inode: Inode | None = None) -> None:
        policy = symlink.policy
        self._padding = policy.padding
        self._key = derive_key(master, symlink, policy.names_mode, inode)
        self._iv = derive_iv_rule(master, policy, inode).of(0).to_bytes(16, "little")

    def encrypt(self, plain: bytes) -> bytes:
        """le16 length and ciphertext, as ext4 stores them.

        Raises:
            NameTooLongError: above 4093 bytes.
            TargetFormatError: empty, or with a NUL.
        """
        if len(plain) > TARGET_MAX:
            raise NameTooLongError(f"a symlink target of {len(plain)} bytes: {TARGET_MAX} is the most")
        _check_plain(plain)
        size = padded_size(len(plain), self._padding, TARGET_MAX)
        return _LENGTH.pack(size) + cts.encrypt(self._key, self._iv, plain.ljust(size, b"\0"))

    def decrypt(self, stored: bytes) -> bytes:
        """The plain target of what ``encrypt`` makes; one NUL may follow, or not, as the kernel takes both.

        Padding other than the policy's is taken, too: libcephfs of Ceph's Umbrella always pads to 32.

        Raises:
            TargetFormatError: the length field and the bytes do not fit, or it decrypts to no target.
        """
        if len(stored) < _LENGTH.size:
            raise TargetFormatError(f"{len(stored)} bytes are no encrypted symlink target")
        (size,) = _LENGTH.unpack_from(stored)
        ciphertext, rest = stored[_LENGTH.size : _LENGTH.size + size], stored[_LENGTH.size + size :]
        if (
            not SMALLEST_CIPHERTEXT <= size <= TARGET_MAX
            or len(ciphertext) != size
            or rest not in (b"", b"\0")
        ):
            raise TargetFormatError(f"a symlink target says {size} bytes and is stored in {len(stored)}")
        plain = cts.decrypt(self._key, self._iv, bytes(ciphertext)).rstrip(b"\0")
        _check_plain(plain)
        return plain

    def encode(self, plain: bytes) -> bytes:
        """The target as CephFS stores it: base64 of length, ciphertext and one NUL. Raises as ``encrypt``."""
        return encode_base64(self.encrypt(plain) + b"\0")

    def decode(self, stored: bytes) -> bytes:
        """The plain target of a CephFS symlink. Raises ``TargetFormatError`` as ``decrypt``, or if not base64."""
        try:
            binary = decode_base64(stored)
        except NameFormatError as error:
            raise TargetFormatError(f"a symlink target that is not encrypted: {error}") from None
        return self.decrypt(binary)


def _check_plain(plain: bytes) -> None:
    if not plain or b"\0" in plain:
        raise TargetFormatError("a symlink target is empty or has a NUL inside")
