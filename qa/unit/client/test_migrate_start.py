"""What `migrate start` asks for before it asks a cluster for anything."""

from pathlib import Path
from typing import Any

import pytest

from mgr_fscrypt.client.migrate import Start, Wish, start


def test_a_report_that_cannot_be_written_is_found_before_anything_is_copied(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    nobody: Any = object()
    with pytest.raises(FileExistsError):
        start(nobody, nobody, Wish(b"/data"), Start(report=file))
