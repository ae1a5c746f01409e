"""What a locked link shows."""

import base64
import hashlib

import pytest

from mgr_fscrypt.engine.links import locked_target
from mgr_fscrypt.format import FormatError, encode_base64


def stored(ciphertext: bytes) -> bytes:
    return encode_base64(len(ciphertext).to_bytes(2, "little") + ciphertext + b"\0")


def shown(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


@pytest.mark.parametrize("length", [16, 32, 149])
def test_a_short_one_is_shown_whole(length: int) -> None:
    ciphertext = bytes(range(length))
    assert locked_target(stored(ciphertext)) == shown(bytes(8) + ciphertext)


def test_a_long_one_is_shown_shortened_and_stays_unique() -> None:
    ciphertext = bytes(n % 256 for n in range(600))
    digest = hashlib.sha256(ciphertext[149:]).digest()
    assert locked_target(stored(ciphertext)) == shown(bytes(8) + ciphertext[:149] + digest)


@pytest.mark.parametrize("damage", [b"", b"not base64!", encode_base64(b"\xff\xff" + b"x" * 16)])
def test_what_is_no_target(damage: bytes) -> None:
    with pytest.raises(FormatError):
        locked_target(damage)
