"""Runs jobs while it is this service's turn: a few at a time, each from where it was.

What is told of a job is kept before it is told. When the cluster does not take a record, nobody here knows any more how
things stand: the runner lets go of all jobs then and begins anew with what is kept, as another service would.
"""

import logging
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice

from ...backoff import Backoff
from ...ceph.errors import (
    CephError,
    ClientDiedError,
    NotFoundError,
    SessionLostError,
    TurnTakenError,
    UnreachableError,
)
from ...engine import DamagedError, EngineError, LockedError
from ...keys.errors import KeyStoreError
from ...messages.job import (
    LONGEST_WHY,
    MOST_IN_STATUS,
    JobPage,
    Jobs,
    JobState,
    JobWish,
    brief,
    result_text,
)
from ...messages.service import JobsQuestion
from ..clock import Clock
from ..resident import Residents
from .interface import (
    CancelledError,
    JobFailedError,
    Kind,
    Outcome,
    PausedError,
    TurnOverError,
    WaitingError,
)
from .records import Book, JobRecord, Records
from .run import Run

PLACES = 2
"""Jobs that run at the same time: each may keep a core busy. And as many of those that may take days beside them."""
MOST_ACTIVE = 1000
"""Jobs that are not over, at a time."""
TICK = 0.5
"""Seconds between two looks at the turn, and at what may go on."""
RECENT = 60.0
"""Seconds for which the status tells that a job came to its end: the manager looks more often."""
LARGEST_PAGE = 128 << 10
"""Bytes of a page: it is one message."""
_AWAY = (UnreachableError, SessionLostError, ClientDiedError)
_REFUSED, _LOCKED, _NOT_FOUND, _INTERNAL = 3, 4, 5, 7
_log = logging.getLogger(__name__)


class NotServingError(Exception):
    """This service has no turn: it knows no job, and begins none."""


class NoSuchJobError(Exception):
    """No job has this id."""


class JobRefusedError(Exception):
    """It cannot be done with this job. `remedy` says what can."""

    def __init__(self, happened: str, *, remedy: str = "") -> None:
        super().__init__(happened)
        self.remedy = remedy


@dataclass
class _Delay:
    """When a job that waits is tried again, and since when it has not gone on, in seconds since the epoch."""

    since: float
    pauses: Backoff = field(default_factory=Backoff)
    due: float = 0.0


@dataclass
class _Turn:
    """What is known in one turn.

    Attributes:
        places: the order in which jobs come to run, by their ids.
        delays: of jobs that wait, or that are to be cancelled and could not be.
        lost: a record was not taken: what is here is not to be believed.
    """

    book: Book
    runs: dict[str, Run] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    delays: dict[str, _Delay] = field(default_factory=dict)
    lost: bool = False


