"""Contents in bulk: all implementations answer the same bytes, and what cannot be done is refused."""

import hashlib
import logging
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgr_fscrypt.format import Contents, ContentsError, Context, Flags, Inode, Mode
from mgr_fscrypt.format.accelerator import (
    DIRECTORY_VARIABLE,
    build_accelerator,
    library_path,
    load_accelerator,
)
from mgr_fscrypt.format.build import main as build
from mgr_fscrypt.format.keys import derive_key
from mgr_fscrypt.format.libcrypto import LibcryptoFactory, load_libcrypto_units
from mgr_fscrypt.format.portable import PortableFactory
from mgr_fscrypt.format.self_test import passes_self_test
from mgr_fscrypt.format.units import UnitCipher, UnitCipherFactory
from qa.unit.format.keys_and_places import ESSIV, MASTER, context

XTS = context()
UNIT = 4096


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the accelerator, compiled here."""
    place = tmp_path_factory.mktemp("accelerator")
    assert build(["--directory", str(place)]) == 0
    return place


@pytest.fixture(scope="module", params=["portable", "libcrypto", "accelerator"])
def factory(request: pytest.FixtureRequest, folder: Path) -> UnitCipherFactory:
    """Each implementation in turn."""
    made = {
        "portable": PortableFactory,
        "libcrypto": load_libcrypto_units,
        "accelerator": lambda: load_accelerator(folder),
    }[request.param]()
    assert made is not None
    assert made.name == request.param
    return made


def _data(size: int, seed: bytes = b"contents") -> bytes:
    return hashlib.shake_256(seed).digest(size)


@pytest.mark.parametrize("file", [XTS, ESSIV], ids=["xts", "essiv"])
@pytest.mark.parametrize(
    ("first", "units"), [(0, 1), (3, 256), ((1 << 32) - 2, 5), ((1 << 51) - 4, 4), (7, 0)]
)
def test_all_implementations_are_alike(
    factory: UnitCipherFactory, file: Context, first: int, units: int
) -> None:
    plain = _data(units * UNIT)
    with (
        Contents(MASTER, file, factory=factory) as one,
        Contents(MASTER, file, factory=PortableFactory()) as other,
    ):
        stored = one.encrypt(plain, first)
        assert stored == other.encrypt(plain, first)
        assert one.decrypt(stored, first) == plain
        in_place = bytearray(plain)
        one.encrypt_into(in_place, in_place, first)
        assert in_place == stored
        one.decrypt_into(in_place, in_place, first)
        assert in_place == plain


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=16, max_size=16), st.integers(0, (1 << 52) - 8), st.integers(1, 6), st.randoms())
def test_fast_and_plain_are_alike_for_any_nonce_and_place(
    folder: Path, nonce: bytes, first: int, units: int, chance: object
) -> None:
    plain = _data(units * UNIT, nonce)
    fast = load_accelerator(folder)
    for file in (context(nonce=nonce), Context(ESSIV.policy, nonce)):
        answers = set()
        for factory in (PortableFactory(), LibcryptoFactory(), fast):
            with Contents(MASTER, file, factory=factory) as contents:
                answers.add(contents.encrypt(plain, first))
        assert len(answers) == 1


def test_essiv_is_what_the_openssl_command_computes() -> None:
    """An oracle of our own: the kernel's essiv(cbc(aes),sha256) from raw ECB and CBC of another program."""
    key, unit, plain = derive_key(MASTER, ESSIV, Mode.AES_128_CBC), 5, _data(UNIT)

    def openssl(cipher: str, key: bytes, data: bytes, *options: str) -> bytes:
        command = ["openssl", "enc", f"-{cipher}", "-nopad", "-K", key.hex(), *options]
        return subprocess.run(command, input=data, capture_output=True, check=True).stdout

    iv = openssl("aes-256-ecb", hashlib.sha256(key).digest(), unit.to_bytes(16, "little"))
    stored = openssl("aes-128-cbc", key, plain, "-iv", iv.hex())
    with Contents(MASTER, ESSIV, factory=PortableFactory()) as contents:
        assert contents.encrypt(plain, unit) == stored
        assert contents.decrypt(stored, unit) == plain


def test_the_block_number_is_the_iv(factory: UnitCipherFactory) -> None:
    plain = _data(4 * UNIT)
    with Contents(MASTER, XTS, factory=factory) as contents:
        stored = contents.encrypt(plain, 1024)
        assert stored[UNIT : 2 * UNIT] == contents.encrypt(plain[UNIT : 2 * UNIT], 1025)
        assert stored[UNIT : 2 * UNIT] != contents.encrypt(plain[UNIT : 2 * UNIT], 1024)


def test_hashed_ivs_wrap_at_32_bits(factory: UnitCipherFactory) -> None:
    file, inode = context(Flags.IV_INO_LBLK_32), Inode(bytes(range(16)), 33487)
    with Contents(MASTER, file, inode, factory=factory) as contents:
        wrap = contents._ivs.modulus - contents._ivs.base
        plain = _data(4 * UNIT)
        stored = contents.encrypt(plain, wrap - 2)
        singly = [contents.encrypt(plain[at * UNIT : (at + 1) * UNIT], wrap - 2 + at) for at in range(4)]
        assert stored == b"".join(singly)


