"""File names: encrypted under the directory's key, padded, and written as dentries.

The rules are N1 to N5 of doc/format.md; fs/crypto/fname.c.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeVar

from . import cts
from .alphabet import decode_base64, encode_base64
from .context import Context
from .errors import HashedNameError, NameFormatError, NameTooLongError
from .keys import Inode, MasterKey, Secretive, derive_iv_rule, derive_key

T = TypeVar("T")

NAME_MAX = 255
"""Bytes that a plain name, and its ciphertext, can have."""
NOHASH_MAX = 148
"""Ciphertexts above this many bytes are stored hashed, with an alternate name (CEPH_NOHASH_NAME_MAX)."""
SMALLEST_CIPHERTEXT = 16
HASHED_SIZE = NOHASH_MAX + sha256().digest_size


def padded_size(size: int, padding: int, limit: int = NAME_MAX) -> int:
    """Ciphertext bytes of ``size`` plain ones: at least 16, a multiple of ``padding``, capped at ``limit``."""
    return min(-(-max(size, SMALLEST_CIPHERTEXT) // padding) * padding, limit)


@dataclass(frozen=True)
class Dentry:
    """A name as the MDS stores it. ``alternate_name`` is empty unless ``dname`` is in hashed form.

    A dentry in hashed form without its alternate name is poison for kernel clients (doc/format.md N4): who
    cannot set alternate names (doc/facts.md F8) must not create one: see ``is_hashed``.
    """

    dname: bytes
    alternate_name: bytes = b""

    @property
    def is_hashed(self) -> bool:
        """Whether the name needs its alternate name to be read back."""
        return bool(self.alternate_name)


def encode_dentry(ciphertext: bytes) -> Dentry:
    """A name's ciphertext as dentry: base64, or above 148 bytes 240 characters and an alternate name."""
    if len(ciphertext) <= NOHASH_MAX:
        return Dentry(encode_base64(ciphertext))
    digest = sha256(ciphertext[NOHASH_MAX:]).digest()
    return Dentry(encode_base64(ciphertext[:NOHASH_MAX] + digest), bytes(ciphertext))


def decode_dentry(dentry: Dentry) -> bytes:
    """The ciphertext that a dentry stands for.

    Raises:
        HashedNameError: hashed form without alternate name.
        NameFormatError: not base64, no possible length, or an alternate name that does not belong to it.
    """
    stored = decode_base64(dentry.dname)
    if dentry.alternate_name:
        ciphertext = bytes(dentry.alternate_name)
        if not NOHASH_MAX < len(ciphertext) <= NAME_MAX or encode_dentry(ciphertext) != dentry:
            raise NameFormatError(f"the alternate name of {dentry.dname!r} belongs to another name")
        return ciphertext
    if len(stored) == HASHED_SIZE:
        raise HashedNameError(
            f"{dentry.dname!r} is hashed and its alternate name is not here: not recoverable"
        )
    if not SMALLEST_CIPHERTEXT <= len(stored) <= NOHASH_MAX:
        raise NameFormatError(f"{dentry.dname!r} holds {len(stored)} bytes: no name's ciphertext")
    return stored


class Names(Secretive):
    """The names in one directory: its context and the master key give the key.

    Raises (all methods and the constructor): ``MasterKeyError`` and ``PolicyRefusedError`` as ``derive_key``.
    """

    def __init__(self, master: MasterKey, directory: Context, inode: Inode | None = None) -> None:
        policy = directory.policy
        self._padding = policy.padding
        self._key = derive_key(master, directory, policy.names_mode, inode)
        self._iv = derive_iv_rule(master, policy, inode).of(0).to_bytes(16, "little")

    def encrypt(self, plain: bytes) -> bytes:
        """The ciphertext of a plain name.

        Raises:
            NameTooLongError: above 255 bytes.
            NameFormatError: empty, ``.``, ``..``, or with a slash or NUL.
        """
        if len(plain) > NAME_MAX:
            raise NameTooLongError(f"a name of {len(plain)} bytes: {NAME_MAX} is the most")
        _check_plain(plain)
        return cts.encrypt(self._key, self._iv, plain.ljust(padded_size(len(plain), self._padding), b"\0"))

    def decrypt(self, ciphertext: bytes) -> bytes:
        """The plain name of a ciphertext.

        Stricter than the kernel, which cuts at the first NUL whatever the padding: a name is taken only as
        ``encrypt`` writes it, so each name has one ciphertext, which a lookup finds again. Otherwise whoever holds
        the ciphertexts could cut names short, as CBC lets them: the last 16 of 32 bytes are the ciphertext of the
        first 16 characters. No writer pads otherwise: CTS needs 16 bytes, and kernels refuse fewer.

        Raises:
            NameFormatError: no possible length, or it decrypts to something that is no name of this length:
                another key's or directory's, or damaged.
        """
        if not SMALLEST_CIPHERTEXT <= len(ciphertext) <= NAME_MAX:
            raise NameFormatError(f"{len(ciphertext)} bytes are no name's ciphertext: 16 to {NAME_MAX} are")
        return self._unpadded(cts.decrypt(self._key, self._iv, bytes(ciphertext)))

    def encode(self, plain: bytes) -> Dentry:
        """A plain name as the dentry that the kernel would make. Raises as ``encrypt``."""
        return encode_dentry(self.encrypt(plain))

    def decode(self, dname: bytes, alternate_name: bytes = b"") -> bytes:
        """The plain name of a dentry. Raises as ``decode_dentry`` and ``decrypt``."""
        return self.decrypt(decode_dentry(Dentry(dname, alternate_name)))

    def decode_all(self, dnames: Sequence[bytes]) -> list[bytes | NameFormatError]:
        """As ``decode`` of each, without alternate names, for much less: its plain name, or what ``decode`` raises."""
        stored = [_attempt(decode_dentry, Dentry(dname)) for dname in dnames]
        found = iter(
            cts.decrypt_all(self._key, self._iv, [each for each in stored if isinstance(each, bytes)])
        )
        return [_attempt(self._unpadded, next(found)) if isinstance(each, bytes) else each for each in stored]

    def _unpadded(self, padded: bytes) -> bytes:
        plain = padded.rstrip(b"\0")
        _check_plain(plain)
        if padded_size(len(plain), self._padding) != len(padded):
            raise NameFormatError(f"a name of {len(plain)} bytes is not stored in {len(padded)}")
        return plain


def _attempt(act: Callable[[T], bytes], given: T) -> bytes | NameFormatError:
    try:
        return act(given)
    except NameFormatError as error:
        return error


def _check_plain(plain: bytes) -> None:
    if plain in (b"", b".", b"..") or b"/" in plain or b"\0" in plain:
        raise NameFormatError(f"{plain!r} is no name that a directory can hold")
