"""Random operations on one file and on one tree, beside a model: in every cell of the table of doc/testing.md."""

import random
import time
from pathlib import Path

import pytest

from qa.load.cells import CELLS, Cell
from qa.load.seeds import seed

COUNT = 5000
PATIENCE = 10.0
"""Seconds for each cell: those that wait for disks and leases do what there is time for."""


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_random_operations(cell: Cell, subtree: str, key: Path):
    chosen, started = seed(), time.monotonic()
    ran = cell.run(subtree, key, random.Random(chosen), COUNT, PATIENCE)
    assert ran.wrong is None, f"FSCRYPT_QA_SEED={chosen}: {ran.wrong}"
    print(
        f"sampled: {cell}: {ran.operations} of {COUNT} operations, seed {chosen}, "
        f"{time.monotonic() - started:.0f} s"
    )
