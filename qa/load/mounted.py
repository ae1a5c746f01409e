"""`cephfs-fscrypt mount` as a person runs it, for a `with` block."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .program import ROOT, command

_PATIENCE = 20.0


@contextmanager
def mounted(subtree: str, directory: Path, key: Path | None, *more: str | Path) -> Iterator[int]:
    """Mount in the background, with `more` options, and unmount; the process that serves. It must have ended by itself
    afterwards."""
    options: list[str | Path] = ["--json"] if key is None else ["--json", "--key", key]
    done = subprocess.run(
        command("mount", *options, *more, subtree, directory),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=ROOT,
        timeout=60,
    )
    process = int(json.loads(done.stdout)["process"])
    try:
        yield process
    finally:
        if directory.is_mount():
            subprocess.run(["umount", directory], check=True)
        wait_for_end(process)


def wait_for_end(process: int) -> None:
    """Raises `TimeoutError` where it goes on."""
    end = time.monotonic() + _PATIENCE
    while runs(process):
        if time.monotonic() > end:
            raise TimeoutError(f"process {process} goes on after its mount is gone")
        time.sleep(0.02)


def runs(process: int) -> bool:
    """Is it there, and not only waiting for its parent to hear of its end?"""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
