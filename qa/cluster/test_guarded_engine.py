"""The engine's cases on the real cluster, with libcephfs in a child process."""

from collections.abc import Iterator

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect, connect_guarded
from mgr_fscrypt.ceph.guard.mount import GuardedMount
from mgr_fscrypt.ceph.mount import CephMount
from qa.fakes.engine_cases import EngineCases


@pytest.fixture(scope="module")
def mount() -> Iterator[GuardedMount]:
    with connect_guarded(Access()) as found:
        yield found


@pytest.fixture(scope="module")
def plain() -> Iterator[CephMount]:
    with connect(Access()) as found:
        yield found


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody completes anything meanwhile here: do not wait for it."""
    monkeypatch.setattr("mgr_fscrypt.engine.waiting._STEPS", (0,))


class TestThroughAGuard(EngineCases):
    """Everything that the engine promises of one client."""
