"""What a kernel reads of a file whose ciphertext it has cut at the file's end."""

import pytest

from mgr_fscrypt.engine import Mode, policy_of
from mgr_fscrypt.format import Context, MasterKey
from qa.kernel.misreading import misread

KEY = MasterKey(bytes(range(64)))


@pytest.mark.parametrize("mode", [Mode.AES_256_XTS, Mode.AES_128_CBC])
@pytest.mark.parametrize("size", [1, 15, 17, 183, 4095, 4097, 8404, 100_001])
def test_it_is_wrong_in_the_block_that_the_end_lies_in(mode: Mode, size: int):
    context = Context.fresh(policy_of(KEY.identifier, 32, mode))
    content = bytes(number % 251 for number in range(size))
    found, whole = misread(KEY, context, content), size - size % 16
    assert len(found) == size
    assert found[:whole] == content[:whole]
    assert found != content or size % 16 == 1, "one byte of chance may be right"


@pytest.mark.parametrize("size", [0, 16, 4096, 8192 + 32])
def test_nothing_is_wrong_where_the_end_cuts_no_block(size: int):
    context = Context.fresh(policy_of(KEY.identifier, 32, Mode.AES_256_XTS))
    assert misread(KEY, context, b"x" * size) == b"x" * size
