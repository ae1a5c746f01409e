"""One client that is killed at a random moment of a mixed load, and another that uses what it left.

`python -m qa.load.kills TOP SEED` is the client: a process of its own, which says one byte for each operation that
returned. Both sides draw the same operations from the seed, so that its parent knows what was acknowledged.
"""

import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.interface import Kind
from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.engine.fsck import ObjectExtents
from mgr_fscrypt.format import MasterKey

from .crashes import Client, Do, Found, Load, Model, writable
from .stopwatch import timed

ROOT = Path(__file__).resolve().parents[2]
SECRET = bytes(range(64))
HELD_UP = 5.0
"""Seconds that one call of a survivor may take (P4 of the design)."""
LONGEST_LIFE = 1.5
"""Seconds of load before the kill, at most."""
SOON = 0.2
"""Seconds before `fsck` looks again: what still has the lease of the dead client then is in use to it."""
ENDLESS = 100_000
_READY = b"+"


@dataclass(frozen=True)
class Killed:
    """One kill: what was wrong or None, how many operations had returned, and how many things were half made.

    Seconds: `held_up`, the longest that one call of the survivor took, named `call`; since the kill until it had read
    everything (`looked`: about one second for each half made thing, which it waits for).
    """

    wrong: str | None
    acknowledged: int
    half_made: int
    looked: float
    held_up: float
    call: str

    @property
    def late(self) -> str | None:
        """How long the survivor was held up, where that was too long."""
        return (
            None
            if self.held_up < HELD_UP
            else f"a call of the survivor took {self.held_up:.1f} s: {self.call}"
        )

    def __str__(self) -> str:
        return (
            f"{self.held_up:.2f} s in one call ({self.call}; everything read after {self.looked:.2f} s, "
            f"{self.half_made} half made)"
        )


def opened(mount: CephMount) -> FileSystem:
    """With the key of this load."""
    keyring = Keyring()
    keyring.add(MasterKey(SECRET))
    return FileSystem(mount, keyring)


def kill(survivor: FileSystem, top: bytes, chance: random.Random, objects: ObjectExtents) -> Killed:
    """Let a client work in the new subtree `top`, kill it, and judge what the survivor finds; every other time it has
    `fsck` clear up."""
    survivor.mkdir(top)
    survivor.create_subtree(top, MasterKey(SECRET).identifier)
    seed = str(chance.randrange(1 << 64))
    returned = _killed_after(top, seed, chance.uniform(0, LONGEST_LIFE))
    killed = time.monotonic()
    model = _model(seed, returned)
    files, watch = timed(survivor)
    heir = Client(files, top)
    found = heir.look()
    looked = time.monotonic() - killed
    repaired = chance.random() < 0.5
    wrong = model.judge(found)
    if wrong is None and repaired:
        wrong = heir.repair(found, SOON, objects)
    for name in _files(found):
        with writable(files, top + b"/" + name) as file:
            file.truncate(file.size)
    growth = chance.choice((Do.WRITE, Do.TRUNCATE))
    wrong = wrong or heir.grow_all(found, growth)
    if wrong is None and not repaired:
        wrong = heir.clear_away(found) or heir.check(SOON, objects)
    if wrong is None:
        model.accept(found)
        wrong = model.judge(heir.look())
    if wrong is not None:
        wrong = f"{top.decode()}, load {seed}, {returned} operations had returned: {wrong}"
    half_made = sum(one.half_made for one in found.values())
    return Killed(wrong, returned, half_made, looked, watch.longest, watch.call)


def _killed_after(top: bytes, seed: str, life: float) -> int:
    """How many operations of a client had returned when it was killed, so many seconds after its first was due."""
    child = subprocess.Popen(
        [sys.executable, "-m", __name__, os.fsdecode(top), seed], stdout=subprocess.PIPE, cwd=ROOT
    )
    assert child.stdout is not None
    with child.stdout as said:
        if said.read(1) != _READY:
            child.wait()
            raise RuntimeError(f"the client of load {seed} did not begin: exit {child.returncode}")
        time.sleep(life)
        child.kill()
        returned = len(said.read())
    if child.wait() != -9:
        raise RuntimeError(
            f"the client of load {seed} ended by itself after {returned}: exit {child.returncode}"
        )
    return returned


def _model(seed: str, returned: int) -> Model:
    """What was acknowledged by then; the next operation may have been under way."""
    model, load = Model(), Load(random.Random(seed))
    for _ in range(returned):
        operation = load.next(model.names)
        model.begin(operation)
        model.end(operation)
    model.begin(load.next(model.names))
    return model


def _files(found: dict[bytes, Found]) -> list[bytes]:
    return [name for name, one in found.items() if not one.half_made and one.kind is Kind.FILE]


def _work(top: bytes, seed: str) -> None:
    said = sys.stdout.buffer.raw
    with connect(Access()) as mount:
        client, model, load = Client(opened(mount), top), Model(), Load(random.Random(seed))
        said.write(_READY)
        for _ in range(ENDLESS):
            operation = load.next(model.names)
            model.begin(operation)
            client.do(operation)
            said.write(_READY)
            model.end(operation)


if __name__ == "__main__":
    _work(os.fsencode(sys.argv[1]), sys.argv[2])
