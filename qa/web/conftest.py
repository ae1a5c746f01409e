"""The API's own server, and a browser before its pages, on a cluster with some life in it."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from qa.demo.living import calm, enliven
from qa.fakes.api_client import ApiServer, served
from qa.kms.bao import Bao
from qa.kms.certificates import Authority
from qa.kms.place import told
from qa.lab.cluster import Cluster
from qa.load.program import done
from qa.web.browser import Browser, browsing
from qa.web.visiting import log_in


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whose client certificates the server believes."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    """The server of a key manager."""
    found = Bao(tmp_path_factory.mktemp("bao"))
    yield found
    found.stop()


@pytest.fixture(scope="session")
def kms(cluster: Cluster, bao: Bao) -> Iterator[str]:
    """It, known on the file system."""
    cluster.enable_module("fscrypt")
    name, by = f"company-{uuid.uuid4().hex[:4]}", ("--credentials", bao.credentials)
    done("kms", "add", name, *told(bao.settings()), *by)
    yield name
    done("kms", "rm", name)


@pytest.fixture(scope="session")
def server(cluster: Cluster, authority: Authority) -> Iterator[ApiServer]:
    """The API's own server."""
    with served(cluster, api_client_authority=str(authority.file)) as found:
        yield found


@pytest.fixture(scope="session")
def address(cluster: Cluster, server: ApiServer, bao: Bao, kms: str) -> Iterator[str]:
    """Where the pages are, with something to see on them."""
    # the service looks once a minute which key managers are known: this one is from the beginning
    enliven(cluster, bao.credentials)
    try:
        yield server.address
    finally:
        calm(cluster)


@pytest.fixture(scope="session")
def window(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser with nobody logged in."""
    shots = Path(os.environ["FSCRYPT_QA_SHOTS"]) if "FSCRYPT_QA_SHOTS" in os.environ else None
    with browsing(address, tmp_path_factory.mktemp("chromium"), shots) as found:
        yield found


@pytest.fixture
def browser(cluster: Cluster, window: Browser) -> Iterator[Browser]:
    """Somebody who is logged in; the browser has nothing to complain of afterwards."""
    log_in(cluster, window)
    yield window
    assert window.complaints() == []
