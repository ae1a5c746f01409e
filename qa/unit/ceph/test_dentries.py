"""What is read out of an MDS's dump, in the shape that 20.2.4 answers."""

import base64

from mgr_fscrypt.ceph.dentries import alternate_names

LONG = bytes(range(200))
DUMP = [
    {
        "path": "/s",
        "dirfrag": "0x10000000005",
        "snapid_first": 2,
        "is_auth": True,
        "dentries": [
            {
                "path": "s/AAAA",
                "alternate_name": base64.b64encode(LONG).decode(),
                "path_ino": 1,
                "snap_first": 10,
                "is_primary": True,
                "is_null": False,
            },
            {"path": "s/BBBB", "alternate_name": "", "path_ino": 1, "is_null": False},
            {"path": "s/CCCC", "alternate_name": "no base64!", "path_ino": 1},
            {"path": "s/DDDD", "path_ino": 1},
        ],
    },
    {
        "path": "/s",
        "dirfrag": "0x10000000005.01*",
        "dentries": [{"path": "s/EEEE", "alternate_name": base64.b64encode(b"x").decode()}],
    },
    {"path": "/s"},
]


def test_names_that_have_something_beside() -> None:
    assert alternate_names(DUMP) == {b"AAAA": LONG, b"EEEE": b"x"}
    assert alternate_names([]) == {}
