"""OpenSSL's libcrypto through ctypes: data units with the key scheduled once, and SipHash."""

import ctypes
import struct
from functools import cache

from .errors import ContentsError, PolicyRefusedError
from .modes import Mode
from .self_test import passes_self_test
from .units import ESSIV_BLOCK, UnitCipher, UnitCipherFactory, essiv_key

_LIBRARY = "libcrypto.so.3"
_UNCHANGED = -1
_OSSL_PARAM_UNSIGNED_INTEGER = 2
_SIPHASH_SIZE = 8


class _Param(ctypes.Structure):
    """``OSSL_PARAM``."""

    _fields_ = (
        ("key", ctypes.c_char_p),
        ("data_type", ctypes.c_uint),
        ("data", ctypes.c_void_p),
        ("data_size", ctypes.c_size_t),
        ("return_size", ctypes.c_size_t),
    )


class _Libcrypto:
    """The functions that we call. They keep the interpreter's lock: each takes less than taking it back."""

    def __init__(self) -> None:
        library = ctypes.PyDLL(_LIBRARY)
        pointer, integer, size = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t
        self.new = library.EVP_CIPHER_CTX_new
        self.new.restype, self.new.argtypes = pointer, []
        self.free = library.EVP_CIPHER_CTX_free
        self.free.restype, self.free.argtypes = None, [pointer]
        self.init = library.EVP_CipherInit_ex
        self.init.restype, self.init.argtypes = (
            integer,
            [pointer, pointer, pointer, pointer, pointer, integer],
        )
        self.update = library.EVP_CipherUpdate
        self.update.restype, self.update.argtypes = integer, [pointer, pointer, pointer, pointer, integer]
        self.set_padding = library.EVP_CIPHER_CTX_set_padding
        self.set_padding.restype, self.set_padding.argtypes = integer, [pointer, integer]
        self.mac = library.EVP_Q_mac
        self.mac.restype = pointer
        self.mac.argtypes = [pointer, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, pointer]
        self.mac.argtypes += [pointer, size, pointer, size, pointer, size, pointer]
        self.ciphers = {}
        for mode, function in (
            ("aes-256-xts", library.EVP_aes_256_xts),
            ("aes-128-cbc", library.EVP_aes_128_cbc),
            ("aes-256-ecb", library.EVP_aes_256_ecb),
        ):
            function.restype, function.argtypes = pointer, []
            self.ciphers[mode] = function()


@cache
def _libcrypto() -> _Libcrypto:
    return _Libcrypto()


def siphash_2_4(key: bytes, data: bytes) -> int:
    """SipHash-2-4 with a 64-bit result. IV_INO_LBLK_32 hashes inode numbers with it: never on CephFS.

    Raises:
        PolicyRefusedError: no OpenSSL 3 with SipHash on this machine.
    """
    size = ctypes.c_uint(_SIPHASH_SIZE)
    params = (_Param * 2)()
    params[0] = _Param(
        b"size",
        _OSSL_PARAM_UNSIGNED_INTEGER,
        ctypes.addressof(size),
        ctypes.sizeof(size),
        ctypes.c_size_t(-1).value,
    )
    result = ctypes.create_string_buffer(_SIPHASH_SIZE)
    length = ctypes.c_size_t()
    try:
        done = _libcrypto().mac(
            None,
            b"SIPHASH",
            None,
            None,
            params,
            key,
            len(key),
            data,
            len(data),
            result,
            len(result),
            ctypes.byref(length),
        )
    except OSError as error:
        raise PolicyRefusedError(f"IV_INO_LBLK_32 needs SipHash from OpenSSL 3: {error}") from None
    if not done or length.value != _SIPHASH_SIZE:
        raise PolicyRefusedError("IV_INO_LBLK_32 needs SipHash, which this OpenSSL does not have")
    return int.from_bytes(result.raw, "little")


