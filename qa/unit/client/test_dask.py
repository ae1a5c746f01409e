"""What is asked for before anything of Dask's is."""

from pathlib import Path

import pytest

from mgr_fscrypt.client.commands import parser
from mgr_fscrypt.client.dask import chosen_scheduler
from mgr_fscrypt.client.outcome import Failure
from mgr_fscrypt.keys.private_files import UnsafeFileError


def chosen(folder: Path, *words: str, address: str = "tls://host:8786") -> object:
    files = [f"--tls-{name}={folder / name}" for name in ("ca", "cert", "key")]
    given = ["--executor", "dask", "--scheduler", address, *files]
    return chosen_scheduler(parser().parse_args(["migrate", "start", "/data", *words, *given]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "key").write_text("of TLS")
    (tmp_path / "key").chmod(0o600)
    return tmp_path


def test_a_scheduler_is_where_its_files_are(folder: Path) -> None:
    found = chosen_scheduler(parser().parse_args(["migrate", "start", "/data"]))
    assert found is None
    assert str(chosen(folder)).startswith("Scheduler(address='tls://host:8786'")


@pytest.mark.parametrize("address", ["tcp://host:8786", "host:8786", "ucx://host:1"])
def test_what_is_not_tls_is_refused(folder: Path, address: str) -> None:
    with pytest.raises(Failure, match="TLS only"):
        chosen(folder, address=address)


def test_a_private_key_that_others_can_read_is_refused(folder: Path) -> None:
    (folder / "key").chmod(0o640)
    with pytest.raises(UnsafeFileError):
        chosen(folder)


def test_a_scheduler_without_its_executor_is_a_mistake(folder: Path) -> None:
    options = parser().parse_args(["migrate", "start", "/data", "--scheduler", "tls://host:8786"])
    with pytest.raises(Failure, match="--executor dask"):
        chosen_scheduler(options)
