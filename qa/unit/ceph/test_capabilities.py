import pytest

from mgr_fscrypt.ceph.capabilities import in_letters


@pytest.mark.parametrize(
    ("bits", "letters"),
    [
        (0x3FDD, "pAsxLsXsxFsxcrwb"),
        (0xD55, "pAsLsXsFscr"),
        (0x1855, "pAsLsXsFrw"),
        (0x1, "p"),
        (0x0, "-"),
        (0xFFFF, "pAsxLsxXsxFsxcrwbal"),
    ],
)
def test_bits_in_the_letters_that_the_vxattr_shows(bits: int, letters: str):
    assert in_letters(bits) == letters
