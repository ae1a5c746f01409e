"""A keeper of keys that is killed at a random moment, and another that looks at what it left.

`python -m qa.load.key_kills WHAT NAME` is the keeper: a process of its own, which adds, rewraps, proves and removes
protectors in turn, and says one byte before each act. They are those of a key, which it may destroy in between, or
those of a tenant's key, which it rotates in between.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
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
from mgr_fscrypt.keys.tenants import ByTenant, Tenants
from mgr_fscrypt.keys.tenants import opened as opened_tenant_key

ROOT = Path(__file__).resolve().parents[2]
LONGEST_LIFE = 0.5
"""Seconds of acts before the kill, at most: an act takes some milliseconds."""
_NAMESPACE = "fscrypt.keys.kills"
_FIRST, _SECOND = KeyFile(b"1" * 32), KeyFile(b"2" * 32)
_KNOWN = (_FIRST, _SECOND)
_ACT = b"+"
_PROTECTORS, _DESTROY, _TENANT = "protectors", "destroy", "tenant"


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
    (what,) = chance.choices((_PROTECTORS, _DESTROY, _TENANT), (4, 3, 3))
    acts, tenants = Acts(survivor), Tenants(survivor)
    if what == _TENANT:
        tenants.create(name, _FIRST)
        acts.create(name, name, master, "by-tenant", ByTenant(tenants, lambda _: _KNOWN))
    else:
        acts.create(name, "load", master, "first", _FIRST)
    _killed_after(what, name, chance.uniform(0, LONGEST_LIFE))
    try:
        wrong = _judged(survivor, name, master)
        if what == _TENANT:
            wrong = wrong or _judged_tenant(survivor, name)
        # as the next one would: what was under way is done again, or was done
        Lifecycle(survivor).destroy(master.identifier.hex(), 0)
        Lifecycle(survivor).finish(master.identifier.hex())
    except (DestroyedError, NoSuchKeyError):
        wrong = _judged_tombstone(survivor, master)
    return None if wrong is None else f"{what} {name}: {wrong}"


def _judged(survivor: Keeper, name: str, master: MasterKey) -> str | None:
    box = survivor.safe.find(name)
    by_tenant = ByTenant(Tenants(survivor), lambda _: _KNOWN)
    return _none_lost(box, lambda alone: opened(alone, [*_KNOWN, by_tenant])[1] == master)


def _judged_tenant(survivor: Keeper, name: str) -> str | None:
    for box in survivor.safe.tenant_keys(name):
        wrong = _none_lost(box, lambda alone: bool(opened_tenant_key(alone, _KNOWN)))
        if wrong is not None:
            return f"{box.key}: {wrong}"
    tenants = Tenants(survivor)
    tenants.rotate(name, tenants.openers_of(name, _KNOWN), Acts(survivor))
    versions = [box.key for box in survivor.safe.tenant_keys(name)]
    return None if len(versions) == 1 else f"after the next rotation there are {versions}"


def _judged_tombstone(survivor: Keeper, master: MasterKey) -> str | None:
    identifier = master.identifier.hex()
    try:
        found = survivor.safe.find(identifier)
    except DestroyedError:
        return None
    return f"it is neither a key nor a tombstone, but {found}"


def _none_lost(box: Lockbox, opens: Callable[[Lockbox], bool]) -> str | None:
    """Each protector opens it alone, and there is one."""
    names = [entry.name for entry in box.in_use()]
    works = [name for name in names if _opens(box, name, opens)]
    return None if works and works == names else f"of its protectors {names} only {works} open it"


def _opens(box: Lockbox, protector: str, opens: Callable[[Lockbox], bool]) -> bool:
    alone = Lockbox(box.binding, box.key, box.name, box.creator, box.created, entries=(box.entry(protector),))
    try:
        return opens(alone)
    except KeyStoreError:
        return False


def _killed_after(what: str, name: str, seconds: float) -> None:
    client = subprocess.Popen(
        [sys.executable, "-m", "qa.load.key_kills", what, name], cwd=ROOT, stdout=subprocess.PIPE
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


def _act_for_ever(what: str, name: str) -> None:
    with keeper(Access()) as found:
        turns = _on_a_tenant(found, name) if what == _TENANT else _on_a_key(found, name)
        life = Lifecycle(found)
        for act in cycle(turns):
            os.write(1, _ACT)
            act()
            if what == _DESTROY:
                life.destroy(name, 0)
                life.finish(name)
                time.sleep(LONGEST_LIFE)


def _on_a_key(found: Keeper, name: str) -> list[Callable[[], object]]:
    acts = Acts(found)
    return [
        lambda: acts.add(name, "second", _SECOND, _KNOWN),
        lambda: acts.rewrap(name, "first", _SECOND, _KNOWN),
        lambda: acts.test(name, "second", _SECOND),
        lambda: acts.rewrap(name, "first", _FIRST, _KNOWN),
        lambda: acts.remove(name, "second"),
    ]


def _on_a_tenant(found: Keeper, name: str) -> list[Callable[[], object]]:
    acts, tenants = Acts(found), Tenants(found)
    return [
        lambda: tenants.add(name, "second", _SECOND, _KNOWN),
        lambda: tenants.rewrap(name, "key-file", _SECOND, _KNOWN),
        lambda: tenants.rotate(name, tenants.openers_of(name, _KNOWN), acts),
        lambda: tenants.test(name, "second", _KNOWN),
        lambda: tenants.rewrap(name, "key-file", _FIRST, _KNOWN),
        lambda: tenants.remove(name, "second"),
    ]


if __name__ == "__main__":
    _act_for_ever(*sys.argv[1:])
