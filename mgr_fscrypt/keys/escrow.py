"""Protectors that an organisation's offline key opens: RSA-OAEP (RFC 8017) with SHA-256 wraps a random wrapping key.

Whoever makes one has the public key only.
"""

import os

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from cryptography.x509 import load_pem_x509_certificate

from .binding import Binding
from .errors import RefusedError, WrongSecretError
from .opener import WRAPPING_KEY, Parameters
from .parameters import encoded, octets, text

SMALLEST = 3072
"""Bits of the organisation's key (NIST SP 800-57: 128 bits of strength)."""
_PADDING = padding.OAEP(mgf=padding.MGF1(SHA256()), algorithm=SHA256(), label=b"cephfs-fscrypt escrow")


class Escrow:
    """The organisation's key, the public half or both.

    Args:
        pem: a public key, a certificate or a private key, as PEM.
        password: of the private key, if it has one.

    Raises:
        RefusedError: it is no RSA key, too short, or cannot be read.
        WrongSecretError: the password is wrong, or is missing.
    """

    kind = "escrow"

    def __init__(self, pem: bytes, password: bytes | None = None) -> None:
        self._private: rsa.RSAPrivateKey | None = None
        found = _read(pem, password)
        if isinstance(found, rsa.RSAPrivateKey):
            self._private, found = found, found.public_key()
        if not isinstance(found, rsa.RSAPublicKey) or found.key_size < SMALLEST:
            raise RefusedError(
                f"escrow takes an RSA key of at least {SMALLEST} bits",
                remedy="Make one with `openssl genrsa -aes256 -out escrow.pem 4096`, and keep it offline.",
            )
        self._public = found

    @property
    def opens(self) -> bool:
        """See `Opener`: with the private half."""
        return self._private is not None

    @property
    def fingerprint(self) -> str:
        """Which key it is: SHA-256 of its SubjectPublicKeyInfo (RFC 5280)."""
        digest = Hash(SHA256())
        digest.update(self._public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        return digest.finalize().hex()

    def is_for(self, parameters: Parameters) -> bool:
        """Is something in escrow for this key? The public half tells."""
        return text(parameters, "public_key") == self.fingerprint

    def begin(self, binding: Binding) -> tuple[Parameters, bytes]:
        """See `Opener`. The public half does."""
        wrapping_key = os.urandom(WRAPPING_KEY)
        sealed = encoded(self._public.encrypt(wrapping_key, _PADDING))
        return {"sealed": sealed, "public_key": self.fingerprint}, wrapping_key

    def wrapping_key(self, parameters: Parameters, binding: Binding) -> bytes:
        """See `Opener`. The private half is needed."""
        wanted = text(parameters, "public_key")
        if wanted != self.fingerprint:
            raise WrongSecretError(
                f"this is in escrow for the key {wanted[:16]}, not for {self.fingerprint[:16]}",
                remedy="Give the private key of that one.",
            )
        if self._private is None:
            raise WrongSecretError("only the public half was given", remedy="Give the private key.")
        try:
            return self._private.decrypt(octets(parameters, "sealed"), _PADDING)
        except ValueError:
            raise WrongSecretError("what was put into escrow does not open, it was damaged") from None


def _read(pem: bytes, password: bytes | None) -> object:
    try:
        if b"CERTIFICATE" in pem:
            return load_pem_x509_certificate(pem).public_key()
        if b"PRIVATE KEY" in pem:
            return load_pem_private_key(pem, password)
        return load_pem_public_key(pem)
    except TypeError:
        missing = (
            "has a password, and none was given" if password is None else "has no password, and one was given"
        )
        raise WrongSecretError(f"the private key {missing}") from None
    except (ValueError, UnsupportedAlgorithm):
        # never the library's text: it may show what was read
        raise RefusedError(
            "this is no key in PEM, or its password is wrong",
            remedy="Look at it with `openssl pkey -in FILE`.",
        ) from None
