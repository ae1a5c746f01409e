"""Paths as callers say them."""

import errno

import pytest

from mgr_fscrypt.engine import RefusedError
from mgr_fscrypt.engine.paths import components, joined


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/", ()),
        (b"/a", (b"a",)),
        ("/a//b/./c/", (b"a", b"b", b"c")),
        ("/ä", ("ä".encode(),)),
        (b"/\xff", (b"\xff",)),
    ],
)
def test_paths_are_taken_apart(path: bytes | str, names: tuple[bytes, ...]) -> None:
    assert components(path) == names


@pytest.mark.parametrize("path", ["", "a", "../a", "/..", "/a/../b", "/a/..", b"/a\0"])
def test_paths_that_leave_are_refused(path: bytes | str) -> None:
    with pytest.raises(RefusedError) as refusal:
        components(path)
    assert refusal.value.errno == errno.EINVAL


def test_paths_are_put_together() -> None:
    assert joined(b"/", b"a") == b"/a"
    assert joined(b"/a", b"b") == b"/a/b"
