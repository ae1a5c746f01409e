"""Spawned processes run nothing that lies where the program was called."""

import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from mgr_fscrypt.migrate.spawning import SPAWNED, apart_from_here


def test_spawned_processes_import_nothing_from_the_callers_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = tmp_path / "ran"
    (tmp_path / "multiprocessing.py").write_text(f"open({str(ran)!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    with apart_from_here(), ProcessPoolExecutor(1, mp_context=SPAWNED) as executor:
        assert executor.submit(os.getpid).result() != os.getpid()
    assert not ran.exists()


@pytest.mark.parametrize("before", [None, "", "1"])
def test_the_environment_is_as_it_was(before: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if before is None:
        monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    else:
        monkeypatch.setenv("PYTHONSAFEPATH", before)
    with apart_from_here():
        assert os.environ["PYTHONSAFEPATH"]
    assert os.environ.get("PYTHONSAFEPATH") == before