class Runner:
    """The jobs of this process. `run` in a thread of its own; `glance` waits for nothing, all else for the cluster."""

    def __init__(
        self,
        kinds: Iterable[Kind],
        reach: Callable[[], AbstractContextManager[Records]],
        epoch: Callable[[], int | None],
        keys: Residents,
        clock: Clock,
        *,
        start: Callable[[Callable[[], None]], None] | None = None,
        places: int = PLACES,
    ) -> None:
        """Begin without a turn.

        Args:
            kinds: of jobs.
            reach: the records, for a ``with`` block.
            epoch: the number of our turn, None while it is not.
            keys: master keys.
            clock: the time.
            start: runs something beside; by default in a thread.
            places: jobs that run at the same time.
        """
        self._kinds: Mapping[str, Kind] = {kind.name: kind for kind in kinds}
        self._reach = reach
        self._epoch = epoch
        self._keys = keys
        self._clock = clock
        self._start = start or _in_a_thread
        self._places = places
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._turn: _Turn | None = None
        # what runs, also of turns that are over, until it has seen that: nothing is begun beside it
        self._alive: dict[str, JobWish] = {}
        self._idle = threading.Condition(self._lock)
        self._next_place = 0

    # its life

    def run(self) -> None:
        """Until `end`."""
        pauses = Backoff()
        while not self._over.is_set():
            epoch = self._epoch()
            if epoch is None:
                self._clock.wait(self._over, TICK)
                continue
            try:
                with self._reach() as records:
                    try:
                        self.begin(records, epoch)
                        while not self._over.is_set() and self.going():
                            self.step()
                            pauses.reset()
                            self._clock.wait(self._over, TICK)
                    finally:
                        self.leave()
            except CephError as error:
                _log.warning("jobs cannot go on: %s", error)
                self._clock.wait(self._over, pauses.delay())
            except Exception as error:  # noqa: BLE001 - others are gone on with
                _mistaken("jobs are begun anew after", error)
                self._clock.wait(self._over, pauses.delay())

    def end(self) -> None:
        """Have all jobs stop at their next step: they are gone on with by another service."""
        self._over.set()

    def join(self, seconds: float) -> None:
        """Wait until none runs any more, or so long."""
        with self._idle:
            self._idle.wait_for(lambda: not self._alive, seconds)

    def begin(self, records: Records, epoch: int) -> None:
        """Take over what is kept, in this turn. Raises CephError."""
        with self._lock:
            book = Book(records, epoch)
            if book.unreadable:
                _log.error("%d records of jobs are of another release, and left alone", book.unreadable)
            self._turn = turn = _Turn(book)
            for record in book.jobs():
                if record.state.state == "pausing":
                    # it has stopped with its service
                    self._put(turn, self._moved(record, "paused"))
                elif not record.state.over:
                    self._queue(turn, record.state.id)

    def going(self) -> bool:
        """Is it still the turn that was begun?"""
        turn = self._turn
        return turn is not None and self._ours(turn)

    def leave(self) -> None:
        """Let go of everything: runs end at their next step."""
        with self._lock:
            self._turn = None

    def step(self) -> None:
        """Begin what can be begun."""
        begun = []
        with self._lock:
            turn = self._turn
            if turn is None:
                return
            with suppress(CephError):  # the turn is lost then; what was begun sees it at once
                while (record := self._next(turn)) is not None:
                    begun.append((turn, self._begin_run(turn, record), record.state.wish))
        for each in begun:
            self._start(lambda each=each: self._work(*each))  # type: ignore[misc] # each its own

    # what may be asked

    def glance(self) -> Jobs | None:
        """All at a glance; None while they are not known."""
        turn = self._turn
        if turn is None or turn.lost:
            return None
        states = [self._seen(turn, record).state for record in turn.book.jobs()]
        active = [state for state in states if not state.over]
        waiting = [state for state in active if state.state == "waiting"]
        failed = [state for state in states if state.state == "failed"]
        ended = [state for state in states if state.over and state.state != "failed"]
        # one that was paused may have ended after one that was asked for later
        recent = sorted(
            (state for state in ended if (state.ended or 0.0) > self._clock.date() - RECENT),
            key=lambda state: state.ended or 0.0,
        )
        # what waits is what somebody must see to: it is told of first
        first = sorted(active, key=lambda state: state.state != "waiting")[:MOST_IN_STATUS]
        told = [*first, *failed[: -MOST_IN_STATUS - 1 : -1], *recent[: -MOST_IN_STATUS - 1 : -1]]
        return Jobs(len(active), len(waiting), len(failed), tuple(map(brief, told)))

    def state(self, job: str) -> JobState:
        """How it is with one.

        Raises:
            NotServingError, NoSuchJobError
        """
        turn = self._serving()
        return self._seen(turn, self._known(turn, job)).state

    def page(self, asked: JobsQuestion) -> JobPage:
        """Some, newest first, without their results. Raises as `state`."""
        turn = self._serving()
        records = turn.book.jobs()[:: 1 if asked.reverse else -1]
        if asked.after is not None:
            ids = [record.state.id for record in records]
            self._known(turn, asked.after)
            records = records[ids.index(asked.after) + 1 :]
        fitting = (seen for record in records if asked.wants((seen := self._seen(turn, record)).state))
        found = list(islice(fitting, asked.limit + 1))
        page: list[JobState] = []
        size = 0
        for record in found[: asked.limit]:
            state = replace(record.state, result="")
            size += len(JobRecord(state).encode())
            if page and size > LARGEST_PAGE:
                break
            page.append(state)
        return JobPage(tuple(page), page[-1].id if len(page) < len(found) else None)

    # what may be told

    def begin_job(self, wish: JobWish) -> JobState:
        """Keep a wish, and run it when its place comes; the state of the same job, where there is one.

        Raises:
            NotServingError: nothing was kept.
            JobRefusedError: nothing was kept.
            RefusedWishError: its kind does not take the options; nothing was kept.
            CephError: it may or may not be kept.
        """
        with self._lock:
            turn = self._serving()
            for record in turn.book.jobs():
                same = record.state.wish.same_as(wish)
                if record.state.id == wish.id and not same:
                    raise JobRefusedError(f"job {wish.id} is another one", remedy="choose another id")
                if record.state.id == wish.id or (same and not record.state.over):
                    return self._seen(turn, record).state
            self._require_acceptable(turn, wish)
            state = JobState.queued(wish, self._clock.date())
            self._put(turn, JobRecord(state))
            self._queue(turn, wish.id)
            return state

    def pause(self, job: str) -> JobState:
        """Have one stop at its next step. Raises as `begin_job`, and `NoSuchJobError`."""
        with self._lock:
            turn = self._serving()
            record = self._current(turn, job)
            match record.state.state:
                case "paused" | "pausing":
                    return record.state
                case "running" if job in turn.runs:
                    self._put(turn, self._moved(record, "pausing"))
                    turn.runs[job].stop(PausedError("it was told to pause"))
                case "queued" | "waiting" | "running":
                    self._put(turn, self._moved(record, "paused"))
                case state:
                    raise JobRefusedError(f"job {job} is {state}, and cannot be paused")
            return self.state(job)

    def resume(self, job: str) -> JobState:
        """Have one go on. Raises as `pause`."""
        with self._lock:
            turn = self._serving()
            record = self._current(turn, job)
            match record.state.state:
                case "queued" | "running":
                    return record.state
                case "pausing":
                    self._put(turn, self._moved(record, "running"))
                    turn.runs[job].stop(None)
                case "paused" | "waiting" | "failed":
                    self._put(turn, _reopened(self._moved(record, "queued")))
                    turn.delays.pop(job, None)
                    self._queue(turn, job)
                case state:
                    raise JobRefusedError(f"job {job} is {state}, and cannot go on", remedy="begin it anew")
            return self.state(job)

    def cancel(self, job: str) -> JobState:
        """Have one end for good, also one that failed and may have left something. Raises as `pause`."""
        with self._lock:
            turn = self._serving()
            record = self._current(turn, job)
            match record.state.state:
                case "cancelled" | "cancelling":
                    return record.state
                case "done":
                    raise JobRefusedError(f"job {job} is done already")
                case _ if record.state.started is None:
                    self._put(turn, self._ended(record, "cancelled"))
                case _:
                    self._put(turn, _reopened(self._moved(record, "cancelling")))
                    turn.delays.pop(job, None)
                    if job in turn.runs:
                        turn.runs[job].stop(CancelledError("it was told to end"))
                    else:
                        # its kind puts away what it left
                        self._queue(turn, job)
            return self.state(job)

    def forget(self, job: str) -> None:
        """Drop the record of one that is over. Raises as `pause`."""
        with self._lock:
            turn = self._serving()
            record = self._known(turn, job)
            if not record.state.over:
                raise JobRefusedError(
                    f"job {job} is {record.state.state}: only what is over can be forgotten",
                    remedy="end it with `job cancel` first",
                )
            try:
                turn.book.drop(job)
            except CephError as error:
                self._lose(turn, error)
                raise

    def hurry(self) -> None:
        """Try at once what waits: a key was unlocked."""
        with self._lock:
            for delay in () if self._turn is None else self._turn.delays.values():
                delay.due = 0.0

    # one run

    def _begin_run(self, turn: _Turn, record: JobRecord) -> Run:
        state = record.state
        if state.state != "cancelling":
            record = self._moved(record, "running")
            if not record.cursor:
                # it begins from the start
                record = replace(record, state=replace(record.state, done=0, total=None, errors=()))
            if state.started is None:
                record = replace(record, state=replace(record.state, started=record.state.since))
            self._put(turn, record)
        run = Run(
            record,
            keep=lambda run: self._keep(turn, run),
            ours=lambda: self._ours(turn),
            crowded=lambda: self._crowded(turn, state.wish),
            keys=self._keys,
            clock=self._clock,
        )
        if state.state == "cancelling":
            run.stop(CancelledError("it was told to end"))
        turn.runs[state.id] = run
        self._alive[state.id] = state.wish
        return run

    def _work(self, turn: _Turn, run: Run, wish: JobWish) -> None:
        try:
            end = self._run(wish, run)
        finally:
            with self._idle:
                del self._alive[wish.id]
                self._idle.notify_all()
        with self._lock:
            if turn is not self._turn:
                return
            del turn.runs[wish.id]
            kept = turn.book.get(wish.id)
            if kept is None or isinstance(end, TurnOverError):
                return
            try:
                self._finish(turn, run, kept, end)
            except Exception as error:  # noqa: BLE001 - what is kept is read anew, and the job gone on with
                self._lose(turn, error)

    def _run(self, wish: JobWish, run: Run) -> Outcome | Exception:
        kind = self._kinds.get(wish.kind)
        if kind is None:
            return JobFailedError(
                f"this service knows no jobs of the kind {wish.kind}",
                remedy="run the service of the release that began it, then go on with the job",
            )
        try:
            outcome = kind.run(wish, run)
            result_text(outcome.result)
        except _AWAY as error:
            return WaitingError(f"the cluster: {error.strerror or error}")
        except Exception as error:  # noqa: BLE001 - it is told of as what ended the job
            return error
        return outcome

    def _finish(self, turn: _Turn, run: Run, kept: JobRecord, end: Outcome | Exception) -> None:
        """Keep how a run ended."""
        was, job = kept.state.state, kept.state.id
        record, last = run.kept(kept), run.seen(kept)
        if run.saved or not isinstance(end, WaitingError):
            # it went on
            turn.delays.pop(job, None)
        match end:
            case Outcome():
                done = self._ended(last, "done").state
                self._put(turn, JobRecord(replace(done, result=result_text(end.result), code=end.code)))
            case CancelledError() if was == "cancelling":
                self._put(turn, self._ended(last, "cancelled"))
            case WaitingError() if was == "cancelling":
                self._put_off(turn, self._moved(record, "cancelling", end.why))
            case PausedError() if was == "cancelling":
                self._queue(turn, job)
            case PausedError() | WaitingError() if was == "pausing":
                self._put(turn, self._moved(record, "paused"))
            case PausedError():
                self._put(turn, self._moved(record, "queued"))
                self._queue(turn, job)
            case WaitingError():
                self._put_off(turn, self._moved(record, "waiting", end.why))
            case _:
                why, code = _told(end, job)
                failed = self._ended(last, "failed", why).state
                self._put(turn, JobRecord(replace(failed, code=code), record.cursor))

    def _keep(self, turn: _Turn, run: Run) -> None:
        with self._lock:
            job = next((job for job, each in turn.runs.items() if each is run), None)
            kept = None if job is None else turn.book.get(job)
            if kept is None or not self._ours(turn):
                raise TurnOverError("this service's turn is over")
            try:
                self._put(turn, run.kept(kept))
            except CephError as error:
                raise TurnOverError("what it had done could not be kept") from error

    # which comes next

    def _queue(self, turn: _Turn, job: str) -> None:
        self._next_place += 1
        turn.places[job] = self._next_place

    def _put_off(self, turn: _Turn, record: JobRecord) -> None:
        """Keep that it waits: since it last went on, not since the last attempt."""
        job = record.state.id
        delay = turn.delays.setdefault(job, _Delay(record.state.since))
        self._put(turn, replace(record, state=replace(record.state, since=delay.since)))
        delay.due = self._clock.now() + delay.pauses.delay()
        self._queue(turn, job)

    def _crowded(self, turn: _Turn, wish: JobWish) -> bool:
        """Does another one wait for a place among jobs of the sort of this one?"""
        with self._lock:
            if self._has_place(turn, wish):
                return False
            return self._first(turn, lambda each: self._lasting(each) == self._lasting(wish)) is not None

    def _next(self, turn: _Turn) -> JobRecord | None:
        """What comes to run now."""
        if not self._ours(turn):
            return None
        record = self._first(turn, lambda wish: self._has_place(turn, wish))
        if record is not None:
            del turn.places[record.state.id]
        return record

    def _first(self, turn: _Turn, fits: Callable[[JobWish], bool]) -> JobRecord | None:
        """What may run, fits, and has waited longest."""
        for job in sorted(turn.places, key=lambda each: turn.places[each]):
            record = turn.book.get(job)
            if record is None or record.state.over or record.state.state == "paused":
                del turn.places[job]
            elif fits(record.state.wish) and self._may_run(turn, record):
                return record
        return None

    def _may_run(self, turn: _Turn, record: JobRecord) -> bool:
        job = record.state.id
        delay = turn.delays.get(job)
        if job in self._alive or (delay is not None and delay.due > self._clock.now()):
            return False
        return self._before(record.state) is None

    def _before(self, job: JobState) -> str | None:
        """The id of one that is at work where this one would be, and must end first."""
        # tuple() of a dict's items is one step of the interpreter: this is asked without the lock, too
        for other, wish in tuple(self._alive.items()):
            if other != job.id and self._in_the_way(job.wish, wish):
                return other
        return None

    def _in_the_way(self, one: JobWish, two: JobWish) -> bool:
        changes = any(
            self._kinds[wish.kind].changes if wish.kind in self._kinds else True for wish in (one, two)
        )
        return changes and (_inside(one.path, two.path) or _inside(two.path, one.path))

    def _has_place(self, turn: _Turn, wish: JobWish) -> bool:
        """Is a place free among jobs of its sort?"""
        lasting = self._lasting(wish)
        known = filter(None, map(turn.book.get, tuple(turn.runs)))
        return sum(self._lasting(each.state.wish) == lasting for each in known) < self._places

    def _lasting(self, wish: JobWish) -> bool:
        kind = self._kinds.get(wish.kind)
        return kind is not None and kind.lasting

    # under the lock

    def _serving(self) -> _Turn:
        turn = self._turn
        if turn is None or not self._ours(turn):
            raise NotServingError
        return turn

    def _ours(self, turn: _Turn) -> bool:
        return (
            turn is self._turn
            and not turn.lost
            and not self._over.is_set()
            and self._epoch() == turn.book.epoch
        )

    def _known(self, turn: _Turn, job: str) -> JobRecord:
        record = turn.book.get(job)
        if record is None:
            raise NoSuchJobError(job)
        return record

    def _seen(self, turn: _Turn, record: JobRecord) -> JobRecord:
        """As it is now: one that runs no more was interrupted, and waits for its place."""
        run = turn.runs.get(record.state.id)
        if run is not None:
            return run.seen(record)
        state = record.state
        if state.state == "running":
            state = replace(state, state="queued", rate=0.0, eta=None)
        if state.state == "queued" and (other := self._before(state)) is not None:
            state = replace(state, why=f"job {other} is at work there: it comes after that one")
        return replace(record, state=state)

    def _current(self, turn: _Turn, job: str) -> JobRecord:
        """As it would be kept now. Raises `NoSuchJobError`."""
        record = self._known(turn, job)
        run = turn.runs.get(job)
        return self._seen(turn, record) if run is None else run.kept(record)

    def _require_acceptable(self, turn: _Turn, wish: JobWish) -> None:
        if wish.fscid != turn.book.fscid:
            raise JobRefusedError(
                f"this service works for file system {turn.book.fscid}, not for {wish.fscid}",
                remedy="name the file system by the option `service_fs`, or run a service for it",
            )
        kind = self._kinds.get(wish.kind)
        if kind is None:
            raise JobRefusedError(
                f"this service knows no jobs of the kind {wish.kind}",
                remedy="run the manager module and the service of one release",
            )
        kind.accept(wish)
        if sum(not record.state.over for record in turn.book.jobs()) >= MOST_ACTIVE:
            raise JobRefusedError(f"there are {MOST_ACTIVE} jobs already", remedy="wait for some to end")

    def _put(self, turn: _Turn, record: JobRecord) -> None:
        try:
            turn.book.put(record, self._clock.date())
        except CephError as error:
            self._lose(turn, error)
            raise

    def _lose(self, turn: _Turn, error: Exception) -> None:
        if not turn.lost and isinstance(error, CephError):
            taken = isinstance(error, TurnTakenError)
            _log.warning("jobs are let go of: %s", "another turn has begun" if taken else error)
        elif not turn.lost:
            _mistaken("jobs are let go of after", error)
        turn.lost = True

    def _moved(self, record: JobRecord, state: str, why: str = "") -> JobRecord:
        return replace(
            record,
            state=replace(
                record.state,
                state=state,
                why=why[:LONGEST_WHY],
                since=self._clock.date(),
                rate=record.state.rate if state in ("running", "pausing", "cancelling") else 0.0,
                eta=record.state.eta if state == "running" else None,
            ),
        )

    def _ended(self, record: JobRecord, state: str, why: str = "") -> JobRecord:
        moved = self._moved(record, state, why)
        # of no use any more; what failed may go on
        return JobRecord(replace(moved.state, ended=moved.state.since), "")


