"""The table of operations (doc/operations.md), on a real cluster, where other clients are other mounts."""

from collections.abc import Iterator

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.engine import FileMode, FileSystem, Keyring, LockedError, NotFencedError
from qa.fakes.operation_cases import FENCED, KEY, OPERATIONS, check, scene_of, table

SAID = table()


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[CephMount]:
    with connect(Access()) as other:
        yield other


@pytest.mark.parametrize(("operation", "column"), [pair for pair in SAID if pair[0] in OPERATIONS])
def test_an_operation(mount: CephMount, elsewhere: CephMount, operation: str, column: str) -> None:
    check(mount, elsewhere, operation, column, SAID[operation, column])


@pytest.mark.parametrize("column", [column for operation, column in SAID if operation == FENCED])
def test_release_and_hold_need_a_fence(mount: CephMount, elsewhere: CephMount, column: str) -> None:
    keyring = Keyring()
    if not column.endswith("locked"):
        keyring.add(KEY)
    with scene_of(mount, elsewhere, column) as scene, FileSystem(mount, keyring, durable_close=True) as files:
        kernel = column.startswith("kernel")
        with pytest.raises((NotFencedError, LockedError)) as refusal:
            (files.hold if kernel else files.release)(scene.top)
        assert isinstance(refusal.value, LockedError) == (SAID[FENCED, column] == "ENOKEY")
        assert files.subtree(scene.top).mode is (FileMode.KERNEL if kernel else FileMode.ENGINE)
