"""Names, targets and snapshots: round trips, padding, long names, and strict decoding."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgr_fscrypt.format import (
    Dentry,
    Flags,
    FormatError,
    HashedNameError,
    InheritedSnapshot,
    Inode,
    MasterKey,
    MasterKeyError,
    NameFormatError,
    Names,
    NameTooLongError,
    PolicyRefusedError,
    Target,
    TargetFormatError,
    cts,
    decode_base64,
    decode_snapshot,
    encode_base64,
    encode_snapshot,
    padded_size,
)
from mgr_fscrypt.format.keys import derive_key
from mgr_fscrypt.format.modes import Mode
from qa.unit.format.keys_and_places import ESSIV, MASTER, NONCE, context

PADDINGS = [Flags.PAD_4, Flags.PAD_8, Flags.PAD_16, Flags.PAD_32]
DIRECTORIES = [Names(MASTER, context(flags)) for flags in PADDINGS] + [Names(MASTER, ESSIV)]
PLAIN = st.binary(min_size=1, max_size=255).filter(
    lambda name: name not in (b".", b"..") and b"/" not in name and b"\0" not in name
)


@given(st.sampled_from(DIRECTORIES), PLAIN)
def test_names_come_back(names: Names, plain: bytes) -> None:
    dentry = names.encode(plain)
    assert names.decode(dentry.dname, dentry.alternate_name) == plain
    assert len(dentry.dname) <= 240
    assert dentry.is_hashed == (len(names.encrypt(plain)) > 148)


@settings(max_examples=1000)
@given(st.sampled_from(DIRECTORIES), st.binary(max_size=300), st.binary(max_size=300))
def test_any_bytes_are_a_name_or_an_error(names: Names, dname: bytes, alternate_name: bytes) -> None:
    for attempt in (dname, encode_base64(dname)):
        try:
            plain = names.decode(attempt, alternate_name)
        except FormatError:
            continue
        assert names.encode(plain) == Dentry(attempt, alternate_name)


@given(PLAIN, st.integers(0, 255))
def test_a_changed_character_is_another_name_or_an_error(plain: bytes, at: int) -> None:
    names = DIRECTORIES[0]
    dentry = names.encode(plain)
    bad = bytearray(dentry.dname)
    bad[at % len(bad)] = ord("B") if bad[at % len(bad)] == ord("A") else ord("A")
    with contextlib.suppress(FormatError):
        assert names.decode(bytes(bad), dentry.alternate_name) != plain


@pytest.mark.parametrize(
    ("size", "padding", "padded"),
    [
        (1, 4, 16),
        (17, 4, 20),
        (17, 8, 24),
        (17, 16, 32),
        (17, 32, 32),
        (1, 32, 32),
        (224, 32, 224),
        (225, 32, 255),
        (255, 4, 255),
    ],
)
def test_padding(size: int, padding: int, padded: int) -> None:
    assert padded_size(size, padding) == padded


@pytest.mark.parametrize(("flags", "longest"), list(zip(PADDINGS, [148, 144, 144, 128], strict=True)))
def test_which_names_need_an_alternate_name(flags: Flags, longest: int) -> None:
    names = Names(MASTER, context(flags))
    assert not names.encode(b"n" * longest).is_hashed
    dentry = names.encode(b"n" * (longest + 1))
    assert len(dentry.dname) == 240
    with pytest.raises(HashedNameError):
        names.decode(dentry.dname)
    with pytest.raises(NameFormatError):
        names.decode(dentry.dname, dentry.alternate_name[:-1] + b"x")


@pytest.mark.parametrize("plain", [b"", b".", b"..", b"a/b", b"a\0b", b"a\0"])
def test_impossible_names_are_refused(plain: bytes) -> None:
    names = DIRECTORIES[3]
    with pytest.raises(NameFormatError):
        names.encode(plain)
    stored = cts.encrypt(derive_key(MASTER, context(), Mode.AES_256_CTS), bytes(16), plain.ljust(32, b"\0"))
    if plain != b"a\0":
        with pytest.raises(NameFormatError):
            names.decrypt(stored)


def test_padding_that_is_not_the_policys_is_refused() -> None:
    with pytest.raises(NameFormatError, match="not stored"):
        Names(MASTER, context(Flags.PAD_32)).decrypt(Names(MASTER, context(Flags.PAD_4)).encrypt(b"name"))


def test_a_name_cannot_be_cut_short_without_the_key() -> None:
    """CBC with stealing: the end of a ciphertext of 32 bytes is a ciphertext of the first 16 characters."""
    names = Names(MASTER, context(Flags.PAD_32))
    stored = names.encrypt(b"salaries-of-2026.ods")
    assert Names(MASTER, context(Flags.PAD_16)).decrypt(stored[16:]) == b"salaries-of-2026"
    with pytest.raises(NameFormatError, match="not stored"):
        names.decrypt(stored[16:])


def test_names_of_256_bytes_are_too_long() -> None:
    with pytest.raises(NameTooLongError):
        DIRECTORIES[0].encode(b"n" * 256)


@given(st.binary(max_size=400))
def test_base64_comes_back(data: bytes) -> None:
    assert decode_base64(encode_base64(data)) == data


@pytest.mark.parametrize(
    "text", [b"A", b"AB", b"AAB", b"AA==", b"AA=", b"A/AA", b"A-A_", b"AA A", b"AAA\n", b"\xc3\xa9AA"]
)
def test_base64_is_read_strictly(text: bytes) -> None:
    with pytest.raises(NameFormatError):
        decode_base64(text)


@given(
    st.sampled_from(PADDINGS), st.binary(min_size=1, max_size=4093).filter(lambda target: b"\0" not in target)
)
def test_targets_come_back(flags: Flags, plain: bytes) -> None:
    target = Target(MASTER, context(flags))
    assert target.decode(target.encode(plain)) == plain


def test_the_longest_target() -> None:
    target = Target(MASTER, context())
    assert target.decode(target.encode(b"t" * 4093)) == b"t" * 4093
    with pytest.raises(NameTooLongError):
        target.encode(b"t" * 4094)


def test_a_target_without_its_nul_is_taken() -> None:
    target = Target(MASTER, context())
    assert target.decode(encode_base64(target.encrypt(b"somewhere"))) == b"somewhere"
    with pytest.raises(TargetFormatError):
        target.decode(encode_base64(target.encrypt(b"somewhere") + b"\0\0"))


def test_targets_padded_otherwise_are_taken() -> None:
    assert (
        Target(MASTER, context(Flags.PAD_4)).decode(Target(MASTER, context()).encode(b"somewhere"))
        == b"somewhere"
    )


@settings(max_examples=500)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_target_or_an_error(data: bytes) -> None:
    target = Target(MASTER, context())
    for attempt in (data, encode_base64(data), encode_base64(b"\x20\0" + data)):
        try:
            plain = target.decode(attempt)
        except FormatError:
            continue
        assert plain


@pytest.mark.parametrize("plain", [b"", b"a\0b"])
def test_impossible_targets_are_refused(plain: bytes) -> None:
    with pytest.raises(TargetFormatError):
        Target(MASTER, context()).encode(plain)


def test_snapshots() -> None:
    names = DIRECTORIES[3]
    stored = encode_snapshot(names, b"my snapshot")
    inherited = InheritedSnapshot(stored, 1099511629626).encode()
    assert inherited == b"_" + stored + b"_1099511629626"
    assert decode_snapshot(names, stored) == decode_snapshot(names, inherited) == b"my snapshot"
    with pytest.raises(NameTooLongError):
        encode_snapshot(names, b"s" * 129)


@pytest.mark.parametrize(
    "entry", [b"_", b"__1", b"_a_", b"_a_0", b"_a_01", b"_a_-1", b"_a_1x", b"_a_18446744073709551616"]
)
def test_what_is_no_inherited_snapshot(entry: bytes) -> None:
    with pytest.raises(NameFormatError):
        InheritedSnapshot.decode(entry)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_snapshot_or_an_error(entry: bytes) -> None:
    for attempt in (entry, b"_" + entry, b"_" + encode_base64(entry) + b"_7"):
        try:
            plain = decode_snapshot(DIRECTORIES[0], attempt)
        except FormatError:
            continue
        inherited = InheritedSnapshot.decode(attempt)
        assert encode_snapshot(DIRECTORIES[0], plain) == (inherited.dname if inherited else attempt)


def test_another_key_is_refused() -> None:
    with pytest.raises(MasterKeyError):
        Names(MasterKey(bytes(64)), context())


@pytest.mark.parametrize("inode", [None, Inode(bytes(15), 1), Inode(bytes(16), 1 << 32)])
def test_iv_ino_lblk_needs_an_inode(inode: Inode | None) -> None:
    with pytest.raises(PolicyRefusedError):
        Names(MASTER, context(Flags.IV_INO_LBLK_64), inode)


def test_directories_have_keys_of_their_own() -> None:
    other = Names(MASTER, context(nonce=NONCE[::-1]))
    assert other.encode(b"name") != DIRECTORIES[3].encode(b"name")


@given(st.lists(st.one_of(PLAIN, st.just(b"")), max_size=8), st.sampled_from(DIRECTORIES), st.integers(0, 8))
def test_many_names_are_decoded_as_each_of_them(plain: list[bytes], names: Names, at: int):
    dnames = [names.encode(each).dname if each else b"!" for each in plain]
    dnames.insert(at, DIRECTORIES[0].encode(b"another directory's").dname)
    for dname, found in zip(dnames, names.decode_all(dnames), strict=True):
        if isinstance(found, bytes):
            assert found == names.decode(dname)
            continue
        with pytest.raises(type(found)) as refused:
            names.decode(dname)
        assert str(found) == str(refused.value)
