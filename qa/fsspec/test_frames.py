"""Tables in an encrypted subtree, as pandas, pyarrow and Dask read and write them."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import dask.dataframe as dd
import distributed
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from dask.utils import tmpfile
from pandas.testing import assert_frame_equal
from pyarrow.fs import FSSpecHandler, PyFileSystem

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.cephfscrypt.spec import CephFscryptFileSystem as FileSystem

ROWS = 20_000
WORD = "plaintext-to-look-for"


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Some of everything that tables have."""
    numbers = np.random.default_rng(8)
    return pd.DataFrame(
        {
            "number": np.arange(ROWS),
            "value": numbers.normal(size=ROWS),
            "word": [f"{WORD} {each}" for each in numbers.integers(0, 50, ROWS)],
            "kind": numbers.choice(["a", "b", "c"], ROWS),
        }
    )


@pytest.fixture(scope="module")
def workers(options: dict[str, Any]) -> Iterator[distributed.Client]:
    """Two processes, which mount by themselves."""
    with (
        tmpfile() as folder,
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None, local_directory=folder
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def test_pandas(frame: pd.DataFrame, subtree: str, options: dict[str, Any]):
    url = f"cephfscrypt://{subtree}/pandas/table"
    frame.to_csv(f"{url}.csv", index=False, storage_options=options)
    assert_frame_equal(pd.read_csv(f"{url}.csv", storage_options=options), frame)
    frame.to_csv(f"{url}.csv.gz", index=False, storage_options=options)
    parts = pd.read_csv(f"{url}.csv.gz", storage_options=options, chunksize=7000)
    assert_frame_equal(pd.concat(parts), frame)
    frame.to_parquet(f"{url}.parquet", storage_options=options)
    assert_frame_equal(
        pd.read_parquet(f"{url}.parquet", storage_options=options, columns=["value"]), frame[["value"]]
    )


def test_pyarrow(frame: pd.DataFrame, subtree: str, fs: FileSystem):
    table = pa.Table.from_pandas(frame)
    arrow = PyFileSystem(FSSpecHandler(fs))
    top = f"{subtree}/arrow"
    ds.write_dataset(table, top, filesystem=arrow, format="parquet", partitioning=["kind"])
    assert {path.split("/")[-2] for path in fs.find(top)} == {"a", "b", "c"}
    found = ds.dataset(top, filesystem=arrow, format="parquet", partitioning=["kind"])
    assert found.count_rows() == ROWS
    few = found.to_table(filter=(ds.field("kind") == "b") & (ds.field("number") < 100), columns=["number"])
    assert sorted(few["number"].to_pylist()) == [each for each in range(100) if frame["kind"][each] == "b"]
    ds.write_dataset(
        table.slice(0, 10), top, filesystem=arrow, format="parquet", partitioning=["kind"],
        existing_data_behavior="delete_matching",
    )  # fmt: skip
    again = ds.dataset(top, filesystem=fs, format="parquet", partitioning=["kind"])
    assert again.count_rows() == 10
    with arrow.open_output_stream(f"{top}/one.parquet") as stream:
        pq.write_table(table, stream, row_group_size=1000)
    with arrow.open_input_file(f"{top}/one.parquet") as file:
        assert pq.ParquetFile(file).read_row_group(7, ["number"])["number"][0].as_py() == 7000
    arrow.move(f"{top}/one.parquet", f"{top}/moved.parquet")
    arrow.copy_file(f"{top}/moved.parquet", f"{top}/copied.parquet")
    assert pq.read_table(f"{top}/copied.parquet", filesystem=arrow) == table
    arrow.delete_dir(top)
    assert not fs.exists(top)


def test_dask(frame: pd.DataFrame, subtree: str, options: dict[str, Any], workers: distributed.Client):
    top = f"cephfscrypt://{subtree}/dask"
    frame.to_csv(f"{top}/in.csv", index=False, storage_options=options)
    lines = dd.read_csv(f"{top}/in.csv", storage_options=options, blocksize="200KB")
    assert lines.npartitions > 4
    lines.to_parquet(f"{top}/tables", storage_options=options)
    tables = dd.read_parquet(f"{top}/tables", storage_options=options)
    counted = tables.groupby("kind")["number"].sum().compute()
    assert counted.to_dict() == frame.groupby("kind")["number"].sum().to_dict()
    assert_frame_equal(
        tables.compute().sort_values("number").reset_index(drop=True).astype(frame.dtypes), frame
    )
    lines.to_csv(f"{top}/out/*.csv", index=False, storage_options=options)
    assert dd.read_csv(f"{top}/out/*.csv", storage_options=options)["value"].sum().compute() == pytest.approx(
        frame["value"].sum()
    )


def write_part(options: dict[str, Any], folder: str, number: int) -> str:
    """A task; the first try of one of them dies in the middle of its file."""
    # as it is by default: what is closed is durable
    fs = FileSystem(**{**options, "durable_close": True})
    path = f"{folder}/part-{number}"
    begun = f"{folder}/begun-{number}"
    first = not fs.exists(begun)
    if first:
        fs.pipe_file(begun, str(os.getpid()).encode())
    with fs.open(path, "wb") as stream:
        for _ in range(3):
            stream.write(bytes([number]) * (4 << 20))
        if first and number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
    return path


def test_a_worker_of_dask_is_killed(
    subtree: str, options: dict[str, Any], fs: FileSystem, workers: distributed.Client
):
    tasks = workers.map(write_part, [options] * 4, [f"{subtree}/killed"] * 4, range(4))
    for number, path in enumerate(workers.gather(tasks)):
        assert fs.size(path) == 12 << 20
        assert fs.cat_file(path, -5) == bytes([number]) * 5
    with pytest.raises(ProcessLookupError):
        os.kill(int(fs.cat_file(f"{subtree}/killed/begun-2")), 0)


def test_none_of_it_is_stored_in_the_clear(frame: pd.DataFrame, subtree: str, options: dict[str, Any]):
    frame.to_csv(f"cephfscrypt://{subtree}/{WORD}.csv", index=False, storage_options=options)
    with connect(Access()) as mount:
        (name, *_) = (each.name for each in mount.scandir(subtree.encode()) if each.kind.value == "file")
        path = f"{subtree}/".encode() + name
        descriptor = mount.open(path, os.O_RDONLY)
        stored = mount.pread(descriptor, 1 << 20, 0)
        mount.close(descriptor)
    assert len(stored) > 500_000
    assert WORD.encode() not in stored
    assert WORD.encode() not in name
