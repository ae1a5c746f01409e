"""Comparing both sides of a migration in a process of its own, with a mount of its own: nothing of what the copier
remembers, and no cache of its, can make two trees look the same.

The process is spawned (doc/facts.md F15), and gets the keys by the pipe that it inherits, which nobody else can read;
what comes back are counts and paths.
"""

import errno
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from pathlib import Path

from ..ceph.access import Access
from ..ceph.connect import connect
from ..ceph.prctl import end_with_parent, keep_out_of_core_dumps
from ..engine import BusyError, FileSystem, Keyring
from ..format import MasterKey
from .migration import Migration
from .reports import told_in
from .spawning import SPAWNED, apart_from_here
from .verdict import Verdict

_TELL = 0.2
"""Seconds between two words of the child."""


def compared(
    access: Access,
    path: bytes,
    keys: Iterable[MasterKey],
    told: Callable[[Verdict], None],
    report: Path | None = None,
    *,
    manifest: bool = False,
) -> Verdict:
    """Compare what is migrated at `path`.

    Args:
        told: called some times a second, with the counts so far; what it raises ends the comparison.
        report: a local directory in which each entry is told (`reports`).
        manifest: as `Migration.compare`; only for who has the turn.

    Raises:
        BusyError: EIO: the process that compares died.
        OSError: what it met, as `comparing.compare` has it.
    """
    answers, saying = SPAWNED.Pipe(duplex=False)
    secrets = [key.expose() for key in keys]
    child = SPAWNED.Process(
        target=_prove, args=(access, path, secrets, saying, report, manifest), daemon=True
    )
    with apart_from_here():
        child.start()
    saying.close()
    try:
        return _heard(answers, path, told)
    finally:
        answers.close()
        # it has said all by now, or nobody wants to hear it
        child.kill()
        child.join()
        child.close()


def _heard(answers: Connection, path: bytes, told: Callable[[Verdict], None]) -> Verdict:
    verdict = Verdict()
    while True:
        told(verdict)
        if not answers.poll(_TELL):
            continue
        try:
            over, said = answers.recv()
        except EOFError as error:
            raise BusyError(
                errno.EIO,
                "the process that compares died before it was through",
                path,
                remedy="See why (`dmesg` names those that had no memory), and run the same again.",
            ) from error
        if not isinstance(said, Verdict):
            raise said
        verdict = said
        if over:
            told(verdict)
            return verdict


def _prove(
    access: Access,
    path: bytes,
    secrets: list[bytes],
    saying: Connection,
    report: Path | None,
    manifest: bool,
) -> None:
    """The child."""
    keep_out_of_core_dumps()
    end_with_parent()
    parent = multiprocessing.parent_process()
    if parent is None or parent.pid != os.getppid():
        return
    keyring = Keyring()
    for secret in secrets:
        keyring.add(MasterKey(secret))
    secrets.clear()
    verdict = Verdict()
    try:
        with connect(access) as mount, FileSystem(mount, keyring) as files:
            migration, teller = Migration(mount, files, path), _Teller(verdict, saying)
            with told_in(report) as told:
                migration.compare(verdict, teller, told, manifest=manifest)
    except OSError as error:
        saying.send((True, error))
        return
    saying.send((True, verdict))


class _Teller:
    """Says now and then how far it is."""

    def __init__(self, verdict: Verdict, saying: Connection) -> None:
        self._verdict = verdict
        self._saying = saying
        self._said = 0.0

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self._said > _TELL:
            self._said = now
            self._saying.send((False, self._verdict))
