"""Master keys, and the keys and IVs that fscrypt derives from them (fs/crypto/hkdf.c, keysetup.c, keysetup_v1.c)."""

import hmac
from dataclasses import dataclass
from enum import IntEnum

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .context import Context
from .errors import MasterKeyError, PolicyRefusedError
from .libcrypto import siphash_2_4
from .modes import Flags, Mode
from .policy import IDENTIFIER_SIZE, Policy

SMALLEST_MASTER_KEY = 32
LARGEST_MASTER_KEY = 64
NEW_KEY_SIZE = 64
"""Bytes of the keys that we make, and that new subtrees take; the kernel's largest (FSCRYPT_MAX_RAW_KEY_SIZE)."""


class HkdfContext(IntEnum):
    """The byte that says what HKDF's output is for (fs/crypto/fscrypt_private.h)."""

    KEY_IDENTIFIER = 1
    PER_FILE_KEY = 2
    IV_INO_LBLK_64_KEY = 4
    IV_INO_LBLK_32_KEY = 6
    INODE_HASH_KEY = 7


class Secretive:
    """Holds key bytes, so it is never pickled or copied: a task carries no key, a queue or cache neither."""

    __slots__ = ()

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("what holds a key is not pickled: hand over the key's identifier, or wrap the key")


class MasterKey(Secretive):
    """A secret of 32 to 64 bytes that everything below a policy is encrypted under.

    Its bytes never show in ``repr``, ``str`` or an exception; comparison takes constant time.
    """

    __slots__ = ("_identifier", "_secret")

    def __init__(self, secret: bytes) -> None:
        if not SMALLEST_MASTER_KEY <= len(secret) <= LARGEST_MASTER_KEY:
            raise MasterKeyError(
                f"a master key has {SMALLEST_MASTER_KEY} to {LARGEST_MASTER_KEY} bytes, not {len(secret)}"
            )
        self._secret = bytes(secret)
        self._identifier = self.hkdf(HkdfContext.KEY_IDENTIFIER, b"", IDENTIFIER_SIZE)

    def __repr__(self) -> str:
        return f"MasterKey({len(self._secret)} bytes, identifier {self.identifier.hex()})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MasterKey):
            return NotImplemented
        return hmac.compare_digest(self._secret, other._secret)

    def __hash__(self) -> int:
        return hash(self.identifier)

    def __len__(self) -> int:
        return len(self._secret)

    def expose(self) -> bytes:
        """The secret bytes, for wrapping them or giving them to the kernel; nothing else needs them."""
        return self._secret

    @property
    def identifier(self) -> bytes:
        """The 16-byte public name of the key in v2 policies."""
        return self._identifier

    def hkdf(self, context: HkdfContext, info: bytes, length: int) -> bytes:
        """fscrypt's HKDF-SHA512: no salt, info = ``fscrypt\\0`` + context byte + info (doc/format.md K1)."""
        full_info = b"fscrypt\0" + bytes([context]) + info
        return HKDF(algorithm=SHA512(), length=length, salt=None, info=full_info).derive(self._secret)

    def check_names(self, policy: Policy) -> None:
        """Raise ``MasterKeyError`` if the policy names another key. A v1 descriptor is free: it proves nothing."""
        if policy.version == 2 and not hmac.compare_digest(self.identifier, policy.key):
            raise MasterKeyError(
                f"the policy wants key {policy.key.hex()}, this one is {self.identifier.hex()}"
            )


@dataclass(frozen=True)
class Inode:
    """Which inode of which file system: only IV_INO_LBLK policies derive from it (never on CephFS)."""

    fs_uuid: bytes
    number: int


@dataclass(frozen=True)
class IvRule:
    """How the 64-bit number at the start of an IV follows from a data unit's number.

    ``(base + unit) % modulus``: base is 0 for per-file keys, the inode number << 32 for IV_INO_LBLK_64, and
    the hashed inode number, in 32 bits, for IV_INO_LBLK_32 (``fscrypt_generate_iv`` in fs/crypto/crypto.c).
    """

    base: int = 0
    units: int = 1 << 64
    modulus: int = 1 << 64

    def of(self, unit: int) -> int:
        """The IV's number of one data unit."""
        return (self.base + unit) % self.modulus


def derive_key(master: MasterKey, context: Context, mode: Mode, inode: Inode | None = None) -> bytes:
    """The key that this inode uses in this mode.

    Raises:
        MasterKeyError: the policy names another key, or a v1 policy needs a longer one.
        PolicyRefusedError: no cipher for the mode, or an IV_INO_LBLK policy without ``inode``.
    """
    policy = context.policy
    policy.check_ciphers()
    master.check_names(policy)
    if policy.version == 1:
        return _derive_v1(master, context.nonce, mode)
    if policy.flags & (Flags.IV_INO_LBLK_64 | Flags.IV_INO_LBLK_32):
        label = (
            HkdfContext.IV_INO_LBLK_64_KEY
            if policy.flags & Flags.IV_INO_LBLK_64
            else HkdfContext.IV_INO_LBLK_32_KEY
        )
        return master.hkdf(label, bytes([mode]) + _need(inode).fs_uuid, mode.key_size)
    return master.hkdf(HkdfContext.PER_FILE_KEY, context.nonce, mode.key_size)


def derive_iv_rule(master: MasterKey, policy: Policy, inode: Inode | None = None) -> IvRule:
    """How this inode's IVs are numbered. Raises ``PolicyRefusedError`` as ``derive_key``."""
    if policy.flags & Flags.IV_INO_LBLK_64:
        return IvRule(base=_need(inode).number << 32, units=1 << 32)
    if policy.flags & Flags.IV_INO_LBLK_32:
        hash_key = master.hkdf(HkdfContext.INODE_HASH_KEY, b"", 16)
        hashed = siphash_2_4(hash_key, _need(inode).number.to_bytes(8, "little"))
        return IvRule(base=hashed & 0xFFFFFFFF, units=1 << 32, modulus=1 << 32)
    return IvRule()


def _derive_v1(master: MasterKey, nonce: bytes, mode: Mode) -> bytes:
    if len(master) < mode.key_size:
        raise MasterKeyError(
            f"a v1 policy with {mode.title} needs a master key of at least {mode.key_size} bytes"
        )
    encryptor = Cipher(algorithms.AES128(nonce), modes.ECB()).encryptor()  # noqa: S305 - the kernel's v1 KDF
    return encryptor.update(master.expose()[: mode.key_size]) + encryptor.finalize()


def _need(inode: Inode | None) -> Inode:
    if inode is None:
        raise PolicyRefusedError("an IV_INO_LBLK policy derives from inode numbers: none was given")
    if len(inode.fs_uuid) != 16 or not 0 < inode.number < 1 << 32:
        raise PolicyRefusedError(
            f"IV_INO_LBLK wants a 16-byte UUID and an inode number of 32 bits, not {inode.number}"
        )
    return inode
