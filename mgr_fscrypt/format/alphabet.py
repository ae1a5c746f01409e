"""Ceph's base64: RFC 3501's alphabet (``+`` and ``,``), no padding characters (fs/ceph/crypto.c)."""

import base64
import binascii

from .errors import NameFormatError

_ALTERNATE = b"+,"


def encode_base64(data: bytes) -> bytes:
    """Encode bytes as ASCII characters that a directory entry can hold."""
    return base64.b64encode(data, _ALTERNATE).rstrip(b"=")


def decode_base64(text: bytes) -> bytes:
    """The bytes behind ``text``.

    Raises:
        NameFormatError: a foreign character, an impossible length, or left-over bits that are not zero.
    """
    try:
        data = base64.b64decode(text + b"=" * (-len(text) % 4), _ALTERNATE, validate=True)
    except binascii.Error as error:
        raise NameFormatError(f"{text!r} is not base64 in Ceph's alphabet: {error}") from None
    if encode_base64(data) != text:
        raise NameFormatError(
            f"{text!r} is not base64 as Ceph writes it: other characters encode the same bytes"
        )
    return data
