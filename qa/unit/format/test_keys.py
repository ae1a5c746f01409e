"""Master keys keep their bytes to themselves."""

import copy
import pickle
import traceback

import pytest

from mgr_fscrypt.format import Contents, Context, MasterKey, MasterKeyError, Names, Policy, Target
from mgr_fscrypt.format.libcrypto import siphash_2_4
from mgr_fscrypt.format.portable import PortableFactory

SECRET = bytes(range(200, 248))


def test_no_text_shows_the_secret() -> None:
    key = MasterKey(SECRET)
    shown = f"{key} {key!r} {[key]} {key:}"
    for form in (SECRET.hex(), repr(SECRET), SECRET.hex()[:16], str(list(SECRET))[1:20]):
        assert form not in shown
    assert not hasattr(key, "__dict__")


def test_nothing_that_holds_a_key_is_pickled_or_copied() -> None:
    context = Context.fresh(Policy(MasterKey(SECRET).identifier))
    for holder in (
        MasterKey(SECRET),
        Names(MasterKey(SECRET), context),
        Target(MasterKey(SECRET), context),
        Contents(MasterKey(SECRET), context),
        Contents(MasterKey(SECRET), context, factory=PortableFactory()),
    ):
        for taken in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                taken(holder)


@pytest.mark.parametrize("size", [0, 16, 31, 65])
def test_keys_of_another_length_are_refused_without_showing_them(size: int) -> None:
    with pytest.raises(MasterKeyError) as refused:
        MasterKey(b"\xab" * size)
    assert "abab" not in "".join(traceback.format_exception_only(refused.value))
    assert str(size) in str(refused.value)


@pytest.mark.parametrize("size", [32, 48, 64])
def test_keys_are_equal_by_their_bytes(size: int) -> None:
    assert MasterKey(bytes(size)) == MasterKey(bytearray(size))
    assert MasterKey(bytes(size)) != MasterKey(bytes(size - 1) + b"\1")
    assert MasterKey(bytes(size)) != bytes(size)
    assert len({MasterKey(bytes(size)), MasterKey(bytes(size))}) == 1


def test_the_identifier_depends_on_the_length() -> None:
    assert MasterKey(bytes(32)).identifier != MasterKey(bytes(64)).identifier


def test_siphash_answers_its_papers_example() -> None:
    assert siphash_2_4(bytes(range(16)), bytes(range(15))) == 0xA129CA6149BE45E5
