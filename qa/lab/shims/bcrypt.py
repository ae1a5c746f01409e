"""The three functions of `bcrypt` that Ceph 18.2's manager needs, over the system's libcrypt.

That manager runs each module in a sub-interpreter, where PyO3 extensions such as the real `bcrypt` cannot be
imported under Python 3.12 and newer: without this on the module path, no module loads at all (doc/facts.md M1).
Only the lab's clusters of that release have it.
"""

import ctypes
import os

_libcrypt = ctypes.CDLL("libcrypt.so.1")
_libcrypt.crypt.restype = ctypes.c_char_p
_libcrypt.crypt.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
_libcrypt.crypt_gensalt.restype = ctypes.c_char_p
_libcrypt.crypt_gensalt.argtypes = [ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_int]


def gensalt(rounds: int = 12, prefix: bytes = b"2b") -> bytes:
    """A fresh salt of the given cost."""
    salt: bytes = _libcrypt.crypt_gensalt(b"$" + prefix + b"$", rounds, os.urandom(16), 16)
    return salt


def hashpw(password: bytes, salt: bytes) -> bytes:
    """The hash of a password under a salt."""
    digest: bytes = _libcrypt.crypt(password, salt)
    return digest


def checkpw(password: bytes, hashed: bytes) -> bool:
    """Whether a password has that hash."""
    return hashpw(password, hashed) == hashed
