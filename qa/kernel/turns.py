"""The engine and the kernel work on one subtree of kernel mode in turns, beside a model of it (qa/load/tree.py).

The kernel changes contents, both make files, and both change names and attributes. Two habits of kernels are let be,
which two kernels would meet as well (doc/kernel-witness.md): the names that the kernel knows are forgotten before each
of its acts, since it goes on believing some for seconds, and it makes no file longer by truncating it, since it may
have left garbage there. And one of libcephfs, which such a truncate aborts: the engine says of a change that was under
way that it may or may not have been made, and the sequence goes on from what is there.
"""

import errno
import logging
import random
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mgr_fscrypt.ceph.errors import ClientDiedError
from mgr_fscrypt.engine import FileMode, FileSystem
from qa.load.doors import EngineDoor
from qa.load.tree import Doubts, Path_, Sequence, walk

from .guest import Guest
from .guest_door import GuestDoor
from .place import MOUNTED, Place
from .reading import compare_guest
from .tally import Tally, where_wrong

SUBTREE = "/turns"
BELIEVING = "/believing"
_SAMPLES = 5
_PATIENCE = 60.0
_KERNEL = 1
_MOST_DEATHS = 15
"""Of one client of the engine: where libcephfs dies too often within a minute, the guard lets calls fail instead."""
_GUARD = "mgr_fscrypt.ceph.guard.succession"
_TOLD_WITHIN = 5.0
"""Seconds from an error of a change to the word of its guard that libcephfs died."""


@dataclass(frozen=True)
class Turns:
    """What was done in turns.

    Attributes:
        clients: of the engine, one after the other.
        deaths: how often the kernel's truncates aborted the engine's libcephfs (doc/facts.md F4).
        made: changes of the engine's during which that happened, which it called uncertain, and which had been made.
        not_made: those that had not.
    """

    operations: int
    clients: int
    deaths: int
    made: int
    not_made: int


class _ForgetfulDoor(GuestDoor):
    """Of a kernel that knows no name from before."""

    def __init__(self, guest: Guest, top: str) -> None:
        super().__init__(guest, top)
        self._forget: Callable[[], Any] = lambda: guest.ask("forget_names")

    def open(self, path: bytes, flags: int) -> Any:
        self._forget()
        return super().open(path, flags)

    def names(self, directory: bytes) -> Any:
        self._forget()
        return super().names(directory)

    def _ask(self, act: str, *arguments: object) -> Any:
        self._forget()
        return super()._ask(act, *arguments)


class _DurableDoor(EngineDoor):
    """Of an engine whose attributes are durable when it returns, as names and closed files are: what waits in caches
    goes with a libcephfs that dies."""

    def turn_to(self, files: FileSystem) -> None:
        """Another client of the engine goes on."""
        self._files = files

    def symlink(self, target: bytes, path: bytes) -> None:
        super().symlink(target, path)
        self._files.sync()

    def chmod(self, path: bytes, mode: int) -> None:
        super().chmod(path, mode)
        self._files.sync()

    def utimens(self, path: bytes, atime: int, mtime: int) -> None:
        super().utimens(path, atime, mtime)
        self._files.sync()


class Deaths(logging.Handler):
    """Counts those that the engine's guard tells of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.seen = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.seen += "died by" in record.getMessage()

    def since(self, before: int, within: float = _TOLD_WITHIN) -> bool:
        """Are there more than `before`, or will there be within so many seconds?"""
        end = time.monotonic() + within
        while self.seen <= before and time.monotonic() < end:
            time.sleep(0.01)
        return self.seen > before


class BothDoubts(Doubts):
    """What is let be of the engine, whose libcephfs may die under a change, and of the kernel, which may misread the
    end of a file (misreading.py)."""

    def __init__(self, place: Place, tally: Tally, deaths: Deaths) -> None:
        self._place = place
        self._tally = tally
        self._deaths = deaths
        self._before = 0
        self.made = self.not_made = 0

    def begin(self) -> None:
        self._before = self._deaths.seen

    def uncertain(self, client: int, error: OSError) -> bool:
        return (
            client != _KERNEL
            and isinstance(error, ClientDiedError)
            and error.errno == errno.EIO
            and self._deaths.since(self._before)
        )

    def settled(self, *, made: bool) -> None:
        self.made += made
        self.not_made += not made

    def misread(self, client: int, path: Path_, found: bytes, expected: bytes) -> bool:
        where = b"/".join((SUBTREE.encode(), *path))
        if client != _KERNEL or found != self._place.misread(where, expected):
            return False
        self._place.guest.ask("drop_caches")
        return self._tally.forgive(f"in turns: {where_wrong(found, expected)}")


def take_turns(place: Place, tally: Tally, chosen: int, seconds: float) -> Turns:
    """For so many seconds, on one subtree. Each operation is a value, since it is compared with the model's.

    After each client of the engine both sides see the same tree.
    """
    tally.begin("the engine and the kernel in turns")
    end = time.monotonic() + seconds
    deaths = Deaths()
    logging.getLogger(_GUARD).addHandler(deaths)
    doubts = BothDoubts(place, tally, deaths)
    with place.engine() as files:
        files.mkdir(SUBTREE)
        files.create_subtree(SUBTREE, place.key.identifier, mode=FileMode.KERNEL)
        engine = _DurableDoor(files, SUBTREE.encode())
    doors = (engine, _ForgetfulDoor(place.guest, MOUNTED + SUBTREE))
    sequence = Sequence(doors, random.Random(chosen), writers=[_KERNEL], only_cuts=True, doubts=doubts)
    clients, wrong = 0, None
    while wrong is None and time.monotonic() < end:
        clients, most = clients + 1, deaths.seen + _MOST_DEATHS
        with place.engine(guarded=True) as files:
            engine.turn_to(files)
            wrong = sequence.run(
                sys.maxsize, end - time.monotonic(), enough=lambda most=most: deaths.seen >= most
            )
            tally.compare(f"seed {chosen}, after {sequence.done} operations", wrong, None)
            place.guest.ask("forget_names")
            compare_guest(place, tally, SUBTREE, dict(walk(engine)))
    tally.count(sequence.done)
    return Turns(sequence.done, clients, deaths.seen, doubts.made, doubts.not_made)


def belief(place: Place) -> float:
    """For how many seconds a kernel at most goes on showing a name of its own that the engine has removed."""
    with place.engine() as files:
        files.mkdir(BELIEVING)
        files.create_subtree(BELIEVING, place.key.identifier, mode=FileMode.KERNEL)
        door, longest = place.door(BELIEVING), 0.0
        for number in range(_SAMPLES):
            name = b"%d" % number
            door.mkdir(name)
            files.rmdir(f"{BELIEVING}/{number}")
            begun = time.monotonic()
            with suppress(FileNotFoundError):
                while time.monotonic() < begun + _PATIENCE:
                    door.stat(name)
            longest = max(longest, time.monotonic() - begun)
    return longest
