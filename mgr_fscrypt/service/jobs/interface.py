"""What a kind of jobs is, and what a job has at hand while it runs.

A kind is one class with `name`, `changes`, `accept` and `run`; `service/kinds/` has them, `service/program.py`
lists them. It knows nothing of records, turns or threads. What it has to know:

- **`run` may end at any moment, and begins again.** A service is killed, loses its turn, or is told to pause: `run` is
  called once more then, maybe by another process on another host, with the cursor that was saved last. So what it does
  must be right when it is done twice from that cursor on. Two runs of one job may overlap for a moment, too: one whose
  turn is over ends at its next `check`, so it checks before it changes anything.
- **Controls speak by raising.** `check`, `wait`, `progress`, `save` and `key` raise a `StopError` when the job is to
  end for now. A kind lets it pass: it may close what it opened, and nothing else. It catches `CancelledError` alone
  where something half done is to be put away, as far as that can be done in seconds, and raises it again. A job that
  is cancelled while it does not run is run for that, if it ever ran: its first `check` raises.
- **Errors.** What is wrong with one thing among many is a `note`, and the job goes on. `JobFailedError`, an
  `EngineError`, a `CephError` or a `KeyStoreError` end the job as failed, with their words but without their paths; all
  others do, too, as mistakes, without their words. A cluster that does not answer (`UnreachableError`,
  `SessionLostError`, `ClientDiedError`) has the job wait, and begin again from its cursor. A failed job can be gone on
  with from its cursor, or cancelled.
- **No secret and no plaintext** may be in a cursor, a note, a result, a unit or an error: they are kept in RADOS, and
  shown by the manager. What lies inside of an encrypted subtree goes by its path as stored.
- **CephFS** is reached by `ceph.connect.connect_guarded`, which the kind is given when it is made: libcephfs can abort.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from ...format import MasterKey
from ...messages.job import JobWish

MOST_CURSOR = 64 << 10
"""Characters of a cursor."""


class StopError(Exception):
    """The job is to end for now: a kind lets it pass."""


class PausedError(StopError):
    """It was told to pause; or others wait for its place, and it begins again after them."""


class CancelledError(StopError):
    """It was told to end for good."""


class TurnOverError(StopError):
    """This service has lost its turn, or ends: another one goes on from the cursor. Nothing may be changed any more."""


class WaitingError(StopError):
    """It cannot go on now, and begins again from its cursor by itself, first after a second, then less and less often.

    Raised by controls for a key that is locked; a kind may raise it for what it waits for itself.
    """

    def __init__(self, why: str) -> None:
        """`why` is a sentence for people: what it waits for, and what they can do."""
        super().__init__(why)
        self.why = why


class RefusedWishError(Exception):
    """The job cannot be begun as it was wished. The text says what is wrong with it; `remedy` what to do."""

    def __init__(self, happened: str, *, remedy: str = "") -> None:
        super().__init__(happened)
        self.remedy = remedy


class JobFailedError(Exception):
    """The job cannot be done.

    Attributes:
        remedy: what to do next, as a sentence.
        code: its exit code, as `messages.job.JobState` has them.
    """

    def __init__(self, happened: str, *, remedy: str, code: int = 3) -> None:
        super().__init__(happened)
        self.remedy = remedy
        self.code = code


@dataclass(frozen=True)
class Outcome:
    """What came of a job that was done.

    Attributes:
        result: what a program wants to know: plain JSON, at most `messages.job.LONGEST_RESULT` characters.
        code: 0, or 1 where it found differences or damage.
    """

    result: Mapping[str, Any] = field(default_factory=dict)
    code: int = 0


class Controls(Protocol):
    """What a running job has at hand. For the thread that `run` was called in, but for `check`, which any may call."""

    @property
    def cursor(self) -> str:
        """What was saved last, by this run or an earlier one; "" where nothing was."""
        ...

    def save(self, cursor: str) -> None:
        """Keep how far it is: durable when it returns (some milliseconds). Progress and notes are kept with it.

        A text of the kind's own, at most `MOST_CURSOR` characters. A job that saved one in this run may be told to make
        way for others after a while. Raises as `check`, before it saves.
        """
        ...

    def check(self) -> None:
        """Go on? To be asked often: before each change, and some times a second. Costs next to nothing.

        Raises:
            StopError: no; `WaitingError` where a key that `key` gave was locked.
        """
        ...

    def require_turn(self) -> None:
        """As `check` for what puts away after a `CancelledError`: raises `TurnOverError` only."""
        ...

    def wait(self, seconds: float) -> None:
        """Let time pass. Raises as `check`, as soon as there is a reason."""
        ...

    def progress(self, done: int, total: int | None = None, unit: str = "") -> None:
        """Tell how far it is. As cheap as `check`, and raises as that.

        Args:
            done: how much, since the job was begun for the first time (a resumed one goes on counting).
            total: of how much; None: nobody knows. An estimate may change.
            unit: what is counted, such as "entries"; "" leaves it as it is.
        """
        ...

    def note(self, kind: str, path: bytes) -> None:
        """Count what went wrong with one thing while the job goes on.

        Args:
            kind: a class of error, such as "missing-context"; some twenty of them at most.
            path: where, as stored. Some are kept as examples.
        """
        ...

    def key(self, identifier: bytes) -> AbstractContextManager[MasterKey]:
        """The master key of that identifier, for a ``with`` block: to be held by nobody beyond.

        While it is used, `check` raises as soon as the key is locked by hand or withdrawn.

        Raises:
            WaitingError: it is locked, or its key manager does not answer: the job waits, and begins again once it is
                unlocked.
        """
        ...


class Kind(Protocol):
    """One kind of jobs. Its methods are called from several threads, `run` for different jobs at the same time."""

    @property
    def name(self) -> str:
        """As wishes name it: a word."""
        ...

    @property
    def changes(self) -> bool:
        """Does it change something below its path? Then no other job there, above or below, runs at the same time."""
        ...

    @property
    def lasting(self) -> bool:
        """May it take days? Then it has its place among such jobs only, and holds up no other."""
        ...

    def accept(self, wish: JobWish) -> None:
        """Look at the options, when the job is asked for. Asks nobody: it answers at once.

        Raises:
            RefusedWishError: there are others than this kind has, or they say nothing that can be done.
        """
        ...

    def run(self, wish: JobWish, controls: Controls) -> Outcome:
        """Do it, from `controls.cursor` on. See above for what it may raise."""
        ...