class LibcryptoFactory:
    """Makes ciphers that call libcrypto twice for each unit: set the IV, encipher."""

    name = "libcrypto"

    def open(self, mode: Mode, key: bytes, unit_size: int) -> UnitCipher:
        """See ``UnitCipherFactory``."""
        library = _libcrypto()
        if mode is Mode.AES_256_XTS:
            return _XtsUnits(library, key, unit_size)
        if mode is Mode.AES_128_CBC:
            return _EssivUnits(library, key, unit_size)
        raise ContentsError(f"{mode.title} is no mode for contents")


def load_libcrypto_units() -> UnitCipherFactory | None:
    """The factory, once it passed its self-test; None where there is no OpenSSL 3."""
    try:
        _libcrypto()
    except (OSError, AttributeError):
        return None
    factory = LibcryptoFactory()
    return factory if passes_self_test(factory) else None


class _Context:
    """An EVP_CIPHER_CTX with its key; freeing it wipes the schedule."""

    def __init__(self, library: _Libcrypto, cipher: str, key: bytes, encrypt: bool) -> None:
        self._library = library
        self.pointer = library.new()
        zero_iv = bytes(ESSIV_BLOCK)
        if not self.pointer or not library.init(
            self.pointer, library.ciphers[cipher], None, key, zero_iv, int(encrypt)
        ):
            self.close()
            raise ContentsError(f"OpenSSL refuses this key for {cipher}")
        library.set_padding(self.pointer, 0)

    def close(self) -> None:
        self._library.free(self.pointer)
        self.pointer = None


class _Units:
    """A context for each direction."""

    def __init__(self, library: _Libcrypto, cipher: str, key: bytes, unit_size: int) -> None:
        self._library, self._unit_size = library, unit_size
        self._decrypt, self._encrypt = (_Context(library, cipher, key, encrypt) for encrypt in (False, True))

    def close(self) -> None:
        self._decrypt.close()
        self._encrypt.close()

    def _run(self, encrypt: bool, source: int, target: int, ivs: bytes, units: int) -> None:
        context = (self._encrypt if encrypt else self._decrypt).pointer
        init, update, size = self._library.init, self._library.update, self._unit_size
        written = ctypes.c_int()
        written_at = ctypes.addressof(written)
        iv_buffer = ctypes.create_string_buffer(ivs, len(ivs))
        first_iv = ctypes.addressof(iv_buffer)
        end = units * size
        for iv, source_at, target_at in zip(
            range(first_iv, first_iv + len(ivs), ESSIV_BLOCK),
            range(source, source + end, size),
            range(target, target + end, size),
            strict=True,
        ):
            if not (
                init(context, None, None, None, iv, _UNCHANGED)
                and update(context, target_at, written_at, source_at, size)
            ):
                raise ContentsError("OpenSSL failed to encipher a data unit: do not use the target")


class _XtsUnits(_Units):
    def __init__(self, library: _Libcrypto, key: bytes, unit_size: int) -> None:
        super().__init__(library, "aes-256-xts", key, unit_size)

    def run(self, encrypt: bool, source: int, target: int, first_iv: int, units: int) -> None:
        self._run(encrypt, source, target, _numbers(first_iv, units), units)


class _EssivUnits(_Units):
    def __init__(self, library: _Libcrypto, key: bytes, unit_size: int) -> None:
        super().__init__(library, "aes-128-cbc", key, unit_size)
        self._essiv = _Context(library, "aes-256-ecb", essiv_key(key), True)

    def run(self, encrypt: bool, source: int, target: int, first_iv: int, units: int) -> None:
        numbers = _numbers(first_iv, units)
        ivs = ctypes.create_string_buffer(len(numbers))
        written = ctypes.c_int()
        if not self._library.update(self._essiv.pointer, ivs, ctypes.byref(written), numbers, len(numbers)):
            raise ContentsError("OpenSSL failed to encipher the IVs: nothing was written")
        self._run(encrypt, source, target, ivs.raw, units)

    def close(self) -> None:
        super().close()
        self._essiv.close()


def _numbers(first_iv: int, units: int) -> bytes:
    """The IVs le64(number), le64(0) one after the other."""
    words = [0] * (2 * units)
    words[::2] = range(first_iv, first_iv + units)
    return struct.pack(f"<{2 * units}Q", *words)
