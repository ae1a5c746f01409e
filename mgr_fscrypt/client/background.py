"""``mount`` in the background: the same program, spawned before anything of Ceph is loaded.

A process must not fork once it has mounted (doc/facts.md F15), so the one that serves is started first, and tells by
its own `--json` output that the mount is there or why not.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import IO, cast

from .mount import in_words
from .outcome import Exit, Failure
from .report import Reporter


def start(reporter: Reporter, arguments: Sequence[str]) -> Exit:
    """Run `arguments`, a `mount` command, in the background; answers when the mount is there.

    It inherits standard input, for `--key -`, and the terminal, on which it may ask for a passphrase; once the mount is
    there it has a session of its own.

    Raises:
        Failure: it was not mounted; as the process itself told it.
    """
    command, *rest = arguments
    serving = subprocess.Popen(
        # -P: the caller's directory is no place to import from
        [
            sys.executable,
            "-P",
            "-m",
            f"{__package__}.commands",
            command,
            "--foreground",
            "--detached",
            "--json",
            *rest,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        # Popen makes one of a PIPE
        answer = cast("IO[str]", serving.stdout).readline()
        if answer:
            value = json.loads(answer)
            reporter.summary(value, in_words(value))
            return Exit.DONE
        _, said = serving.communicate()
    except BaseException:
        serving.terminate()
        raise
    raise _failure(said, serving.returncode)


def _failure(said: str, code: int) -> Failure:
    lines = said.strip().splitlines()
    try:
        told = json.loads(lines[-1])
        return Failure(Exit(told["code"]), told["happened"], left=told["left"], remedy=told["remedy"])
    except (IndexError, KeyError, TypeError, ValueError):
        return Failure(
            Exit.INTERNAL,
            f"the mount ended with code {code} before it was there: {' '.join(lines[-3:]) or 'it said nothing'}",
            remedy="run it with --foreground to see more",
        )
