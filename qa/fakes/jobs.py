"""Records of jobs in memory, kinds that do their work step by step, and a service that is moved by hand."""

import errno
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from mgr_fscrypt.ceph.errors import CephError, TurnTakenError
from mgr_fscrypt.messages.job import JobWish
from mgr_fscrypt.service.jobs import CancelledError, Controls, Kind, Outcome, RefusedWishError, Runner
from mgr_fscrypt.service.resident import Residents
from mgr_fscrypt.service.tenant_keys import TenantKeys
from mgr_fscrypt.service.unlocking import Backends

from .service import FakeClock, FakeUnlocker

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

    def __init__(self, name: str = "count", *, changes: bool = False, lasting: bool = False) -> None:
        self.name = name
        self.changes = changes
        self.lasting = lasting
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


class Stage:
    """A service's jobs, moved step by step: what would be a thread is run when the runner begins it."""

    def __init__(self, *kinds: Kind, places: int = 2) -> None:
        self.clock = FakeClock()
        self.records = FakeRecords()
        self.kinds: tuple[Kind, ...] = kinds or (SteppingKind(),)
        self.unlocker = FakeUnlocker()
        self.places = places
        self.epoch: int | None = 1
        self.threads: list[Callable[[], None]] = []
        self.boot()

    @property
    def kind(self) -> SteppingKind:
        """The one that counts."""
        (found,) = (kind for kind in self.kinds if isinstance(kind, SteppingKind) and kind.name == "count")
        return found

    def boot(self) -> None:
        """A process begins."""
        backends = Backends(self.clock)
        self.residents = Residents(self.unlocker, backends, TenantKeys(), self.clock, longest=600.0)
        self.residents.open()
        self.runner = Runner(
            self.kinds,
            self.records.reach,
            lambda: self.epoch,
            self.residents,
            self.clock,
            start=self.threads.append,
            places=self.places,
        )
        self.threads.clear()
        self.runner.begin(self.records, self.epoch or 0)

    def restart(self) -> None:
        """The process is gone, and another one has the next turn."""
        self.records.epoch += 1
        self.records.crash_after = None
        self.epoch = self.records.epoch
        self.boot()

    def go(self) -> None:
        """Until nothing runs."""
        self.runner.step()
        while self.threads:
            self.threads.pop(0)()
            self.runner.step()

    def told(self, number: int = 1) -> str:
        return self.runner.state(wish(number).id).state

    @property
    def kept(self) -> dict[str, str]:
        return self.records.states()
