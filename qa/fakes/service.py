"""What the engine service meets, without a cluster, a key manager or time that passes."""

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mgr_fscrypt.ceph.errors import CephError
from mgr_fscrypt.format import MasterKey
from mgr_fscrypt.service.unlocking import Unlocked, UnlockError

SECRET = bytes(range(64))
KEY = MasterKey(SECRET).identifier
OTHER_SECRET = bytes(range(1, 65))
OTHER_KEY = MasterKey(OTHER_SECRET).identifier


class FakeClock:
    """Time that passes when somebody waits."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.waits: list[float] = []

    def now(self) -> float:
        return self.time

    def date(self) -> float:
        return 1_700_000_000 + self.time

    def wait(self, over: threading.Event, seconds: float) -> bool:
        self.waits.append(seconds)
        self.time += seconds
        return over.is_set()


def away(backend: str = "vault") -> UnlockError:
    return UnlockError("no answer", kind="KmsUnreachableError", backend=backend, again=True)


def refused(backend: str = "vault") -> UnlockError:
    return UnlockError("no", kind="KmsRefusedError", remedy="ask for it", backend=backend)


class FakeUnlocker:
    """Knows two keys; first raises what `troubles` has, one a call."""

    def __init__(self, *troubles: Exception) -> None:
        self.troubles = list(troubles)
        self.asked: list[bytes] = []
        self.keys = {KEY: SECRET, OTHER_KEY: OTHER_SECRET}

    def unlock(self, identifier: bytes) -> Unlocked:
        self.asked.append(identifier)
        if self.troubles:
            raise self.troubles.pop(0)
        return Unlocked(MasterKey(self.keys[identifier]), "vault")


class FakeTurns:
    """The turns of one file system, as the OSD counts them."""

    def __init__(self, clock: FakeClock, duration: float) -> None:
        self.clock = clock
        self.duration = duration
        self.count = 0
        self.owner: object = None
        self.name = ""
        self.until = 0.0
        self.away = False

    @contextmanager
    def reach(self, name: str) -> "Iterator[FakeLease]":
        self.require()
        yield FakeLease(self, name)

    def require(self) -> None:
        if self.away:
            raise CephError(errno.ETIMEDOUT, "no answer")

    def free(self) -> bool:
        return self.owner is None or self.until <= self.clock.time


class FakeLease:
    """One service's claim."""

    def __init__(self, turns: FakeTurns, name: str) -> None:
        self._turns = turns
        self._name = name

    def take(self) -> int | None:
        turns = self._turns
        turns.require()
        if not turns.free() and turns.owner is not self:
            return None
        turns.count += 1
        turns.owner, turns.name, turns.until = self, self._name, turns.clock.time + turns.duration
        return turns.count

    def renew(self) -> bool:
        turns = self._turns
        turns.require()
        if turns.free() or turns.owner is not self:
            return False
        turns.until = turns.clock.time + turns.duration
        return True

    def release(self) -> None:
        self._turns.require()
        if self._turns.owner is self:
            self._turns.owner = None

    def holder(self) -> str:
        return self._turns.name
