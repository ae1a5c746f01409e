"""A client of one CephFS in memory, with a subtree in it."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import cast

import pytest

from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.cephfscrypt import Client, MasterKey
from mgr_fscrypt.client.given_keys import keys_of
from qa.fakes.ceph import FakeCluster, FakeMount
from qa.fakes.engine_cases import SECRET


@pytest.fixture
def files() -> Iterator[Client]:
    """With its key; `/vault` is encrypted."""
    key = MasterKey(SECRET)
    with Client(cast("CephMount", FakeMount(FakeCluster())), keys_of(key), ExitStack()) as made:
        made.mkdir("/vault")
        made.create_subtree("/vault", key.identifier)
        yield made
