"""What enciphers data units: one protocol, three implementations that answer the same bytes.

``accelerator`` (compiled, optional), ``libcrypto`` (OpenSSL by ctypes) and ``portable`` (``cryptography``, a
call for each unit). ``fastest`` picks one.
"""

from hashlib import sha256
from typing import Protocol

from .modes import Mode

ESSIV_BLOCK = 16


class UnitCipher(Protocol):
    """One key in one contents mode. Not for two threads at once."""

    def run(self, encrypt: bool, source: int, target: int, first_iv: int, units: int) -> None:
        """Encipher ``units`` data units from address ``source`` to ``target`` (the same or disjoint).

        The IV of a unit is le64 of its number, ``first_iv`` and up, and eight zero bytes; CBC enciphers that
        number once more (ESSIV). Raises ``ContentsError`` if the cipher fails.
        """

    def close(self) -> None:
        """Wipe the key schedules and free them; the cipher is not used again."""


class UnitCipherFactory(Protocol):
    """A way to make unit ciphers."""

    name: str

    def open(self, mode: Mode, key: bytes, unit_size: int) -> UnitCipher:
        """A cipher for AES-256-XTS or AES-128-CBC-ESSIV. Raises ``ContentsError`` if there is none."""


def essiv_key(key: bytes) -> bytes:
    """The AES-256 key that enciphers the IVs of CBC with this key (``essiv(cbc(aes),sha256)``)."""
    return sha256(key).digest()
