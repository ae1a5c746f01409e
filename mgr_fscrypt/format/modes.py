"""Encryption modes and policy flags by their numbers in the kernel (include/uapi/linux/fscrypt.h)."""

from enum import IntEnum, IntFlag


class Mode(IntEnum):
    """An encryption mode. The kernel knows all of these; ``SUPPORTED_MODES`` are the ones we have ciphers for."""

    AES_256_XTS = 1
    AES_256_CTS = 4
    AES_128_CBC = 5
    AES_128_CTS = 6
    SM4_XTS = 7
    SM4_CTS = 8
    ADIANTUM = 9
    AES_256_HCTR2 = 10

    @property
    def title(self) -> str:
        """The name that people know the mode by."""
        return _TITLES[self]

    @property
    def key_size(self) -> int:
        """Bytes of key that the mode takes (``fscrypt_modes`` in fs/crypto/keysetup.c)."""
        return _KEY_SIZES[self]


class Flags(IntFlag):
    """The policy's flags: two bits of padding and three ways to choose keys and IVs."""

    PAD_4 = 0x00
    PAD_8 = 0x01
    PAD_16 = 0x02
    PAD_32 = 0x03
    DIRECT_KEY = 0x04
    IV_INO_LBLK_64 = 0x08
    IV_INO_LBLK_32 = 0x10


PAD_MASK = 0x03
"""The two bits of the flags that say the padding: 4 << bits."""

SUPPORTED_MODES = frozenset({Mode.AES_256_XTS, Mode.AES_256_CTS, Mode.AES_128_CBC, Mode.AES_128_CTS})
"""Modes that this package has ciphers for."""

V1_PAIRS = frozenset(
    {
        (Mode.AES_256_XTS, Mode.AES_256_CTS),
        (Mode.AES_128_CBC, Mode.AES_128_CTS),
        (Mode.ADIANTUM, Mode.ADIANTUM),
    }
)
"""(contents, names) modes of v1 policies: ``fscrypt_valid_enc_modes_v1`` in fs/crypto/policy.c."""

V2_PAIRS = V1_PAIRS | {(Mode.AES_256_XTS, Mode.AES_256_HCTR2), (Mode.SM4_XTS, Mode.SM4_CTS)}
"""(contents, names) modes of v2 policies: ``fscrypt_valid_enc_modes_v2`` in fs/crypto/policy.c."""

_TITLES = {
    Mode.AES_256_XTS: "AES-256-XTS",
    Mode.AES_256_CTS: "AES-256-CBC-CTS",
    Mode.AES_128_CBC: "AES-128-CBC-ESSIV",
    Mode.AES_128_CTS: "AES-128-CBC-CTS",
    Mode.SM4_XTS: "SM4-XTS",
    Mode.SM4_CTS: "SM4-CBC-CTS",
    Mode.ADIANTUM: "Adiantum",
    Mode.AES_256_HCTR2: "AES-256-HCTR2",
}

_KEY_SIZES = {
    Mode.AES_256_XTS: 64,
    Mode.AES_256_CTS: 32,
    Mode.AES_128_CBC: 16,
    Mode.AES_128_CTS: 16,
    Mode.SM4_XTS: 32,
    Mode.SM4_CTS: 16,
    Mode.ADIANTUM: 32,
    Mode.AES_256_HCTR2: 32,
}
