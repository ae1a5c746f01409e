"""ceph-mgr's door: commands in, results out, health. What they mean is decided in `control`.

Runs in ceph-mgr of 18.2 and 20.2, in whose interpreters neither a cipher library nor libcephfs is touched by
this module (doc/facts.md M1). Handlers run on ceph-mgr's threads and must not wait: the database is only used
on a thread of its own (`control.waiting`).
"""

import errno
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Optional

import mgr_module
from mgr_module import HandleCommandResult, MgrDBNotReady, MgrModule

from .control import FileSystem, Result, Subtrees
from .control.health import DatabaseWatch
from .control.results import guarded
from .control.waiting import Waiting
from .messages import RELEASE
from .store import NewerSchemaError, NotReadyError, SubtreeTable, prepare

PATIENCE = 5.0
"""Seconds that a command waits for the database."""
TICK = 10.0
"""Seconds between two looks at the health."""

# ceph_argparse of 18.2 takes typing.Optional and not "| None"
MaybeText = Optional[str]  # noqa: UP045
MaybeNumber = Optional[int]  # noqa: UP045


def _command_class() -> Any:
    """Give the release's decorator for commands: 20.2 has a registry for each module (doc/facts.md M3)."""
    if hasattr(mgr_module, "CLICommandBase"):
        return mgr_module.CLICommandBase.make_registry_subtype("FscryptCommand")
    return mgr_module.CLICommand


Command = _command_class()


class Module(MgrModule):  # type: ignore[misc] # ceph-mgr's base class has no types
    """The module ``fscrypt`` of ceph-mgr.

    Its methods that are commands carry their help as docstring: ``ceph fscrypt -h`` prints it.
    """

    CLICommand = Command
    # ceph-mgr demands a schema that it counts itself; ours is the store's, counted by the store
    SCHEMA: Sequence[str] = ()
    SCHEMA_VERSIONED: Sequence[Sequence[str]] = ((),)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stopping = threading.Event()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fscrypt-database")
        self._waiting = Waiting(self._worker, PATIENCE)
        self._subtrees = Subtrees(store=SubtreeTable(self), cluster=self, clock=time.time)

    def serve(self) -> None:
        """Watch the database until ceph-mgr stops the module."""
        watch = DatabaseWatch(time.monotonic)
        while not self._stopping.is_set():
            self.set_health_checks(watch.checks(self._answer(lambda: self._subtrees.listing(limit=1))))
            self._stopping.wait(TICK)

    def shutdown(self) -> None:
        """Stop `serve`; work on the database that has begun ends by itself."""
        self._stopping.set()
        self._worker.shutdown(wait=False, cancel_futures=True)

    @Command("fscrypt status", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def show_status(self, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Show what is encrypted on each file system"""
        return self._reply(self._overview, format)

    @Command("fscrypt subtree ls", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def list_subtrees(
        self,
        fs: MaybeText = None,
        _end_positional_: int = 0,
        after: MaybeText = None,
        limit: MaybeNumber = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """List registered subtrees, of one file system or all; --after shows the next page"""
        return self._reply(lambda: self._subtrees.listing(fs, after, limit), format)

    @Command("fscrypt subtree adopt", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def adopt_subtree(
        self,
        fs: str,
        path: str,
        dry_run: bool = False,
        report: MaybeText = None,
        inbuf: MaybeText = None,
    ) -> HandleCommandResult:
        """Register a subtree that exists, from a report of it (no secret) given by --report or -i FILE"""
        return self._reply(lambda: self._subtrees.adopt(fs, path, report or inbuf, dry_run=dry_run))

    @Command("fscrypt subtree forget", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def forget_subtree(self, fs: str, path: str, dry_run: bool = False) -> HandleCommandResult:
        """Drop a subtree from the register; its files and keys stay as they are"""
        return self._reply(lambda: self._subtrees.forget(fs, path, dry_run=dry_run))

    def file_systems(self) -> Sequence[FileSystem]:
        """Give the file systems of the present map (`control.FileSystemMap`)."""
        present = self.get("fs_map")["filesystems"]
        return [FileSystem(each["id"], each["mdsmap"]["fs_name"]) for each in present]

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Give the store one transaction on the module's database (`store.Database`)."""
        with self._db_lock:
            try:
                db = self.db
            except MgrDBNotReady as error:
                msg = "the pool .mgr is not there yet"
                raise NotReadyError(msg) from error
            with db:
                # without BEGIN each statement commits by itself, 8 ms each (doc/facts.md M4)
                db.execute("BEGIN")
                prepare(db)
                yield db

    def _overview(self) -> Result:
        # "ceph version 20.2.4 (hash) name (stable)"
        return self._subtrees.overview(version=RELEASE, ceph=" ".join(self.version.split()[0:3:2]))

    def _reply(self, work: Callable[[], Result], form: str | None = None) -> HandleCommandResult:
        return HandleCommandResult(*guarded(lambda: self._answer(work), self.log).rendered(form))

    def _answer(self, work: Callable[[], Result]) -> Result:
        return self._waiting.answer(lambda: self._on_database(work))

    def _on_database(self, work: Callable[[], Result]) -> Result:
        """Do work on the database's thread; what goes wrong with the database becomes its result."""
        try:
            try:
                return work()
            except sqlite3.DatabaseError as error:
                # a lost lock or an absent placement group spoils a connection: once more with a new one
                self.log.warning("database: %s; trying again on a new connection", error)
                self.close_db()
                return work()
        except NotReadyError as error:
            return Result.failed(
                errno.EAGAIN,
                f"{error}, nothing was changed; wait for an OSD (`ceph osd stat`), then run it again",
            )
        except NewerSchemaError as error:
            return Result.failed(errno.EPERM, str(error))
        except sqlite3.Error as error:
            return Result.failed(
                errno.EIO,
                f"the manager's database failed: {error}; see the manager's log, then run the command again "
                "(twice does no harm)",
            )
