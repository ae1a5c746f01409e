"""The examples of doc/python.md and of the public docstrings, as they stand."""

import doctest
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mgr_fscrypt import cephfscrypt
from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.cephfscrypt import client, connecting
from qa.fakes.engine_cases import remove

PAGE = Path(__file__).resolve().parents[2] / "doc/python.md"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture
def vault(key: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[cephfscrypt.Client]:
    """What the examples find: `vault.key` in the current directory, and an empty subtree."""
    monkeypatch.chdir(key.parent)
    with cephfscrypt.connect(key="vault.key") as files:
        files.mkdir("/vault")
        assert files.key is not None
        files.create_subtree("/vault", files.key.identifier)
        yield files
    with connect(Access()) as mount:
        remove(mount, b"/vault")


def test_the_page(vault: cephfscrypt.Client):
    failed, tried = doctest.testfile(str(PAGE), module_relative=False, optionflags=FLAGS, encoding="utf-8")
    assert tried > 20
    assert failed == 0


@pytest.mark.parametrize("module", [cephfscrypt, client, connecting])
def test_docstrings(module: object, vault: cephfscrypt.Client):
    names = {"files": vault, "connect": cephfscrypt.connect, "os": os}
    tests = [test for test in doctest.DocTestFinder().find(module, globs=names) if test.examples]
    assert tests
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for test in tests:
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0
