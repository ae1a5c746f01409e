"""The cases of bad input on the real cluster."""

from collections.abc import Iterator

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.mount import CephMount
from qa.fakes.bad_input_cases import BadInputCases


@pytest.fixture(scope="module")
def mount() -> Iterator[CephMount]:
    with connect(Access()) as found:
        yield found


@pytest.fixture(scope="module")
def plain() -> Iterator[CephMount]:
    with connect(Access()) as found:
        yield found


class TestOnTheCluster(BadInputCases):
    """All of them."""
