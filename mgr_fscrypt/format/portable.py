"""Data units through ``cryptography``: slow and plain, what the faster implementations are measured by."""

import ctypes

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from .errors import ContentsError
from .modes import Mode
from .units import ESSIV_BLOCK, UnitCipher, essiv_key


class PortableFactory:
    """Makes ciphers that call ``cryptography`` once for each unit."""

    name = "portable"

    def open(self, mode: Mode, key: bytes, unit_size: int) -> UnitCipher:
        """See ``UnitCipherFactory``."""
        return _PortableUnits(mode, key, unit_size)


class _PortableUnits:
    def __init__(self, mode: Mode, key: bytes, unit_size: int) -> None:
        if mode not in (Mode.AES_256_XTS, Mode.AES_128_CBC):
            raise ContentsError(f"{mode.title} is no mode for contents")
        self._mode, self._key, self._unit_size = mode, key, unit_size

    def run(self, encrypt: bool, source: int, target: int, first_iv: int, units: int) -> None:
        size = self._unit_size
        for unit in range(units):
            data = ctypes.string_at(source + unit * size, size)
            ctypes.memmove(target + unit * size, self._unit(encrypt, first_iv + unit, data), size)

    def close(self) -> None:
        self._key = b""

    def _unit(self, encrypt: bool, number: int, data: bytes) -> bytes:
        iv = number.to_bytes(ESSIV_BLOCK, "little")
        try:
            cipher = self._xts(iv) if self._mode is Mode.AES_256_XTS else self._cbc(iv)
        except ValueError as error:
            raise ContentsError(f"the cipher refuses this key: {error}") from None
        context = cipher.encryptor() if encrypt else cipher.decryptor()
        return context.update(data) + context.finalize()

    def _xts(self, iv: bytes) -> Cipher[modes.XTS]:
        return Cipher(algorithms.AES(self._key), modes.XTS(iv))

    def _cbc(self, iv: bytes) -> Cipher[modes.CBC]:
        encryptor = Cipher(algorithms.AES256(essiv_key(self._key)), modes.ECB()).encryptor()  # noqa: S305 - ESSIV
        return Cipher(algorithms.AES(self._key), modes.CBC(encryptor.update(iv)))
