"""Symlink targets as the reader sees them."""

import base64
import hashlib

from ..format import (
    Context,
    MasterKey,
    Target,
    TargetFormatError,
    decode_base64,
)

# fs/crypto/fname.c, struct fscrypt_nokey_name: two words of directory hash, which links do not have
_HASH_WORDS = bytes(8)
_SHOWN = 149


def plain_target(key: MasterKey, context: Context, stored: bytes) -> bytes:
    """The target that a stored one stands for. Raises `FormatError`."""
    return Target(key, context).decode(stored)


def locked_target(stored: bytes) -> bytes:
    """What the kernel shows for a target without its key (`fscrypt_fname_disk_to_usr`): base64url of the ciphertext,
    shortened with a SHA-256 of the rest where it is long.

    Raises:
        FormatError: not an encrypted target.
    """
    binary = decode_base64(stored)
    length = int.from_bytes(binary[:2], "little")
    ciphertext = binary[2 : 2 + length]
    if len(binary) < 2 or len(ciphertext) != length:
        raise TargetFormatError(f"a symlink target says {length} bytes and is stored in {len(binary)}")
    shown, rest = ciphertext[:_SHOWN], ciphertext[_SHOWN:]
    digest = hashlib.sha256(rest).digest() if rest else b""
    return base64.urlsafe_b64encode(_HASH_WORDS + shown + digest).rstrip(b"=")
