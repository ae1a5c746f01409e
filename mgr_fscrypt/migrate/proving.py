"""Comparing both sides of a migration in processes of their own, with mounts of their own: nothing of what the copier
remembers, and no cache of its, can make two trees look the same.

One process walks both trees, tells what came of them, and has others compare (`comparers`). It is spawned (doc/facts.md
F15), and gets the keys by the pipe that it inherits, which nobody else can read; what comes back are counts and paths.
"""

import errno
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from ..ceph.access import Access
from ..ceph.connect import connect
from ..ceph.errors import CephError
from ..ceph.reclaim import reset
from ..engine import BusyError, FileSystem
from ..format import MasterKey
from .comparers import comparers
from .migration import Migration
from .pool import keyring_of_spawned, new_sessions
from .reports import told_in
from .spawning import SPAWNED, apart_from_here
from .verdict import Verdict

_TELL = 0.2
"""Seconds between two words of the child."""
_PATIENCE = 5.0
"""Seconds that the child may take to end, with all that compare for it."""


def compared(
    access: Access,
    path: bytes,
    keys: Iterable[MasterKey],
    told: Callable[[Verdict], None],
    report: Path | None = None,
    *,
    manifest: bool = False,
    workers: int = 1,
) -> Verdict:
    """Compare what is migrated at `path`.

    Args:
        told: called some times a second, with the counts so far; what it raises ends the comparison.
        report: a local directory in which each entry is told (`reports`).
        manifest: as `Migration.compare`; only for who has the turn.
        workers: processes that compare at the same time; of one it is the one that walks.

    Raises:
        BusyError: EIO: the process that compares died.
        OSError: what it met, as `comparing.compare` has it.
    """
    answers, saying = SPAWNED.Pipe(duplex=False)
    secrets = [key.expose() for key in keys]
    sessions = new_sessions(1 if workers == 1 else 1 + workers)
    child = SPAWNED.Process(target=_prove, args=(access, path, secrets, sessions, saying, report, manifest))
    with apart_from_here():
        child.start()
    saying.close()
    over: Verdict | OSError | None = None
    try:
        over = _heard(answers, path, told)
    finally:
        # it has said all by now, or nobody wants to hear it: it finds out when it tells the next time
        answers.close()
        child.join(_PATIENCE)
        if child.exitcode is None:
            child.kill()
            child.join()
        if child.exitcode != 0 or isinstance(over, BusyError):
            # one has died, and maybe all: the kernel ends those that compare with the one that walks
            _end_sessions(access, sessions)
        child.close()
    if isinstance(over, OSError):
        raise over
    return over


def _end_sessions(access: Access, sessions: Sequence[str]) -> None:
    """The MDS would keep them for a minute, and whoever migrates next would take them for others. Not being able to
    changes nothing of what is told."""
    with suppress(CephError):
        for session in sessions:
            reset(access, session)


def _heard(answers: Connection, path: bytes, told: Callable[[Verdict], None]) -> Verdict | OSError:
    """What the child came to, which has unmounted by then, or what it met."""
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
            failed: OSError = said
            return failed
        verdict = said
        if over:
            told(verdict)
            return verdict


def _prove(
    access: Access,
    path: bytes,
    secrets: list[bytes],
    sessions: list[str],
    saying: Connection,
    report: Path | None,
    manifest: bool,
) -> None:
    """The child."""
    handed_on = list(secrets)
    keyring = keyring_of_spawned(secrets)
    own, *others = sessions
    verdict = Verdict()
    try:
        with connect(access, own) as mount, FileSystem(mount, keyring) as files, told_in(report) as told:
            migration, teller = Migration(mount, files, path), _Teller(verdict, saying)
            with comparers(access, handed_on, others, path, migration.required_record()) as judges:
                migration.compare(verdict, teller, told, manifest=manifest, judges=judges)
    except _UnheardError:
        return
    except OSError as error:
        over: Verdict | OSError = error
    else:
        over = verdict
    with suppress(BrokenPipeError):
        saying.send((True, over))


class _UnheardError(Exception):
    """Nobody wants to know any more."""


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
            try:
                self._saying.send((False, self._verdict))
            except BrokenPipeError as error:
                raise _UnheardError from error
