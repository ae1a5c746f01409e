import pytest

from mgr_fscrypt.keys.errors import KmsContextError
from mgr_fscrypt.keys.kms.binding import bytes_of, pack, seal, unpack, unseal

CONTEXT = {"tenant": "blau/grün", "fsid": "1"}


def test_a_context_is_the_same_bytes_for_ever():
    """Wrapped secrets are bound to them."""
    assert bytes_of(CONTEXT) == b'{"fsid":"1","tenant":"blau/gr\\u00fcn"}'
    assert bytes_of({}) == b"{}"


def test_words_cannot_run_into_each_other():
    assert bytes_of({"a": "b"}) != bytes_of({"a": 'b","c":"d'}) != bytes_of({"a": "b", "c": "d"})


def test_sealed_with_a_key_of_its_own():
    key, body = seal(b"secret", CONTEXT)
    assert unseal(key, body, CONTEXT) == b"secret"
    assert seal(b"secret", CONTEXT)[0] != key
    for bad in (body[:-1], body[:5], bytes([body[0] ^ 1]) + body[1:], b""):
        with pytest.raises(KmsContextError):
            unseal(key, bad, CONTEXT)
    for bad in (key[:-1], bytes(32)):
        with pytest.raises(KmsContextError):
            unseal(bad, body, CONTEXT)
    with pytest.raises(KmsContextError):
        unseal(key, body, CONTEXT | {"fsid": "2"})


def test_a_blob_of_several_parts():
    assert unpack(pack(a=b"1", b=b"\0"), "a", "b") == (b"1", b"\0")
    for bad in (
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"a": "MQ=="}',
        b'{"a": 1, "b": 2}',
        b'{"a": "M", "b": "MQ=="}',
    ):
        with pytest.raises(KmsContextError):
            unpack(bad, "a", "b")
