"""The engine's cases on the real cluster."""

from collections.abc import Iterator

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.mount import CephMount
from qa.fakes.engine_cases import EngineCases
from qa.fakes.long_name_cases import LongNameCases
from qa.fakes.policy_cases import PolicyCases
from qa.fakes.posix_cases import PosixCases
from qa.fakes.snapshot_cases import SnapshotCases


@pytest.fixture(scope="module")
def mount() -> Iterator[CephMount]:
    with connect(Access()) as found:
        yield found


@pytest.fixture(scope="module")
def plain() -> Iterator[CephMount]:
    with connect(Access()) as found:
        yield found


class TestOnTheCluster(EngineCases):
    """Everything that the engine promises of one client."""


class TestPosixOnTheCluster(PosixCases):
    """What POSIX has beside names and contents."""


class TestSnapshotsOnTheCluster(SnapshotCases):
    """What is seen of snapshots."""


class TestLongNamesOnTheCluster(LongNameCases):
    """Names that kernels stored hashed."""


class TestPoliciesOnTheCluster(PolicyCases):
    """Policies in each other's way."""
