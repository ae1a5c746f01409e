"""What a client may do and cache with an inode, as the bits that the MDS hands out and as the letters people read.

`p` for pinning the inode, then for Auth, Link, Xattr and File what is held of it: s(hared), (e)x(clusive), and of a
File also c(ache), r(ead), w(rite), b(uffer), (extend) a, l(azy): `CEPH_CAP_*` in the kernel's ceph_fs.h, and
`ccap_string` in libcephfs.
"""

_PIN = 1
_OF_OTHERS = "sx"
_OF_FILE = "sxcrwbal"
_PARTS = (("A", 2, _OF_OTHERS), ("L", 4, _OF_OTHERS), ("X", 6, _OF_OTHERS), ("F", 8, _OF_FILE))


def in_letters(bits: int) -> str:
    """Such as `pAsLsXsFscr` of 0xd55; `-` of none."""
    text = "p" if bits & _PIN else ""
    for part, shift, letters in _PARTS:
        held = "".join(letter for place, letter in enumerate(letters) if bits >> shift >> place & 1)
        text += part + held if held else ""
    return text or "-"
