"""Wrapping keys out of secrets that are random enough: HKDF-SHA256 (RFC 5869) with a fresh salt."""

import os

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .opener import WRAPPING_KEY, Parameters
from .parameters import encoded, octets

_SALT = 32


def fresh_salt() -> Parameters:
    """Parameters with a salt that was never used."""
    return {"salt": encoded(os.urandom(_SALT))}


def derived(secret: bytes, parameters: Parameters, kind: str) -> bytes:
    """The wrapping key of that salt; another one for each kind of protector. Raises `ContainerError`."""
    label = b"cephfs-fscrypt wrapping key of kind " + kind.encode()
    salt = octets(parameters, "salt", _SALT)
    return HKDF(algorithm=SHA256(), length=WRAPPING_KEY, salt=salt, info=label).derive(secret)
