"""The wrapped form of a key: what it opens to, and that nothing else ever opens."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as some

from mgr_fscrypt.keys import errors, shares
from mgr_fscrypt.keys.binding import Binding
from mgr_fscrypt.keys.container import Container, Protector, unwrap, wrap
from mgr_fscrypt.keys.errors import ContainerError, RefusedError, WrongSecretError
from mgr_fscrypt.keys.escrow import Escrow
from mgr_fscrypt.keys.key_file import KeyFile
from mgr_fscrypt.keys.managed import Managed
from mgr_fscrypt.keys.opener import Opener
from mgr_fscrypt.keys.passphrase import LEAST, Costs, Passphrase, calibrated
from mgr_fscrypt.keys.tenant_key import TenantKey
from qa.fakes.key_cases import CHEAP, FSID, MASTER
from qa.fakes.kms import FakeKms

VECTORS = Path(__file__).parents[2] / "vectors" / "keys"
HOME = Binding(FSID, 1, "acme")
KEY = MASTER.identifier.hex()


@pytest.fixture(scope="module")
def private() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 3072)


def pem(key: rsa.RSAPrivateKey, password: bytes | None = None) -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def public_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def openers(private: rsa.RSAPrivateKey) -> list[Opener]:
    return [
        KeyFile(b"f" * 32),
        Passphrase("correct horse battery", CHEAP),
        TenantKey.fresh(),
        Managed("vault", FakeKms()),
        Escrow(pem(private)),
        shares.new_recovery_code()[0],
        shares.new_shares(2, 3)[0],
    ]


def wrapped(opener: Opener, binding: Binding = HOME, key: str = KEY) -> Container:
    return wrap(
        MASTER.expose(),
        binding,
        key,
        Protector("0123456789abcdef", "first", opener.kind, "me", 1_900_000_000),
        opener,
    )


def test_every_kind_opens_what_it_wrapped_and_never_wraps_the_same_way_twice(openers: list[Opener]):
    for opener in openers:
        container = Container.decode(wrapped(opener).encode())
        assert unwrap(container, HOME, KEY, opener) == MASTER.expose()
        again = wrapped(opener)
        assert again.sealed[:12] != container.sealed[:12]
        assert again.header.parameters != container.header.parameters
        assert MASTER.expose()[:16] not in container.encode()


def test_not_one_bit_of_a_container_can_be_changed(openers: list[Opener]):
    opener = openers[0]
    data = wrapped(opener).encode()
    for at in range(len(data)):
        for bit in (1, 0x80):
            changed = bytearray(data)
            changed[at] ^= bit
            with pytest.raises((ContainerError, WrongSecretError)):
                unwrap(Container.decode(bytes(changed)), HOME, KEY, opener)
    for length in range(len(data)):
        with pytest.raises((ContainerError, WrongSecretError)):
            unwrap(Container.decode(data[:length]), HOME, KEY, opener)


def test_a_container_opens_in_its_own_place_and_for_its_own_key_only():
    opener = KeyFile(b"f" * 32)
    container = wrapped(opener)
    for other in (
        Binding(FSID, 2, "acme"),
        Binding(FSID, 1, "acme2"),
        Binding("1" + FSID[1:], 1, "acme"),
    ):
        with pytest.raises(ContainerError, match="this is a key of tenant acme"):
            unwrap(container, other, KEY, opener)
        moved = Container(
            type(container.header)(other, KEY, container.header.protector, container.header.parameters),
            container.sealed,
        )
        with pytest.raises(WrongSecretError):
            unwrap(moved, other, KEY, opener)
    with pytest.raises(ContainerError, match="this is "):
        unwrap(container, HOME, "f" * 32, opener)


def test_a_key_managers_blob_is_bound_to_the_tenant():
    kms = FakeKms()
    sealed = wrapped(Managed("vault", kms)).header.parameters
    with pytest.raises(errors.KmsContextError):
        Managed("vault", kms).wrapping_key(sealed, Binding(FSID, 1, "other"))


@given(some.binary(max_size=300))
def test_noise_is_no_container(data: bytes):
    for given_ in (data, b"cfskey\0\1\0\0\0\x02{}" + data):
        with pytest.raises(ContainerError):
            Container.decode(given_)


def test_a_newer_version_is_told_as_such():
    data = bytearray(wrapped(KeyFile(b"f" * 32)).encode())
    data[7] = 2
    with pytest.raises(ContainerError, match="it is of version 2"):
        Container.decode(bytes(data))


# kinds


def test_a_passphrase_is_typed_alike_on_every_keyboard():
    container = wrapped(Passphrase("pässword", CHEAP))
    assert unwrap(container, HOME, KEY, Passphrase("pa\N{COMBINING DIAERESIS}ssword")) == MASTER.expose()
    with pytest.raises(WrongSecretError):
        unwrap(container, HOME, KEY, Passphrase("password"))
    with pytest.raises(RefusedError, match="at least 8"):
        wrapped(Passphrase("short"))


def test_costs_that_no_host_can_bear_are_refused():
    container = wrapped(Passphrase("correct horse", CHEAP))
    for changes in ({"memory": 1 << 40}, {"time": 1 << 20}, {"lanes": 1000}, {"time": 0}, {"salt": "AAAA"}):
        with pytest.raises(ContainerError):
            Passphrase("correct horse").wrapping_key({**container.header.parameters, **changes}, HOME)


def test_costs_are_calibrated_to_the_time_that_was_asked_for():
    ticks = iter(range(0, 10_000, 1))
    fast = calibrated(16.0, largest_memory=128 << 10, clock=lambda: float(next(ticks)))
    assert fast == Costs(128 << 10, 48, LEAST.lanes)
    slow = calibrated(0.5, clock=lambda: float(next(ticks)))
    assert slow == LEAST, "never below it"


def test_escrow_is_made_by_the_public_half_and_opened_by_the_private_one(private: rsa.RSAPrivateKey):
    container = wrapped(Escrow(public_pem(private)))
    assert unwrap(container, HOME, KEY, Escrow(pem(private, b"secret"), b"secret")) == MASTER.expose()
    with pytest.raises(WrongSecretError, match="only the public half"):
        unwrap(container, HOME, KEY, Escrow(public_pem(private)))
    with pytest.raises(WrongSecretError, match="in escrow for the key"):
        unwrap(container, HOME, KEY, Escrow(pem(rsa.generate_private_key(65537, 3072))))
    with pytest.raises(WrongSecretError, match="has a password"):
        Escrow(pem(private, b"secret"))
    for bad, password in (
        (pem(rsa.generate_private_key(65537, 2048)), None),
        (b"no key", None),
        (pem(private, b"x"), b"y"),
    ):
        with pytest.raises(RefusedError):
            Escrow(bad, password)


def test_a_recovery_code_is_typed_by_the_beginnings_of_its_words_and_checks_itself():
    code, words = shares.new_recovery_code()
    container = wrapped(code)
    short = " ".join(word[:4].upper() for word in words.split())
    assert unwrap(container, HOME, KEY, shares.of_recovery_code(short)) == MASTER.expose()
    typed = words.split()
    for wrong in (
        [*typed[:5], "acid" if typed[5] != "acid" else "acne", *typed[6:]],
        typed[:-1],
        ["secretword", *typed[1:]],
        ["hunter2", *typed[1:]],
    ):
        with pytest.raises(WrongSecretError) as found:
            shares.of_recovery_code(" ".join(wrong))
        assert "secretword" not in str(found.value)
        assert "hunter2" not in str(found.value)


def test_so_many_shares_open_and_fewer_do_not():
    secret, words = shares.new_shares(2, 3)
    container = wrapped(secret)
    for some_ in (words[:2], words[1:], (words[2], words[0]), words):
        assert unwrap(container, HOME, KEY, shares.of_shares(some_)) == MASTER.expose()
    with pytest.raises(WrongSecretError):
        shares.of_shares(words[:1])
    with pytest.raises(WrongSecretError):
        shares.of_shares([words[0], shares.new_shares(2, 3)[1][1]])
    for needed, people in ((1, 3), (4, 3), (2, 17)):
        with pytest.raises(RefusedError):
            shares.new_shares(needed, people)


# vectors that releases wrote


def cases() -> list[Mapping[str, object]]:
    return [case for file in sorted(VECTORS.glob("*.json")) for case in json.loads(file.read_text())["cases"]]


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["name"])
def test_vectors(case: Mapping[str, str]):
    secret = {
        "key-file": lambda text: KeyFile(bytes.fromhex(text)),
        "passphrase": Passphrase,
        "tenant": lambda text: TenantKey(bytes.fromhex(text), 1),
        "recovery-code": shares.of_recovery_code,
        "shares": lambda text: shares.of_shares(text.split("\n")),
        "escrow": lambda text: Escrow(text.encode()),
    }[case["kind"]]
    binding = Binding(case["fsid"], int(case["fscid"]), case["tenant"])

    def open_it() -> bytes:
        data = base64.b64decode(case["container"])
        return unwrap(Container.decode(data), binding, case["key"], secret(case["secret"]))

    if case["expected"] == "opens":
        assert open_it().hex() == case["master_key"]
    else:
        with pytest.raises(getattr(errors, case["expected"])):
            open_it()
