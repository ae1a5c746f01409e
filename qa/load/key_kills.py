"""A keeper of keys that is killed at a random moment, and another that looks at what it left.

`python -m qa.load.key_kills NAME` is the keeper: a process of its own, which adds, rewraps, proves and removes
protectors of one key in turn, or destroys it, and says one byte before each act.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.cluster import Cluster
from mgr_fscrypt.ceph.named_objects import NamedObjects
from mgr_fscrypt.format import MasterKey
from mgr_fscrypt.keys.acts import Acts, opened
from mgr_fscrypt.keys.audit import Audit
from mgr_fscrypt.keys.errors import DestroyedError, KeyStoreError, NoSuchKeyError
from mgr_fscrypt.keys.keeper import Keeper
from mgr_fscrypt.keys.key_file import KeyFile
from mgr_fscrypt.keys.lifecycle import Lifecycle
from mgr_fscrypt.keys.lockbox import Lockbox
from mgr_fscrypt.keys.safe import Safe

ROOT = Path(__file__).resolve().parents[2]
LONGEST_LIFE = 0.5
"""Seconds of acts before the kill, at most: an act takes some milliseconds."""
_NAMESPACE = "fscrypt.keys.kills"
_FIRST, _SECOND = KeyFile(b"1" * 32), KeyFile(b"2" * 32)
_ACT = b"+"


@contextmanager
def keeper(access: Access) -> Iterator[Keeper]:
    """In a namespace of this load."""
    with Cluster(access) as cluster:
        place = cluster.file_system()
        with NamedObjects(cluster, place.metadata_pool, _NAMESPACE) as objects:
            audit = Audit(objects, "key kills", time.time)
            yield Keeper(Safe(objects, cluster.identity, place.fscid), audit, "key kills", time.time)


def kill(survivor: Keeper, chance: random.Random) -> str | None:
    """Let a keeper act on a new key, kill it, and judge what is left; what was wrong, or None."""
    name, master = f"k{chance.randrange(1 << 64):016x}", MasterKey(chance.randbytes(64))
    Acts(survivor).create(name, "load", master, "first", _FIRST)
    _killed_after(name, chance.uniform(0, LONGEST_LIFE), destroys=chance.random() < 0.3)
    try:
        wrong = _judged(survivor, name, master)
        # as the next one would: what was under way is done again, or was done
        Lifecycle(survivor).destroy(master.identifier.hex(), 0)
        Lifecycle(survivor).finish(master.identifier.hex())
    except (DestroyedError, NoSuchKeyError):
        wrong = _judged_tombstone(survivor, master)
    return None if wrong is None else f"{name}: {wrong}"


def _judged(survivor: Keeper, name: str, master: MasterKey) -> str | None:
    box = survivor.safe.find(name)
    works = [entry.name for entry in box.in_use() if _opens(box, entry.name, master)]
    if len(works) != len(list(box.in_use())) or not works:
        return f"of its protectors {[entry.name for entry in box.in_use()]} only {works} open it"
    return None


def _judged_tombstone(survivor: Keeper, master: MasterKey) -> str | None:
    identifier = master.identifier.hex()
    try:
        found = survivor.safe.find(identifier)
    except DestroyedError:
        return None
    return f"it is neither a key nor a tombstone, but {found}"


def _opens(box: Lockbox, protector: str, master: MasterKey) -> bool:
    alone = Lockbox(box.binding, box.key, box.name, box.creator, box.created, entries=(box.entry(protector),))
    try:
        return opened(alone, [_FIRST, _SECOND])[1] == master
    except KeyStoreError:
        return False


def _killed_after(name: str, seconds: float, *, destroys: bool) -> None:
    words = ["destroy"] if destroys else []
    client = subprocess.Popen(
        [sys.executable, "-m", "qa.load.key_kills", name, *words], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert client.stdout is not None
    try:
        if client.stdout.read(1) != _ACT:
            msg = "the keeper did not begin"
            raise RuntimeError(msg)
        time.sleep(seconds)
    finally:
        client.kill()
        client.wait()
        client.stdout.close()


def _act_for_ever(name: str, *, destroys: bool) -> None:
    with keeper(Access()) as found:
        acts, life = Acts(found), Lifecycle(found)
        known = (_FIRST, _SECOND)
        turns = cycle(
            (
                lambda: acts.add(name, "second", _SECOND, known),
                lambda: acts.rewrap(name, "first", _SECOND, known),
                lambda: acts.test(name, "second", _SECOND),
                lambda: acts.rewrap(name, "first", _FIRST, known),
                lambda: acts.remove(name, "second"),
            )
        )
        while True:
            os.write(1, _ACT)
            next(turns)()
            if destroys:
                life.destroy(name, 0)
                life.finish(name)
                time.sleep(LONGEST_LIFE)


if __name__ == "__main__":
    _act_for_ever(sys.argv[1], destroys="destroy" in sys.argv[2:])
