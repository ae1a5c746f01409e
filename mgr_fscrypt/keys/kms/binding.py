"""Contexts as bytes, blobs of several parts, and an AEAD for managers that cannot bind a context by themselves.

The AEAD is AES-256-GCM of `cryptography`, under a random key that is used once: the manager keeps or wraps that key,
and whoever has it back opens the body with the same context only.
"""

import base64
import binascii
import json
import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..errors import KmsContextError
from .interface import Context

KEY_SIZE = 32
"""Bytes of the keys that `seal` makes."""
NONCE_SIZE = 12
TAG_SIZE = 16


def bytes_of(context: Context) -> bytes:
    """Give the same bytes for the same words: JSON, keys sorted, ASCII, no blanks."""
    return json.dumps(dict(context), sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode()


def seal(secret: bytes, context: Context) -> tuple[bytes, bytes]:
    """Encrypt under a fresh key; give (key, body)."""
    key = os.urandom(KEY_SIZE)
    nonce = os.urandom(NONCE_SIZE)
    return key, nonce + AESGCM(key).encrypt(nonce, secret, bytes_of(context))


def unseal(key: bytes, body: bytes, context: Context) -> bytes:
    """Decrypt what `seal` gave.

    Raises:
        KmsContextError: key, body or context are others.
    """
    if len(key) != KEY_SIZE or len(body) < NONCE_SIZE + TAG_SIZE:
        raise changed()
    try:
        return AESGCM(key).decrypt(body[:NONCE_SIZE], body[NONCE_SIZE:], bytes_of(context))
    except InvalidTag:
        raise changed() from None


def pack(**parts: bytes) -> bytes:
    """One blob of named parts: JSON, each in base64."""
    return json.dumps({name: base64.b64encode(part).decode() for name, part in parts.items()}).encode()


def unpack(blob: bytes, *names: str) -> tuple[bytes, ...]:
    """The parts of a blob that has exactly these.

    Raises:
        KmsContextError: it is no such blob.
    """
    try:
        parts = json.loads(blob)
        if not isinstance(parts, Mapping) or set(parts) != set(names):
            raise changed()
        return tuple(base64.b64decode(parts[name], validate=True) for name in names)
    except (ValueError, TypeError, binascii.Error):
        raise changed() from None


def changed() -> KmsContextError:
    """What is told when a wrapped secret does not open."""
    return KmsContextError(
        "the wrapped secret was changed, or was wrapped for another context or by another key"
    )
