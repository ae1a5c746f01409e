"""One run of a job: the controls that its kind has, and what others see of it meanwhile."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from ...format import MasterKey
from ...messages.job import LONGEST_EXAMPLE, MOST_ERRORS, MOST_EXAMPLES, JobError
from ..clock import Clock
from ..resident import KeyGoneError, Residents, Use
from ..unlocking import UnlockError
from .interface import MOST_CURSOR, PausedError, StopError, TurnOverError, WaitingError
from .records import JobRecord

KEPT = 5.0
"""Seconds after which progress is kept, though the kind saved nothing: what a list shows after a restart."""
SLICE = 60.0
"""Seconds that a job has its place for while others wait for one."""
_STEP = 0.2
OTHERS = "others"
"""The class that errors are counted under when there are more classes than are told apart."""


class Run:
    """A `Controls`. What is asked by others (`seen`, `kept`, `stop`) may be asked by any thread."""

    def __init__(
        self,
        record: JobRecord,
        *,
        keep: Callable[["Run"], None],
        ours: Callable[[], bool],
        crowded: Callable[[], bool],
        keys: Residents,
        clock: Clock,
    ) -> None:
        """Begin.

        Args:
            record: the job as it is kept.
            keep: writes what `kept` gives; raises `TurnOverError` where it may not.
            ours: is it still the turn that it began in?
            crowded: do others wait for a place?
            keys: master keys.
            clock: the time.
        """
        self._keep = keep
        self._ours = ours
        self._crowded = crowded
        self._keys = keys
        self._clock = clock
        self._turn = threading.Lock()
        self._record = record
        self._errors = record.state.errors
        self._stop: StopError | None = None
        self._uses: list[Use] = []
        self._begun = self._kept = clock.now()
        self._first = record.state.done
        self._saved = False
        self._over = threading.Event()

    # for others

    def kept(self, record: JobRecord) -> JobRecord:
        """What is to be kept of the job while it may be gone on with: what was met since the last `save` will be met
        again then, and is not counted twice."""
        with self._turn:
            errors = self._errors
        seen = self.seen(record)
        return replace(seen, state=replace(seen.state, errors=errors))

    def seen(self, record: JobRecord) -> JobRecord:
        """The job as it is now: the `record` that is kept of it, with how far it is."""
        with self._turn:
            mine = self._record
        elapsed = self._clock.now() - self._begun
        rate = max(0.0, (mine.state.done - self._first) / elapsed) if elapsed > 0 else 0.0
        left = None if mine.state.total is None else max(0, mine.state.total - mine.state.done)
        state = replace(
            record.state,
            done=mine.state.done,
            total=mine.state.total,
            unit=mine.state.unit,
            errors=mine.state.errors,
            rate=rate,
            eta=self._clock.date() + left / rate if left is not None and rate > 0 else None,
        )
        return JobRecord(state, mine.cursor)

    @property
    def saved(self) -> bool:
        """Did it get on, so that something was saved?"""
        return self._saved

    def stop(self, reason: StopError | None) -> None:
        """Have it end for that reason; None: not any more."""
        with self._turn:
            self._stop = reason
        if reason is not None:
            self._over.set()
        else:
            self._over.clear()

    # Controls

    @property
    def cursor(self) -> str:
        """See `Controls`."""
        with self._turn:
            return self._record.cursor

    def save(self, cursor: str) -> None:
        """See `Controls`."""
        if len(cursor) > MOST_CURSOR:
            raise ValueError(f"a cursor has at most {MOST_CURSOR} characters")
        self.check()
        with self._turn:
            self._record = replace(self._record, cursor=cursor)
            self._errors = self._record.state.errors
        self._keep_now()
        self._saved = True

    def check(self) -> None:
        """See `Controls`."""
        self.require_turn()
        with self._turn:
            reason = self._stop
            gone = any(not use.here for use in self._uses)
        if reason is not None:
            raise reason
        if gone:
            raise WaitingError("a key that it needs was locked; it goes on once that is unlocked again")
        now = self._clock.now()
        if self._saved and now - self._begun >= SLICE and self._crowded():
            raise PausedError("others wait for its place")
        if now - self._kept >= KEPT:
            self._keep_now()

    def require_turn(self) -> None:
        """See `Controls`."""
        if not self._ours():
            raise TurnOverError("this service's turn is over; another one goes on from what was saved")

    def wait(self, seconds: float) -> None:
        """See `Controls`."""
        until = self._clock.now() + seconds
        self.check()
        while (left := until - self._clock.now()) > 0:
            self._clock.wait(self._over, min(left, _STEP))
            self.check()

    def progress(self, done: int, total: int | None = None, unit: str = "") -> None:
        """See `Controls`."""
        with self._turn:
            state = self._record.state
            self._record = replace(
                self._record, state=replace(state, done=done, total=total, unit=unit or state.unit)
            )
        self.check()

    def note(self, kind: str, path: bytes) -> None:
        """See `Controls`."""
        with self._turn:
            state = self._record.state
            self._record = replace(
                self._record, state=replace(state, errors=_noted(state.errors, kind, _shown(path)))
            )

    @contextmanager
    def key(self, identifier: bytes) -> Iterator[MasterKey]:
        """See `Controls`."""
        self.check()
        with self._used(identifier) as (use, key):
            with self._turn:
                self._uses.append(use)
            try:
                yield key
            finally:
                with self._turn:
                    self._uses.remove(use)

    @contextmanager
    def _used(self, identifier: bytes) -> Iterator[tuple[Use, MasterKey]]:
        inside = False
        try:
            with self._keys.use(identifier, patient=False) as use:
                key = use.key()
                inside = True
                yield use, key
        except KeyGoneError as error:
            if inside:
                raise
            self.require_turn()
            name = identifier.hex()
            raise WaitingError(
                f"key {name} is locked here; `ceph fscrypt key unlock {name} SECONDS` ends that"
            ) from error
        except UnlockError as error:
            if inside:
                raise
            why = f"key {identifier.hex()} cannot be unlocked: {error}"
            raise WaitingError("; ".join(filter(None, (why, error.remedy)))) from error

    def _keep_now(self) -> None:
        self._keep(self)
        self._kept = self._clock.now()


def _noted(errors: tuple[JobError, ...], kind: str, path: str) -> tuple[JobError, ...]:
    known = {each.kind: each for each in errors}
    if kind not in known and len(known) >= MOST_ERRORS - 1:
        kind = OTHERS
    before = known.get(kind) or JobError(kind, 0, ())
    examples = before.examples if len(before.examples) >= MOST_EXAMPLES else (*before.examples, path)
    known[kind] = JobError(kind, before.count + 1, examples)
    return tuple(known.values())


def _shown(path: bytes) -> str:
    return path.decode("ascii", "backslashreplace")[-LONGEST_EXAMPLE:]
