"""Comparing both sides of a migration in a process of its own, with a mount of its own: nothing of what the copier
remembers, and no cache of its, can make two trees look the same.

The keys go over to the child by its standard input, which nobody else can read; what comes back are counts and paths.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, cast

from ..ceph.access import Access
from ..ceph.connect import connect
from ..ceph.prctl import keep_out_of_core_dumps
from ..engine import FileSystem, Keyring
from ..format import MasterKey
from ..migrate import Migration, Verdict, compare
from .advice import failure_of
from .outcome import Exit, Failure

_TELL = 0.2
"""Seconds between two words of the child."""


def compared(
    access: Access, path: bytes, keys: Iterable[MasterKey], told: Callable[[Verdict], None]
) -> Verdict:
    """Compare what is migrated at `path`; `told` is called with the counts so far.

    Raises:
        Failure: it could not be compared.
    """
    question = {
        "access": _to_json(access),
        "path": os.fsdecode(path),
        "keys": [key.expose().hex() for key in keys],
    }
    # -P: the caller's directory is no place to import from
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with child:
        # Popen makes one of a PIPE
        asked, answers = cast("IO[str]", child.stdin), cast("IO[str]", child.stdout)
        try:
            asked.write(json.dumps(question) + "\n")
            asked.close()
            last: dict[str, Any] = {}
            for line in answers:
                last = json.loads(line)
                if "verdict" in last:
                    told(_verdict(last["verdict"]))
        except BaseException:
            child.kill()
            raise
    if "failure" in last:
        failure = last["failure"]
        raise Failure(Exit(failure["code"]), failure["happened"], remedy=failure["remedy"])
    if child.returncode != 0 or not last.get("done"):
        raise Failure(
            Exit.INTERNAL,
            f"the process that compares ended with {child.returncode} before it was through",
            remedy="run the same again",
        )
    return _verdict(last["verdict"])


def main() -> int:
    """The child."""
    keep_out_of_core_dumps()
    question = json.loads(sys.stdin.readline())
    keyring = Keyring()
    for secret in question["keys"]:
        keyring.add(MasterKey(bytes.fromhex(secret)))
    verdict = Verdict()
    try:
        with connect(_access(question["access"])) as mount, FileSystem(mount, keyring) as files:
            migration = Migration(mount, files, os.fsencode(question["path"]))
            compare(migration.sides(migration.required_record()), verdict, _Teller(verdict))
    except Exception as error:
        failure = failure_of(error)
        if failure is None:
            raise
        _say({"failure": {"code": failure.code, "happened": failure.happened, "remedy": failure.remedy}})
        return 0
    _say({"verdict": _of_verdict(verdict), "done": True})
    return 0


class _Teller:
    """Says now and then how far it is."""

    def __init__(self, verdict: Verdict) -> None:
        self._verdict = verdict
        self._said = 0.0

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self._said > _TELL:
            self._said = now
            _say({"verdict": _of_verdict(self._verdict)})


def _say(value: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def _of_verdict(verdict: Verdict) -> dict[str, object]:
    listed = [(kind, os.fsdecode(below), how) for kind, below, how in verdict.listed]
    return asdict(verdict) | {"listed": listed}


def _verdict(value: dict[str, Any]) -> Verdict:
    listed = [(kind, os.fsencode(below), how) for kind, below, how in value["listed"]]
    return Verdict(**(value | {"listed": listed}))


def _to_json(access: Access) -> dict[str, object]:
    return {
        "conf": access.conf and str(access.conf),
        "entity": access.entity,
        "keyring": access.keyring and str(access.keyring),
        "file_system": access.file_system,
        "root": os.fsdecode(access.root),
        "timeout": access.timeout,
    }


def _access(value: dict[str, Any]) -> Access:
    return Access(
        **value
        | {
            "conf": value["conf"] and Path(value["conf"]),
            "keyring": value["keyring"] and Path(value["keyring"]),
            "root": os.fsencode(value["root"]),
        }
    )


if __name__ == "__main__":
    sys.exit(main())