def _reopened(record: JobRecord) -> JobRecord:
    """Of one that had come to an end, as one that has not."""
    return replace(record, state=replace(record.state, ended=None, code=None, result=""))


def _told(error: Exception | Outcome, job: str) -> tuple[str, int]:
    """What is told of a failure, and its exit code. Paths are not: they may be plaintext."""
    match error:
        case JobFailedError():
            return _sentence(str(error), error.remedy), error.code
        case EngineError():
            code = (
                _LOCKED
                if isinstance(error, LockedError)
                else 1
                if isinstance(error, DamagedError)
                else _REFUSED
            )
            return _sentence(error.strerror or type(error).__name__, error.remedy), code
        case KeyStoreError():
            return _sentence(str(error), error.remedy), _REFUSED
        case CephError():
            return error.strerror or type(error).__name__, (
                _NOT_FOUND if isinstance(error, NotFoundError) else _REFUSED
            )
        case Exception():
            _mistaken(f"job {job} failed by", error)
    return _sentence(
        f"internal error ({type(error).__name__})", "report it with this minute of the service's log"
    ), _INTERNAL


def _mistaken(what: str, error: Exception) -> None:
    # its own words may have a path or a secret in them
    where = "".join(traceback.format_tb(error.__traceback__))
    _log.error("%s a mistake (%s):\n%s", what, type(error).__name__, where)


def _sentence(happened: str, remedy: str) -> str:
    return "; ".join(filter(None, (happened, remedy)))


def _inside(path: str, other: str) -> bool:
    """Is `path` at or below the other one?"""
    return path == other or path.startswith(other.rstrip("/") + "/")


def _in_a_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="fscrypt-job", daemon=True).start()
