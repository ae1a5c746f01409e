"""The xattr ``trusted.fscrypt.engine``: context and real size of a regular file in engine mode (doc/engine-xattr.md).

56 bytes, little-endian: le32 version 1, the 40-byte v2 context, le64 real size, le32 CRC-32 of all before it.
The checksum is CRC-32 as zlib, gzip and IEEE 802.3 have it, because Python keeps it; it is there against torn
and foreign values, not against an attacker. This layout never changes: a new one would have a new version.
"""

import struct
import zlib
from dataclasses import dataclass

from .context import Context
from .errors import ContextError, SizeFormatError
from .sizes import raw_size

ENGINE_XATTR = "trusted.fscrypt.engine"

_RECORD = struct.Struct("<I40sQ")
_CHECKSUM = struct.Struct("<I")
_VERSION = 1
_SIZE = _RECORD.size + _CHECKSUM.size


@dataclass(frozen=True)
class EngineRecord:
    """What an engine-mode file carries beside its data. The context's policy is v2."""

    context: Context
    real_size: int

    def __post_init__(self) -> None:
        if self.context.policy.version != 2:
            raise ContextError("an engine record holds a v2 context: v1 policies are only read")
        raw_size(self.real_size)

    def believed_with(self, raw: int) -> bool:
        """Whether this real size belongs to a raw size of ``raw`` bytes; if not, the pair is in motion."""
        return raw_size(self.real_size) == raw

    def encode(self) -> bytes:
        """The xattr's value."""
        record = _RECORD.pack(_VERSION, self.context.encode(), self.real_size)
        return record + _CHECKSUM.pack(zlib.crc32(record))

    @classmethod
    def decode(cls, data: bytes) -> "EngineRecord":
        """Read the xattr's value.

        Raises:
            ContextError: another length, version or checksum, or a context or size that is not one.
        """
        if len(data) != _SIZE:
            raise ContextError(f"{ENGINE_XATTR} has {_SIZE} bytes, not {len(data)}")
        version, context, real_size = _RECORD.unpack_from(data)
        if _CHECKSUM.unpack_from(data, _RECORD.size) != (zlib.crc32(data[: _RECORD.size]),):
            raise ContextError(f"the checksum of {ENGINE_XATTR} does not fit: a torn or foreign value")
        if version != _VERSION:
            raise ContextError(f"{ENGINE_XATTR} has version {version}: only {_VERSION} is known")
        try:
            return cls(Context.decode(context), real_size)
        except SizeFormatError as error:
            raise ContextError(f"{ENGINE_XATTR}: {error}") from None
