"""`hold --copy` on a real cluster, where other clients go on using the subtree."""

from collections.abc import Iterator

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.mount import CephMount
from qa.fakes.copying_cases import CopyingCases


@pytest.fixture
def plain() -> Iterator[CephMount]:
    with connect(Access()) as found:
        yield found


class TestCopyingOnTheCluster(CopyingCases):
    """Kernel to engine mode by new inodes."""
