"""The table of operations, on the fake."""

import pytest

from qa.fakes.ceph import FakeCluster, FakeMount
from qa.fakes.operation_cases import FENCED, OPERATIONS, check, table

SAID = table()


@pytest.mark.parametrize(("operation", "column"), [pair for pair in SAID if pair[0] in OPERATIONS])
def test_an_operation(operation: str, column: str) -> None:
    cluster = FakeCluster()
    check(FakeMount(cluster), FakeMount(cluster), operation, column, SAID[operation, column])


def test_the_page_and_the_cases_name_the_same_operations() -> None:
    assert {operation for operation, _ in SAID} == {*OPERATIONS, FENCED}
