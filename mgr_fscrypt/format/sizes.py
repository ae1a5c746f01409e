"""Real sizes and raw sizes (doc/format.md Z1 to Z4; ``ceph_fill_inode`` in fs/ceph/inode.c)."""

from dataclasses import dataclass
from enum import Enum

from .errors import SizeFormatError

BLOCK_SIZE = 4096
"""Bytes of CephFS's encryption block, whatever the page size (CEPH_FSCRYPT_BLOCK_SIZE)."""
FILE_XATTR = "ceph.fscrypt.file"
"""The vxattr that carries ``encode_file_size()``."""
LARGEST_SIZE = (1 << 63) - BLOCK_SIZE
"""The largest real size whose raw size is still an loff_t."""


class SizeRule(Enum):
    """Why a file has the size that it has."""

    BELIEVED = "the stored real size, which belongs to the raw size"
    EMPTY = "zero, as the raw size is: a stored size is stale"
    ABSENT = "the raw size: no real size is stored"
    DISCARDED = "the raw size: the stored real size belongs to another content"


@dataclass(frozen=True)
class Size:
    """A file's size in bytes and the rule that gave it."""

    real: int
    rule: SizeRule


def raw_size(real: int) -> int:
    """The size that the MDS holds for a file of ``real`` bytes: rounded up to 4096."""
    if not 0 <= real <= LARGEST_SIZE:
        raise SizeFormatError(f"{real} bytes are no file's size")
    return -(-real // BLOCK_SIZE) * BLOCK_SIZE


def encode_file_size(real: int) -> bytes:
    """The value of ``ceph.fscrypt.file``: the real size, le64."""
    raw_size(real)
    return real.to_bytes(8, "little")


def decode_file_size(data: bytes) -> int:
    """The real size in a ``ceph.fscrypt.file`` value. Raises ``SizeFormatError`` unless 8 bytes of a file's size."""
    if len(data) != 8:
        raise SizeFormatError(f"{FILE_XATTR} has 8 bytes, not {len(data)}")
    real = int.from_bytes(data, "little")
    raw_size(real)
    return real


def believe_size(raw: int, file_value: bytes) -> Size:
    """What the kernel shows for a raw size and a ``ceph.fscrypt.file`` value (``b""`` where there is none).

    The stored size counts only if the raw size is not 0 and is the stored one rounded up. Truncating to 0
    leaves the old value behind, so a stale one is no error. Total: whatever the value, there is a size.
    """
    if raw == 0:
        return Size(0, SizeRule.EMPTY)
    if not file_value:
        return Size(raw, SizeRule.ABSENT)
    try:
        real = decode_file_size(file_value)
    except SizeFormatError:
        return Size(raw, SizeRule.DISCARDED)
    if raw_size(real) != raw:
        return Size(raw, SizeRule.DISCARDED)
    return Size(real, SizeRule.BELIEVED)
