"""Search what the kernel writes of a process that is aborted, where core dumps are not limited."""

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .files import search_files
from .forms import Needles, Searched, Secret

_PATTERN = Path("/proc/sys/kernel/core_pattern")
_HOLDER = ("sh", "-c", "read -r decoy; echo ready; read end")
_UNLIMITED = 'ulimit -c unlimited; exec "$@"'


class UnavailableError(Exception):
    """This machine writes core dumps elsewhere than into the working directory; the message says where."""


def search_cores(
    commands: Sequence[Sequence[str]], folder: Path, needles: Needles, decoy: Secret
) -> Searched:
    """Run commands until their first byte of output, abort them, and search what the kernel wrote of them, if anything.

    Before that a process that does nothing against it is aborted with the decoy in its memory: that its dump is
    there and holds the decoy proves that others might have been.

    Args:
        commands: print more than a pipe holds, or wait, so that they are still there when they are aborted.
        folder: where dumps are to lie; empty.
        decoy: of `needles`, too.

    Raises:
        UnavailableError: core dumps do not go to the working directory here.
    """
    pattern = _PATTERN.read_text().strip()
    if pattern.startswith(("|", "/", "@")):
        raise UnavailableError(f"core dumps go to {pattern!r} here")
    for number, words in enumerate((_HOLDER, *commands)):
        place = folder / str(number)
        place.mkdir()
        _abort(words, place, decoy.value.hex().encode() + b"\n")
    return search_files("core dumps", [folder], needles)


def _abort(command: Sequence[str], folder: Path, line: bytes) -> None:
    process = subprocess.Popen(
        ["sh", "-c", _UNLIMITED, "sh", *command],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line)
    process.stdin.flush()
    if process.stdout.read(1) == b"":
        _, said = process.communicate()
        raise RuntimeError(f"{command[0]} printed nothing: {said.decode(errors='replace')}")
    process.send_signal(signal.SIGABRT)
    process.communicate()
    if process.returncode != -signal.SIGABRT:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}, and not by SIGABRT")
