"""Contexts, policies, sizes and engine records: what is a value, and that everything else is refused."""

import contextlib
import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgr_fscrypt.format import (
    LARGEST_SIZE,
    Context,
    ContextError,
    EngineRecord,
    Flags,
    FormatError,
    Mode,
    Policy,
    PolicyRefusedError,
    SizeFormatError,
    SizeRule,
    believe_size,
    decode_file_size,
    encode_file_size,
    raw_size,
)
from qa.unit.format.keys_and_places import MASTER, NONCE, context

V2 = bytes.fromhex("02010403000000") + bytes(17 + 16)
POLICIES = st.one_of(
    st.builds(
        Policy,
        st.binary(min_size=16, max_size=16),
        st.just(Mode.AES_256_XTS),
        st.sampled_from([Mode.AES_256_CTS, Mode.AES_256_HCTR2]),
        st.sampled_from(
            [Flags.PAD_4, Flags.PAD_8, Flags.PAD_16, Flags.PAD_32, Flags.IV_INO_LBLK_64 | Flags.PAD_8]
        ),
        st.sampled_from([0, 9, 12, 16]),
    ),
    st.builds(
        Policy,
        st.binary(min_size=8, max_size=8),
        st.just(Mode.AES_128_CBC),
        st.just(Mode.AES_128_CTS),
        st.sampled_from([Flags.PAD_4, Flags.PAD_32]),
        st.just(0),
        st.just(1),
    ),
)
CONTEXTS = st.builds(Context, POLICIES, st.binary(min_size=16, max_size=16))


@given(CONTEXTS)
def test_contexts_come_back(made: Context) -> None:
    assert Context.decode(made.encode()) == made
    assert Context.decode_auth(made.encode_auth()) == made
    assert Policy.decode(made.policy.encode()) == made.policy
    assert len(made.encode_auth()) == (48 if made.policy.version == 2 else 36)


@settings(max_examples=1500)
@given(
    st.one_of(st.binary(max_size=64), st.binary(min_size=39, max_size=39).map(lambda rest: b"\x02" + rest))
)
def test_any_bytes_are_a_value_or_an_error(data: bytes) -> None:
    decoders = (
        (Context.decode, Context.encode),
        (Context.decode_auth, Context.encode_auth),
        (Policy.decode, Policy.encode),
        (EngineRecord.decode, EngineRecord.encode),
        (decode_file_size, encode_file_size),
    )
    for decode, encode in decoders:
        try:
            value = decode(data)
        except FormatError:
            continue
        assert encode(value) == data


@given(st.integers(0, 40 * 8 - 1))
def test_a_flipped_bit_of_a_context_is_another_value_or_an_error(bit: int) -> None:
    good = context().encode()
    bad = bytearray(good)
    bad[bit // 8] ^= 1 << bit % 8
    with contextlib.suppress(ContextError):
        assert Context.decode(bytes(bad)) != context()


@pytest.mark.parametrize(
    "change",
    [
        {"version": 3},
        {"version": 1},
        {"key": bytes(15)},
        {"names_mode": Mode.AES_128_CTS},
        {"contents_mode": Mode.AES_256_CTS},
        {"flags": Flags(0x20)},
        {"flags": Flags.DIRECT_KEY},
        {"flags": Flags.IV_INO_LBLK_64 | Flags.IV_INO_LBLK_32},
        {"contents_mode": Mode.ADIANTUM, "names_mode": Mode.ADIANTUM, "flags": Flags.IV_INO_LBLK_64},
        {"log2_data_unit_size": 8},
        {"log2_data_unit_size": 17},
    ],
    ids=repr,
)
def test_no_kernel_accepts_these_policies(change: dict[str, object]) -> None:
    with pytest.raises(ContextError):
        dataclasses.replace(Policy(bytes(16)), **change)


@pytest.mark.parametrize(
    ("offset", "value"), [(0, 0), (0, 3), (1, 2), (1, 3), (2, 9), (3, 0x24), (4, 8), (5, 1), (6, 1), (7, 1)]
)
def test_contexts_are_read_strictly(offset: int, value: int) -> None:
    bad = bytearray(context().encode())
    bad[offset] = value
    with pytest.raises(ContextError):
        Context.decode(bytes(bad))


def test_the_auth_wrapper_is_read_strictly() -> None:
    good = context().encode_auth()
    assert good[:8] == bytes.fromhex("0100000028000000")
    for bad in (b"", good[:8], good[:-1], good + b"\0", b"\2" + good[1:], good[:4] + b"\x27" + good[5:]):
        with pytest.raises(ContextError):
            Context.decode_auth(bad)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"flags": Flags.IV_INO_LBLK_64}, "IV_INO_LBLK_64"),
        ({"flags": Flags.IV_INO_LBLK_32}, "IV_INO_LBLK_32"),
        ({"log2_data_unit_size": 12}, "data unit size"),
        ({"log2_data_unit_size": 9}, "data unit size"),
        ({"names_mode": Mode.AES_256_HCTR2}, "HCTR2"),
        ({"contents_mode": Mode.ADIANTUM, "names_mode": Mode.ADIANTUM}, "Adiantum"),
        (
            {"contents_mode": Mode.ADIANTUM, "names_mode": Mode.ADIANTUM, "flags": Flags.DIRECT_KEY},
            "Adiantum",
        ),
        ({"contents_mode": Mode.SM4_XTS, "names_mode": Mode.SM4_CTS}, "SM4"),
    ],
    ids=repr,
)
def test_cephfs_refuses_by_name(change: dict[str, object], named: str) -> None:
    policy = dataclasses.replace(Policy(bytes(16)), **change)
    assert Policy.decode(policy.encode()) == policy
    with pytest.raises(PolicyRefusedError, match=named):
        policy.check_for_cephfs()


