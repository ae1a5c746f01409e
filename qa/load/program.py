"""`cephfs-fscrypt` as a person runs it: words in, words and an exit code out."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def command(*arguments: str | Path) -> list[str]:
    """The program with these arguments."""
    return [sys.executable, "-m", "mgr_fscrypt.client.commands", *map(str, arguments)]


def run(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Whatever comes of it."""
    return subprocess.run(
        command(*arguments),
        input=stdin,
        capture_output=True,
        timeout=120,
        check=False,
        cwd=ROOT,
    )


def done(*arguments: str | Path, stdin: bytes = b"") -> str:
    """What a command prints that does what it is asked."""
    answer = run(*arguments, stdin=stdin)
    words = answer.stderr.decode()
    assert (answer.returncode, words) == (0, ""), words
    return answer.stdout.decode()


def refused(code: int, *arguments: str | Path, stdin: bytes = b"") -> str:
    """Why a command is refused: our three lines, and nothing else."""
    answer = run(*arguments, stdin=stdin)
    words = answer.stderr.decode()
    assert (answer.returncode, answer.stdout) == (code, b""), words
    assert "Traceback" not in words
    assert "Left as it was: " in words
    return words
