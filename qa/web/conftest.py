"""A browser before the module's own server, on a cluster with some life in it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from qa.demo.living import calm, enliven, served
from qa.lab.cluster import Cluster
from qa.web.browser import Browser, browsing
from qa.web.visiting import log_in


@pytest.fixture(scope="session")
def address(cluster: Cluster) -> Iterator[str]:
    """The module's own server, on a cluster with some life in it."""
    cluster.enable_module("fscrypt")
    enliven(cluster)
    try:
        yield served(cluster).partition("/login")[0]
    finally:
        cluster.ceph("config", "set", "mgr", "mgr/fscrypt/api_server", "false")
        calm(cluster)


@pytest.fixture(scope="session")
def window(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    shots = Path(os.environ["FSCRYPT_QA_SHOTS"]) if "FSCRYPT_QA_SHOTS" in os.environ else None
    with browsing(address, tmp_path_factory.mktemp("chromium"), shots) as found:
        yield found


@pytest.fixture
def browser(cluster: Cluster, window: Browser) -> Iterator[Browser]:
    """Somebody who is logged in; the browser has nothing to complain of afterwards."""
    log_in(cluster, window)
    yield window
    assert window.complaints() == []
