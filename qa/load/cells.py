"""Every way to run the two loads: which of them, through what, on how many clients, and how a file is written."""

import math
import random
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.format import MasterKey

from . import fsx, tree
from .doors import Door, EngineDoor, PathDoor
from .mounted import mounted


class Load(Enum):
    """What is done: to one file (`fsx`), or to a tree of many (`tree`)."""

    FILE = "file"
    TREE = "tree"


class Way(Enum):
    """How a client gets there."""

    ENGINE = "engine"
    MOUNT = "mount"


@dataclass(frozen=True)
class Ran:
    """How many operations were done, and what went wrong first, or None."""

    operations: int
    wrong: str | None


@dataclass(frozen=True)
class Cell:
    """One of them. With `direct` all that is written is durable at once (O_DIRECT, O_SYNC, O_DSYNC)."""

    load: Load
    way: Way
    clients: int
    direct: bool = False

    def __str__(self) -> str:
        clients = "one client" if self.clients == 1 else f"{self.clients} clients"
        words = [self.load.value, self.way.value, clients]
        if self.load is Load.FILE:
            words.append("direct" if self.direct else "buffered")
        return ", ".join(words)

    def run(
        self, subtree: str, key: Path, chance: random.Random, count: int, patience: float = math.inf
    ) -> Ran:
        """So many operations, if there is time, in an empty encrypted directory, by clients with that key."""
        with self._doors(subtree, key) as doors:
            sequence = self._sequence(doors, chance)
            wrong = sequence.run(count, patience)
        return Ran(sequence.done, wrong)

    def _sequence(self, doors: list[Door], chance: random.Random) -> fsx.Sequence | tree.Sequence:
        if self.load is Load.FILE:
            return fsx.Sequence(doors, b"file", chance, direct=self.direct)
        return tree.Sequence(doors, chance)

    @contextmanager
    def _doors(self, subtree: str, key: Path) -> Iterator[list[Door]]:
        opened = _mounted_door if self.way is Way.MOUNT else _engine_door
        with ExitStack() as stack:
            yield [stack.enter_context(opened(subtree, key)) for _ in range(self.clients)]


CELLS = (
    *(Cell(Load.FILE, way, clients, direct) for way in Way for clients in (1, 2) for direct in (False, True)),
    *(Cell(Load.TREE, way, clients) for way in Way for clients in (1, 2)),
)


@contextmanager
def _engine_door(subtree: str, key: Path) -> Iterator[Door]:
    keyring = Keyring()
    keyring.add(MasterKey(key.read_bytes()))
    with connect(Access()) as mount, FileSystem(mount, keyring) as files:
        yield EngineDoor(files, subtree.encode())


@contextmanager
def _mounted_door(subtree: str, key: Path) -> Iterator[Door]:
    with tempfile.TemporaryDirectory() as folder, mounted(subtree, Path(folder), key):
        yield PathDoor(Path(folder))
