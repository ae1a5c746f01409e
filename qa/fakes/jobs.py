"""Records of jobs in memory, and kinds that do their work step by step."""

import errno
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from mgr_fscrypt.ceph.errors import CephError, TurnTakenError
from mgr_fscrypt.messages.job import JobWish
from mgr_fscrypt.service.jobs import CancelledError, Controls, Outcome, RefusedWishError

FSCID = 1


def wish(number: int = 1, kind: str = "count", path: str = "/a", **options: str | float) -> JobWish:
    return JobWish(f"{number:032x}", kind, FSCID, path, options)


class CrashError(BaseException):
    """The process is killed: nothing of ours is to survive this."""


class FakeRecords:
    """What the OSD keeps. Each write may be the last thing that a process did.

    Attributes:
        epoch: the latest turn that has begun.
        writes: how many were made.
        crash_after: the process is killed once so many were made.
        away: the cluster takes none.
    """

    fscid = FSCID

    def __init__(self) -> None:
        self.epoch = 1
        self.kept: dict[str, bytes] = {}
        self.writes = 0
        self.crash_after: int | None = None
        self.away = False

    @contextmanager
    def reach(self) -> Iterator["FakeRecords"]:
        self._require()
        yield self

    def all(self) -> Iterable[tuple[str, bytes]]:
        self._require()
        return tuple(self.kept.items())

    def write(self, epoch: int, changes: Mapping[str, bytes | None]) -> None:
        self._require()
        if epoch != self.epoch:
            raise TurnTakenError(errno.EBUSY, "another turn")
        for name, data in changes.items():
            if data is None:
                self.kept.pop(name, None)
            else:
                self.kept[name] = data
        self.writes += 1
        if self.writes == self.crash_after:
            raise CrashError

    def states(self) -> dict[str, str]:
        """By the last digits of ids."""
        return {name[-2:]: json.loads(data)["state"]["state"] for name, data in sorted(self.kept.items())}

    def _require(self) -> None:
        if self.away:
            raise CephError(errno.ETIMEDOUT, "no answer")


class SteppingKind:
    """Counts to the option `steps`, and keeps where it is after each step.

    Attributes:
        steps: that were made, in this order: the job and the number.
        at: what happens before a step, by its number.
        put_away: jobs that were cancelled and have put away what they left.
    """

    def __init__(self, name: str = "count", *, changes: bool = False) -> None:
        self.name = name
        self.changes = changes
        self.steps: list[tuple[str, int]] = []
        self.at: dict[int, Callable[[Controls], object]] = {}
        self.put_away: list[str] = []

    def accept(self, wish: JobWish) -> None:
        if wish.options.keys() - {"steps"}:
            raise RefusedWishError("there is the option steps only", remedy="leave out the others")

    def run(self, wish: JobWish, controls: Controls) -> Outcome:
        steps = int(wish.options.get("steps", 3))
        begun = int(controls.cursor or "0")
        try:
            for step in range(begun, steps):
                controls.check()
                self.at.pop(step, lambda _: None)(controls)
                controls.check()
                self.steps.append((wish.id[-2:], step))
                controls.progress(step + 1, steps, "steps")
                controls.save(str(step + 1))
        except CancelledError:
            controls.require_turn()
            self.put_away.append(wish.id[-2:])
            raise
        return Outcome({"counted": steps})
