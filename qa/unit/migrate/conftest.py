"""Two clients of one CephFS in memory."""

import pytest

from qa.fakes.ceph import FakeCluster, FakeMount


@pytest.fixture
def mount() -> FakeMount:
    return FakeMount(FakeCluster())


@pytest.fixture
def plain(mount: FakeMount) -> FakeMount:
    return FakeMount(mount.cluster)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody completes anything meanwhile here: do not wait for it."""
    monkeypatch.setattr("mgr_fscrypt.engine.waiting._STEPS", (0,))
