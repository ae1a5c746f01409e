"""Policies: which modes, padding and master key an encrypted directory tree uses.

The bytes are those of ``struct fscrypt_policy_v1`` (12) and ``struct fscrypt_policy_v2`` (24) as the
FS_IOC_*_ENCRYPTION_POLICY ioctls take them.
"""

import struct
from dataclasses import dataclass
from functools import lru_cache

from .errors import ContextError, PolicyRefusedError
from .modes import PAD_MASK, SUPPORTED_MODES, V1_PAIRS, V2_PAIRS, Flags, Mode

DESCRIPTOR_SIZE = 8
"""Bytes of a v1 policy's key descriptor."""
IDENTIFIER_SIZE = 16
"""Bytes of a v2 policy's key identifier."""

_V1 = struct.Struct("<BBBB8s")
_V2 = struct.Struct("<BBBBB3s16s")
_V1_POLICY_VERSION = 0
_V2_POLICY_VERSION = 2
_V1_FLAGS = PAD_MASK | int(Flags.DIRECT_KEY)
_V2_FLAGS = _V1_FLAGS | int(Flags.IV_INO_LBLK_64 | Flags.IV_INO_LBLK_32)
_KEY_AND_IV_FLAGS = (Flags.DIRECT_KEY, Flags.IV_INO_LBLK_64, Flags.IV_INO_LBLK_32)
_SMALLEST_UNIT = 9
_LARGEST_UNIT = 16
_CEPHFS_BLOCK = 12
_KNOWN = 256


