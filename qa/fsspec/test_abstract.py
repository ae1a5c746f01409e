"""fsspec's own tests of a file system."""

import os
from collections.abc import Callable

import pytest
from fsspec.tests import abstract


class Fixtures(abstract.AbstractFixtures):
    """Ours. The file system is the fixture of this folder."""

    @pytest.fixture
    def fs_path(self, subtree: str) -> str:
        """Where the tests work."""
        return subtree

    @pytest.fixture
    def fs_join(self) -> Callable[..., str]:
        """How paths are put together."""
        return os.path.join


# what is inherited would hide the fixture of this folder
del abstract.AbstractFixtures.fs


class TestCopy(abstract.AbstractCopyTests, Fixtures):
    pass


class TestGet(abstract.AbstractGetTests, Fixtures):
    pass


class TestPut(abstract.AbstractPutTests, Fixtures):
    pass


class TestOpen(abstract.AbstractOpenTests, Fixtures):
    pass


class TestPipe(abstract.AbstractPipeTests, Fixtures):
    pass
