"""The two fscrypt blobs of an inode as the MDS and libcephfs know them: opaque bytes under these names."""

AUTH = "ceph.fscrypt.auth"
FILE = "ceph.fscrypt.file"
LIMIT = 256
"""Bytes of either blob that libcephfs can give back (F2)."""

POLICY = bytes.fromhex("01000000 28000000 02010403 00000000") + bytes(range(32))
"""What a kernel would store in `AUTH`: header, v2 context with AES-256 modes, an identifier and a nonce."""


def size_field(size: int) -> bytes:
    """What a kernel would store in `FILE` for a file of `size` bytes."""
    return size.to_bytes(8, "little")
