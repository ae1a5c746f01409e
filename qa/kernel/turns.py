"""The engine and the kernel work on one subtree of kernel mode in turns, beside a model of it (qa/load/tree.py).

The kernel changes contents, both make files, and both change names and attributes. Two habits of kernels are let be,
which two kernels would meet as well (doc/kernel-witness.md): the names that the kernel knows are forgotten before each
of its acts, since it goes on believing some for seconds, and it makes no file longer by truncating it, since it may
have left garbage there.
"""

import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mgr_fscrypt.engine import FileMode
from qa.load.doors import EngineDoor
from qa.load.tree import WRONG_BYTES, Sequence, walk

from .guest import Guest
from .guest_door import GuestDoor
from .place import MOUNTED, Place
from .reading import compare_guest
from .tally import Tally

SUBTREE = "/turns"
BELIEVING = "/believing"
_SAMPLES = 5
_PATIENCE = 60.0
_KERNEL = 1
_LONGEST = 1000
_GUARD = "mgr_fscrypt.ceph.guard.succession"


@dataclass(frozen=True)
class Turns:
    """What was done in turns.

    Attributes:
        deaths: how often the kernel's truncates aborted the engine's libcephfs (doc/facts.md F4).
        uncertain: how many sequences ended with a change of the engine's during which that happened. It may or may not
            have been made: the engine says so, with EIO, and a model cannot go on from there.
    """

    operations: int
    sequences: int
    deaths: int
    uncertain: int


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


class _Deaths(logging.Handler):
    """Counts those that the engine's guard tells of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.seen = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.seen += "died by" in record.getMessage()


def take_turns(place: Place, tally: Tally, chosen: int, seconds: float) -> Turns:
    """For so many seconds. Each operation is a value, since it is compared with the model's.

    After each sequence both sides see the same tree.
    """
    tally.begin("the engine and the kernel in turns")

    def doubted(client: int, wrong: str) -> bool:
        """A guest's read with wrong bytes is made once more, from the cluster, as all others are (reading.py)."""
        again = client == _KERNEL and WRONG_BYTES in wrong
        if again:
            place.guest.ask("drop_caches")
            tally.read_again.append(f"in turns: {wrong}")
        return again

    chance, end = random.Random(chosen), time.monotonic() + seconds
    deaths = _Deaths()
    logging.getLogger(_GUARD).addHandler(deaths)
    operations = sequences = uncertain = 0
    while time.monotonic() < end:
        sequences, before = sequences + 1, deaths.seen
        subtree = f"{SUBTREE}-{sequences}"
        with place.engine() as files:
            files.mkdir(subtree)
            files.create_subtree(subtree, place.key.identifier, mode=FileMode.KERNEL)
        with place.engine(guarded=True) as files:
            engine = EngineDoor(files, subtree.encode())
            kernel = _ForgetfulDoor(place.guest, MOUNTED + subtree)
            sequence = Sequence((engine, kernel), chance, writers=[_KERNEL], only_cuts=True, doubted=doubted)
            wrong = sequence.run(_LONGEST, end - time.monotonic())
            operations += sequence.done
            tally.count(sequence.done)
            if wrong is not None and deaths.seen > before and _is_the_engines_eio(wrong):
                uncertain += 1
            else:
                tally.compare(f"seed {chosen}, sequence {sequences}, after {sequence.done}", wrong, None)
            place.guest.ask("forget_names")
            compare_guest(place, tally, subtree, dict(walk(engine)))
    return Turns(operations, sequences, deaths.seen, uncertain)


def _is_the_engines_eio(wrong: str) -> bool:
    """Was the last operation the engine's, and refused so?"""
    return "EIO" in wrong and wrong.rpartition("; ")[2].removeprefix("the last ones: ").startswith("0: ")


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