def test_holes_stay_zero_if_asked(factory: UnitCipherFactory) -> None:
    plain = _data(UNIT)
    zero_start = bytes(8) + _data(UNIT - 8)
    with Contents(MASTER, XTS, factory=factory) as contents:
        stored = contents.encrypt(plain, 0) + bytes(UNIT) + zero_start
        for target in (bytearray(len(stored)), bytearray(stored)):
            contents.decrypt_into(stored, target, 0, holes=True)
            assert target == plain + bytes(UNIT) + contents.decrypt(zero_start, 2)
        assert contents.decrypt(stored, 0)[UNIT : 2 * UNIT] != bytes(UNIT)


def test_views_into_larger_buffers(factory: UnitCipherFactory) -> None:
    plain, target = _data(3 * UNIT), bytearray(3 * UNIT)
    with Contents(MASTER, XTS, factory=factory) as contents:
        contents.encrypt_into(memoryview(plain)[UNIT:], memoryview(target)[:-UNIT], 9)
        assert target == contents.encrypt(plain[UNIT:], 9) + bytes(UNIT)


def test_what_cannot_be_done_is_refused(factory: UnitCipherFactory) -> None:
    room = bytearray(3 * UNIT)
    view = memoryview(room)
    with Contents(MASTER, XTS, factory=factory) as contents:
        for source, target, first in (
            (bytes(100), bytearray(100), 0),
            (bytes(UNIT), bytearray(2 * UNIT), 0),
            (bytes(UNIT), bytes(UNIT), 0),
            (bytes(UNIT), bytearray(UNIT), -1),
            (bytes(UNIT), bytearray(UNIT), 1 << 64),
            (view[: 2 * UNIT], view[UNIT:], 0),
            (view[::2], bytearray(len(view[::2])), 0),
        ):
            with pytest.raises(ContentsError):
                contents.encrypt_into(source, target, first)
        assert room == bytes(3 * UNIT)


def test_closed_contents_are_refused(factory: UnitCipherFactory) -> None:
    contents = Contents(MASTER, XTS, factory=factory)
    contents.close()
    contents.close()
    with pytest.raises(ContentsError, match="closed"):
        contents.encrypt(bytes(UNIT), 0)


def test_threads_share_one(factory: UnitCipherFactory) -> None:
    plain = _data(16 * UNIT)
    wrong = []
    with Contents(MASTER, XTS, factory=factory) as contents:
        stored = [contents.encrypt(plain, first) for first in range(4)]

        def work(first: int) -> None:
            wrong.extend(first for _ in range(20) if contents.encrypt(plain, first) != stored[first])

        threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


class _WrongUnits:
    """A cipher with one wrong bit in the last unit of a call."""

    def __init__(self, cipher: UnitCipher, unit_size: int) -> None:
        self._cipher, self._unit_size = cipher, unit_size

    def run(self, encrypt: bool, source: int, target: int, first_iv: int, units: int) -> None:
        self._cipher.run(encrypt, source, target, first_iv ^ (units == 5), units)

    def close(self) -> None:
        self._cipher.close()


class _WrongFactory(PortableFactory):
    name = "wrong"

    def open(self, mode: Mode, key: bytes, unit_size: int) -> UnitCipher:
        return _WrongUnits(super().open(mode, key, unit_size), unit_size)


def test_wrong_answers_fail_the_self_test(caplog: pytest.LogCaptureFixture) -> None:
    assert passes_self_test(PortableFactory())
    assert not passes_self_test(_WrongFactory())
    assert "wrong answers for AES-256-XTS, AES-128-CBC-ESSIV" in caplog.text


def test_an_accelerator_that_computes_something_else_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(build_accelerator.__code__.co_filename).with_name("accelerator.c")
    bad = tmp_path / "bad.c"
    bad.write_text(source.read_text().replace("number++", "number += 2"))
    assert bad.read_text() != source.read_text()
    monkeypatch.setattr("mgr_fscrypt.format.accelerator._SOURCE", bad)
    build_accelerator(tmp_path)
    assert load_accelerator(tmp_path) is None
    assert "wrong answers" in caplog.text


def test_no_accelerator_is_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        assert load_accelerator(tmp_path) is None
    assert caplog.text == ""


def test_what_a_package_installed_is_found_unless_another_place_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(build_accelerator.__code__.co_filename).with_name("accelerator.c")
    installed, cache = tmp_path / "package", tmp_path / "cache"
    installed.mkdir()
    shutil.copy(source, installed)
    monkeypatch.setattr("mgr_fscrypt.format.accelerator._SOURCE", installed / source.name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.delenv(DIRECTORY_VARIABLE, raising=False)
    assert load_accelerator() is None
    shutil.copy(library_path(folder), installed)
    assert load_accelerator() is not None
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path / "elsewhere"))
    assert load_accelerator() is None


def test_a_broken_or_writable_accelerator_is_refused(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = library_path(tmp_path)
    place.write_bytes(b"no library")
    place.chmod(0o755)
    assert load_accelerator(tmp_path) is None
    assert "does not load" in caplog.text
    shutil.copy(library_path(folder), place)
    place.chmod(0o777)
    assert load_accelerator(tmp_path) is None
    assert "may write it" in caplog.text


def test_a_build_that_fails_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build(["--directory", str(tmp_path), "--compiler", "false"]) == 1
    assert build(["--directory", str(tmp_path), "--compiler", "/nowhere/cc"]) == 1
    assert "without the accelerator" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
