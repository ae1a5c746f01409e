"""fscrypt's on-disk format as the Linux kernel writes it on CephFS: bytes in, bytes out.

Nothing here does I/O or knows Ceph's libraries. Start with ``MasterKey``, ``Policy`` and ``Context``; with
those, ``Names`` are a directory's names, ``Target`` is a symlink's target and ``Contents`` a file's data.
``believe_size`` says what size a file has, ``EngineRecord`` is the xattr of engine mode. All errors are
``FormatError``s. The format is told in doc/format.md.
"""

from .alphabet import decode_base64, encode_base64
from .contents import Contents
from .context import AUTH_XATTR, NONCE_SIZE, Context
from .engine_record import ENGINE_XATTR, EngineRecord
from .errors import (
    ContentsError,
    ContextError,
    FormatError,
    HashedNameError,
    MasterKeyError,
    NameFormatError,
    NameTooLongError,
    PolicyRefusedError,
    SizeFormatError,
    TargetFormatError,
)
from .keys import NEW_KEY_SIZE, Inode, MasterKey, Secretive
from .modes import Flags, Mode
from .names import NAME_MAX, NOHASH_MAX, Dentry, Names, decode_dentry, encode_dentry, padded_size
from .policy import DESCRIPTOR_SIZE, IDENTIFIER_SIZE, Policy
from .sizes import (
    BLOCK_SIZE,
    FILE_XATTR,
    LARGEST_SIZE,
    Size,
    SizeRule,
    believe_size,
    decode_file_size,
    encode_file_size,
    raw_size,
)
from .snapshots import SNAPSHOT_NAME_MAX, InheritedSnapshot, decode_snapshot, encode_snapshot
from .symlinks import TARGET_MAX, Target

__all__ = [
    "AUTH_XATTR",
    "BLOCK_SIZE",
    "DESCRIPTOR_SIZE",
    "ENGINE_XATTR",
    "FILE_XATTR",
    "IDENTIFIER_SIZE",
    "LARGEST_SIZE",
    "NAME_MAX",
    "NEW_KEY_SIZE",
    "NOHASH_MAX",
    "NONCE_SIZE",
    "SNAPSHOT_NAME_MAX",
    "TARGET_MAX",
    "Contents",
    "ContentsError",
    "Context",
    "ContextError",
    "Dentry",
    "EngineRecord",
    "Flags",
    "FormatError",
    "HashedNameError",
    "InheritedSnapshot",
    "Inode",
    "MasterKey",
    "MasterKeyError",
    "Mode",
    "NameFormatError",
    "NameTooLongError",
    "Names",
    "Policy",
    "PolicyRefusedError",
    "Secretive",
    "Size",
    "SizeFormatError",
    "SizeRule",
    "Target",
    "TargetFormatError",
    "believe_size",
    "decode_base64",
    "decode_dentry",
    "decode_file_size",
    "decode_snapshot",
    "encode_base64",
    "encode_dentry",
    "encode_file_size",
    "encode_snapshot",
    "padded_size",
    "raw_size",
]
