"""Which sessions can meet a subtree."""

import pytest

from mgr_fscrypt.ceph.interface import Session, lies_at_or_below


@pytest.mark.parametrize(
    ("path", "top", "answer"),
    [
        (b"/a/b", b"/a", True),
        (b"/a", b"/a", True),
        (b"/a", b"/", True),
        (b"/", b"/", True),
        (b"/ab", b"/a", False),
        (b"/", b"/a", False),
        (b"/a", b"/a/b", False),
    ],
)
def test_lies_at_or_below(path: bytes, top: bytes, answer: bool) -> None:
    assert lies_at_or_below(path, top) is answer


@pytest.mark.parametrize(
    ("root", "answer"),
    [
        (b"/", True),
        (b"", True),
        (b"/a", True),
        (b"/a/b", True),
        (b"/a/b/c", True),
        (b"//a/b", True),
        (b"a//b/./", True),
        (b"/a/x/../b", True),
        (b"/a/x", False),
        (b"/a/bc", False),
    ],
)
def test_a_session_reaches_what_its_root_holds_or_lies_in(root: bytes, answer: bool) -> None:
    session = Session(7, "client.x", "127.0.0.1:0/1", root, {}, 0, manager=False)
    assert session.reaches(b"/a/b") is answer
