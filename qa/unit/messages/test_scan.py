"""What a scan found, as it is kept and told."""

import json

import pytest

from mgr_fscrypt.messages import MessageError, Policy
from mgr_fscrypt.messages.exchange import Answer
from mgr_fscrypt.messages.lines import line_of
from mgr_fscrypt.messages.scan import LARGEST_PAGE, FoundSubtree, Mixture, ScanPage, ScanQuestion

POLICY = Policy("AES-256-XTS", "AES-256-CBC-CTS", 32, "00" * 16)
FOUND = FoundSubtree("/a", 7, "engine", POLICY, 3, (Mixture("plain", 2, "/a/x"),))


def test_what_is_kept_is_read_again():
    assert FoundSubtree.decode(FOUND.encode()) == FOUND
    assert FOUND.facts.policy == POLICY


@pytest.mark.parametrize(
    "change",
    [
        {"path": "a"},
        {"mode": "both"},
        {"inode": -1},
        {"secret": "x"},
        {"mixed": [{"what": "odd", "count": 1, "example": ""}]},
        {"mixed": [{"what": "plain", "count": 0, "example": ""}]},
    ],
)
def test_what_is_none_is_refused(change: dict[str, object]):
    with pytest.raises(MessageError):
        FoundSubtree.decode(json.dumps(json.loads(FOUND.encode()) | change).encode())


@pytest.mark.parametrize("limit", [0, 201])
def test_pages_have_a_size(limit: int):
    with pytest.raises(MessageError):
        ScanQuestion("00" * 16, "", limit)


def test_the_largest_page_is_a_message():
    """By its rule a page ends after the subtree that goes beyond `LARGEST_PAGE`."""
    longest = FoundSubtree("/" + "\u00e4" * 2047, 7, "engine", POLICY, 3, FOUND.mixed)
    many = LARGEST_PAGE // len(longest.encode()) + 2
    page = ScanPage((longest,) * many, longest.path)
    assert sum(len(each.encode()) for each in page.found[:-1]) > LARGEST_PAGE
    assert line_of(Answer(7, page).encode())
