"""The commands of one page, run one after the other by one shell, in a place of the page's own.

The place is a mount and pid namespace: `/root`, `/mnt`, `/srv`, `/media` and `/home` are empty and its own, and
whatever a page started or mounted ends with it.
"""

import doctest
import errno
import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .pages import Command

_FRESH = ("/root", "/mnt", "/srv", "/media", "/home")
_OWN = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private")
_LOOSELY = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
_SHOWN = 1500
_TIMES = 30


@dataclass(frozen=True)
class Ran:
    """How one command went: what is wrong with it is empty where it did as the page says."""

    command: Command
    seconds: float
    wrong: str


def run(commands: Sequence[Command], variables: Mapping[str, str], patience: float) -> Iterator[Ran]:
    """Run a page's commands up to the first that does otherwise than the page says.

    Args:
        variables: what the page's stage says, beside this process's environment; `PLACE` is where it begins.
        patience: seconds for all of them.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "script").write_text(_script(commands, place))
        begun = time.time()
        late = ""
        try:
            subprocess.run(
                [*_OWN, "bash", str(place / "script")],
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                timeout=patience,
                check=False,
            )
        except subprocess.TimeoutExpired:
            late = f"it did not end within the page's {patience:.0f} s"
        for number, command in enumerate(commands):
            code, said = place / f"{number}.code", place / f"{number}.said"
            text = said.read_text(errors="replace") if said.exists() else ""
            if not code.exists():
                yield Ran(command, 0.0, f"{late or 'the shell ended in it'}\n{text[-_SHOWN:]}")
                return
            ended = code.stat().st_mtime
            with_code = code.read_text().strip()
            yield Ran(command, ended - begun, _judged(command, with_code, text))
            if with_code != str(command.code):
                return
            begun = ended


def _judged(command: Command, code: str, text: str) -> str:
    if code != str(command.code):
        return f"exit code {code}, not {command.code}:\n{text[-_SHOWN:]}"
    wanted = command.wanted.strip()
    if wanted and not doctest.OutputChecker().check_output(wanted, text.strip(), _LOOSELY):
        return f"it printed:\n{text[-_SHOWN:]}"
    return ""


def _script(commands: Sequence[Command], place: Path) -> str:
    """A shell script that stops behind the first command with another exit code than is wanted.

    What says that it should be run again in some seconds (EAGAIN) is, as a reader would.
    """
    lines = [f"mount -t tmpfs -o mode=0755 page {each}" for each in _FRESH]
    lines.append('cd "$PLACE"')
    for number, command in enumerate(commands):
        base = shlex.quote(f"{place}/{number}")
        lines += [
            f"for again in {{1..{_TIMES}}}; do",
            f"{{\n{command.text}\n}} >{base}.said 2>&1",
            f"code=$?; [ $code = {errno.EAGAIN} ] && sleep 1 || break; done",
            f"echo $code >{base}.code; [ $code = {command.code} ] || exit 1",
        ]
    return "\n".join([*lines, ""])
