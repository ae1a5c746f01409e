"""How much memory a process had."""

import os
from pathlib import Path


def peak_of(process: int) -> int:
    """Bytes at its peak, as its own program: what getrusage(2) tells counts whoever started it, too."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise RuntimeError(f"process {process} does not tell its peak")


def peak_from_now() -> None:
    """Forget the peak that this process had so far (proc_pid_clear_refs(5))."""
    Path(f"/proc/{os.getpid()}/clear_refs").write_text("5")
