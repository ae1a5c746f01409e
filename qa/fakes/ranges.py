"""fcntl(2)'s locks on ranges of bytes, of one file."""

import errno
import fcntl
from dataclasses import dataclass, field, replace

from mgr_fscrypt.ceph.errors import error_of
from mgr_fscrypt.ceph.interface import RangeLock

ENDLESS = 1 << 63


@dataclass
class Ranges:
    """Who has what: the owner is a client and a number of its own."""

    held: list[tuple[tuple[object, int], RangeLock]] = field(default_factory=list)

    def blocker(self, lock: RangeLock, owner: tuple[object, int]) -> RangeLock | None:
        for other, there in self.held:
            both_read = there.kind == lock.kind == fcntl.F_RDLCK
            if other != owner and not both_read and lock.kind != fcntl.F_UNLCK and _meet(there, lock):
                return there
        return None

    def set(self, lock: RangeLock, owner: tuple[object, int]) -> None:
        if self.blocker(lock, owner) is not None:
            raise error_of(errno.EAGAIN, "lock a range")
        kept = []
        for other, there in self.held:
            kept += [(other, part) for part in (_without(there, lock) if other == owner else [there])]
        self.held = kept if lock.kind == fcntl.F_UNLCK else [*kept, (owner, lock)]

    def forget(self, client: object) -> None:
        self.held = [each for each in self.held if each[0][0] is not client]


def _stop(lock: RangeLock) -> int:
    return lock.start + lock.length if lock.length else ENDLESS


def _meet(one: RangeLock, other: RangeLock) -> bool:
    return one.start < _stop(other) and other.start < _stop(one)


def _without(lock: RangeLock, gone: RangeLock) -> list[RangeLock]:
    """What is left of a lock."""
    if not _meet(lock, gone):
        return [lock]
    parts = []
    if lock.start < gone.start:
        parts.append(replace(lock, length=gone.start - lock.start))
    if _stop(gone) < _stop(lock):
        length = 0 if _stop(lock) == ENDLESS else _stop(lock) - _stop(gone)
        parts.append(replace(lock, start=_stop(gone), length=length))
    return parts