def test_v1_is_read_and_not_made() -> None:
    policy = Policy(bytes(8), version=1)
    policy.check_for_cephfs()
    with pytest.raises(PolicyRefusedError, match="v1"):
        policy.check_new_for_cephfs()
    Policy(bytes(16)).check_new_for_cephfs()


@pytest.mark.parametrize(
    ("raw", "stored", "real", "rule"),
    [
        (12288, 10000, 10000, SizeRule.BELIEVED),
        (8192, 8192, 8192, SizeRule.BELIEVED),
        (0, 10000, 0, SizeRule.EMPTY),
        (0, 0, 0, SizeRule.EMPTY),
        (4096, 0, 4096, SizeRule.DISCARDED),
        (8192, 10000, 8192, SizeRule.DISCARDED),
        (10000, 10000, 10000, SizeRule.DISCARDED),
        (4096, (1 << 64) - 1, 4096, SizeRule.DISCARDED),
    ],
)
def test_the_size_rule(raw: int, stored: int, real: int, rule: SizeRule) -> None:
    size = believe_size(raw, stored.to_bytes(8, "little"))
    assert (size.real, size.rule) == (real, rule)


def test_sizes_without_a_stored_one() -> None:
    assert believe_size(4096, b"").rule is SizeRule.ABSENT
    assert believe_size(4096, b"1234567").rule is SizeRule.DISCARDED


@given(st.integers(0, LARGEST_SIZE))
def test_stored_sizes_are_believed(real: int) -> None:
    assert believe_size(raw_size(real), encode_file_size(real)).real == real
    assert raw_size(real) - real in range(4096)


@pytest.mark.parametrize("size", [-1, LARGEST_SIZE + 1])
def test_sizes_that_no_file_has(size: int) -> None:
    with pytest.raises(SizeFormatError):
        raw_size(size)


def test_the_engine_record_never_changes() -> None:
    record = EngineRecord(context(), 10000)
    stored = record.encode()
    assert stored.hex() == ("01000000" + context().encode().hex() + "1027000000000000" + stored[52:].hex())
    assert len(stored) == 56
    assert EngineRecord.decode(stored) == record
    assert record.believed_with(12288)
    assert not record.believed_with(8192)


@given(st.integers(0, 56 * 8 - 1))
def test_a_flipped_bit_of_an_engine_record_is_an_error(bit: int) -> None:
    bad = bytearray(EngineRecord(context(), 123456).encode())
    bad[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ContextError):
        EngineRecord.decode(bytes(bad))


def test_engine_records_hold_v2_contexts() -> None:
    with pytest.raises(ContextError, match="v2"):
        EngineRecord(Context(Policy(bytes(8), version=1), NONCE), 0)


def test_fresh_contexts_have_nonces_of_their_own() -> None:
    policy = Policy(MASTER.identifier)
    assert Context.fresh(policy) != Context.fresh(policy)