@dataclass(frozen=True)
class Policy:
    """What the files of an encrypted tree have in common.

    ``key`` is the key identifier (16 bytes, version 2) or descriptor (8 bytes, version 1).
    ``log2_data_unit_size`` 0 means the file system's block: 4096 bytes on CephFS.
    Values that no kernel accepts raise ``ContextError`` (fs/crypto/policy.c, ``fscrypt_supported_policy``).
    """

    key: bytes
    contents_mode: Mode = Mode.AES_256_XTS
    names_mode: Mode = Mode.AES_256_CTS
    flags: Flags = Flags.PAD_32
    log2_data_unit_size: int = 0
    version: int = 2

    def __post_init__(self) -> None:
        pairs, flags, key_size = {
            1: (V1_PAIRS, _V1_FLAGS, DESCRIPTOR_SIZE),
            2: (V2_PAIRS, _V2_FLAGS, IDENTIFIER_SIZE),
        }.get(self.version, (None, 0, 0))
        if pairs is None:
            raise ContextError(f"policy version {self.version} is not known: 1 and 2 are")
        if len(self.key) != key_size:
            raise ContextError(
                f"a v{self.version} policy names its key in {key_size} bytes, not {len(self.key)}"
            )
        if (self.contents_mode, self.names_mode) not in pairs:
            raise ContextError(
                f"modes {self.contents_mode} and {self.names_mode} do not go together in a v{self.version} policy"
            )
        if not 0 <= self.flags <= 0xFF or int(self.flags) & ~flags:
            raise ContextError(f"flags {int(self.flags):#x} are not those of a v{self.version} policy")
        chosen = [flag for flag in _KEY_AND_IV_FLAGS if self.flags & flag]
        if len(chosen) > 1:
            raise ContextError(
                f"flags {int(self.flags):#x}: {' and '.join(str(f.name) for f in chosen)} exclude each other"
            )
        if Flags.DIRECT_KEY in chosen and self.contents_mode is not Mode.ADIANTUM:
            raise ContextError(f"DIRECT_KEY is for Adiantum, not {self.contents_mode.title}")
        if chosen and Flags.DIRECT_KEY not in chosen and self.contents_mode is not Mode.AES_256_XTS:
            raise ContextError(f"{chosen[0].name} is for AES-256-XTS, not {self.contents_mode.title}")
        unit = self.log2_data_unit_size
        if unit != 0 and (self.version == 1 or not _SMALLEST_UNIT <= unit <= _LARGEST_UNIT):
            raise ContextError(f"a v{self.version} policy cannot have data units of 2**{unit} bytes")

    @property
    def padding(self) -> int:
        """Names and targets are padded to a multiple of this many bytes: 4, 8, 16 or 32."""
        return 4 << (self.flags & PAD_MASK)

    @property
    def data_unit_size(self) -> int:
        """Bytes that are encrypted under one IV."""
        return 1 << (self.log2_data_unit_size or _CEPHFS_BLOCK)

    def encode(self) -> bytes:
        """The policy as the ioctl takes it: 12 or 24 bytes."""
        if self.version == 1:
            return _V1.pack(_V1_POLICY_VERSION, self.contents_mode, self.names_mode, self.flags, self.key)
        return _V2.pack(
            _V2_POLICY_VERSION,
            self.contents_mode,
            self.names_mode,
            self.flags,
            self.log2_data_unit_size,
            bytes(3),
            self.key,
        )

    @classmethod
    def decode(cls, data: bytes) -> "Policy":
        """Read the ioctl's bytes. A v1 *policy* has version byte 0, its *context* 1 (doc/format.md C2).

        Raises:
            ContextError: the bytes are no policy that a kernel accepts.
        """
        version = data[0] if data else None
        if version == _V1_POLICY_VERSION and len(data) == _V1.size:
            return cls.from_fields(1, data[1], data[2], data[3], 0, data[4:])
        if version == _V2_POLICY_VERSION and len(data) == _V2.size:
            if any(data[5:8]):
                raise ContextError(f"reserved bytes of the policy are {data[5:8].hex()}, not zero")
            return cls.from_fields(2, data[1], data[2], data[3], data[4], data[8:])
        raise ContextError(f"{len(data)} bytes with version byte {version} are no policy")

    @classmethod
    def from_fields(
        cls, version: int, contents: int, names: int, flags: int, log2_data_unit_size: int, key: bytes
    ) -> "Policy":
        """A policy from the numbers on disk. Raises ``ContextError`` where they are not a policy's."""
        return _from_fields(version, contents, names, flags, log2_data_unit_size, bytes(key))

    def check_ciphers(self) -> None:
        """Raise ``PolicyRefusedError`` if we have no cipher for one of its modes, naming the mode."""
        for mode in (self.contents_mode, self.names_mode):
            if mode not in SUPPORTED_MODES:
                raise PolicyRefusedError(
                    f"{mode.title} (mode {int(mode)}) is recognised but not implemented here"
                )

    def check_for_cephfs(self) -> None:
        """Raise ``PolicyRefusedError`` unless files under this policy can be read and written on CephFS.

        The kernel's CephFS refuses what its ``fscrypt_operations`` do not declare: IV_INO_LBLK_64/32 (no
        stable inode numbers) and any data unit size, even 12 (doc/format.md C5).
        """
        for flag in (Flags.IV_INO_LBLK_64, Flags.IV_INO_LBLK_32):
            if self.flags & flag:
                raise PolicyRefusedError(
                    f"{flag.name} policies do not exist on CephFS: the kernel answers EINVAL"
                )
        if self.log2_data_unit_size:
            raise PolicyRefusedError(
                f"CephFS does not support configuring the data unit size (2**{self.log2_data_unit_size} asked)"
            )
        self.check_ciphers()

    def check_new_for_cephfs(self) -> None:
        """As ``check_for_cephfs``, and refuse v1: it is read, but new policies are v2."""
        if self.version != 2:
            raise PolicyRefusedError("v1 policies are only read: make new directories with a v2 policy")
        self.check_for_cephfs()


# many inodes have one policy, and each look at one reads it again
@lru_cache(maxsize=_KNOWN)
def _from_fields(
    version: int, contents: int, names: int, flags: int, log2_data_unit_size: int, key: bytes
) -> Policy:
    try:
        contents_mode, names_mode = Mode(contents), Mode(names)
    except ValueError as error:
        raise ContextError(f"modes {contents} and {names}: {error}") from None
    return Policy(key, contents_mode, names_mode, Flags(flags), log2_data_unit_size, version)
