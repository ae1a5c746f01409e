"""Known answers for unit ciphers: one that fails is never used."""

import ctypes
import logging
from hashlib import sha256

from .errors import ContentsError
from .modes import Mode
from .units import UnitCipherFactory

_log = logging.getLogger(__name__)

_UNIT = 4096
_UNITS = 5
_FIRST_IVS = (0, (1 << 32) - 3)
_ANSWERS = {
    Mode.AES_256_XTS: "fafa1a3f09c54df4dc17f96dea6767a39067b1d37011db84824784be110bf549",
    Mode.AES_128_CBC: "255ae1f7136bcc50fad240b5d989b8e0e772e4b2f63fa903b3d2601470676199",
}
"""SHA-256 of what ``cryptography`` (and the kernel: the vectors use the same path) encrypts the test data to."""


def passes_self_test(factory: UnitCipherFactory) -> bool:
    """Whether the factory's ciphers encrypt known data to known answers and decrypt them back. Warns if not."""
    try:
        wrong = [mode.title for mode, answer in _ANSWERS.items() if _digest(factory, mode) != answer]
    except ContentsError as error:
        _log.warning("the %s cipher failed its self-test and is not used: %s", factory.name, error)
        return False
    if wrong:
        _log.warning(
            "the %s cipher gave wrong answers for %s and is not used", factory.name, ", ".join(wrong)
        )
    return not wrong


def _digest(factory: UnitCipherFactory, mode: Mode) -> str:
    """The digest of the ciphertexts; empty if they do not decrypt to what they came from."""
    key = bytes(range(mode.key_size))
    size = _UNIT * _UNITS
    plain = bytes(index * 7 % 251 for index in range(size))
    data = ctypes.create_string_buffer(size)
    at = ctypes.addressof(data)
    digest = sha256()
    cipher = factory.open(mode, key, _UNIT)
    try:
        for first_iv in _FIRST_IVS:
            ctypes.memmove(at, plain, size)
            cipher.run(True, at, at, first_iv, _UNITS)
            digest.update(data.raw)
            cipher.run(False, at, at, first_iv, _UNITS)
            if data.raw != plain:
                return ""
    finally:
        cipher.close()
    return digest.hexdigest()
