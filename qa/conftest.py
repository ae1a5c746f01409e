"""Fixtures that every room of the tests shares."""

import pytest

from qa.lab.cluster import Cluster


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The real cluster whose chamber this runs in."""
    return Cluster.current()
