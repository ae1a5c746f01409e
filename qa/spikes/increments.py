"""Which way of changing a part of a block loses no update, beside truncates and punches and when a holder dies?

Three processes add one to random counters in one block of a file. *asserted* is doc/facts.md R7: whole-block librados
writes under assert_version where the object covers the block, else libcephfs under the lease. *leased* is libcephfs
under the lease, always. The neighbour works under the lease as well.
"""

import os
import random
import struct
import time
from dataclasses import dataclass

import rados

from qa.spikes.clients import O_DIRECT_LIKE, Client, Stage
from qa.spikes.locks import Lock, reset_session
from qa.spikes.results import Row, main, worst_milliseconds

QUESTION = "which read-modify-write of a block loses nothing?"
BLOCK = 4096
_FILE = 16 * BLOCK
_PLACES = {"inside": 1, "hole": 1, "end": 15}
_COUNTERS = struct.Struct("<512Q")
_VERSION_CONFLICTS = (34, 75)
_PUNCH_AND_KEEP_SIZE = 3


@dataclass(frozen=True)
class Added:
    """What one process did."""

    total: int
    conflicts: int
    leased: int
    waits: list[float]


def spike(seconds: float) -> list[Row]:
    """Each scheme in each place, then beside each neighbour, then with a holder that is killed."""
    cases = [
        *((scheme, place, "none") for scheme in ("asserted", "leased") for place in _PLACES),
        *(
            (scheme, "inside", neighbour)
            for scheme in ("asserted", "leased")
            for neighbour in ("truncates behind it", "truncates over it", "punches it")
        ),
        ("leased", "inside", "a holder killed"),
    ]
    with Stage() as stage:
        return [_case(stage, seconds, *case) for case in cases]


def _case(stage: Stage, seconds: float, scheme: str, place: str, neighbour: str) -> Row:
    path = f"{stage.folder}/{scheme}-{place}-{neighbour}".replace(" ", "-")
    block = _PLACES[place]
    adders = stage.actors(3, **O_DIRECT_LIKE)
    other = stage.actor(**O_DIRECT_LIKE)
    other.run(_make, path, place)
    if neighbour == "a holder killed":
        other.run(_hold, path)
        other.kill()
    for adder in adders:
        adder.start(_add, path, block, scheme, seconds, adder.uuid)
    harvested = 0
    if neighbour not in {"none", "a holder killed"}:
        harvested = other.run(_disturb, path, block, neighbour, seconds, other.uuid)
    answers: list[Added] = [adder.answer() for adder in adders]
    reader = stage.actor()
    total = sum(answer.total for answer in answers)
    left = reader.run(_sum, path, block)
    stage.dismiss(*adders, other, reader)
    return {
        "scheme": scheme,
        "block": place,
        "neighbour": neighbour,
        "additions": total,
        "lost": total - harvested - left,
        "a second": round(total / seconds),
        "under the lease": sum(answer.leased for answer in answers),
        "conflicts": sum(answer.conflicts for answer in answers),
        "longest wait ms": worst_milliseconds([0.0, *(wait for answer in answers for wait in answer.waits)]),
    }


# what the clients do


def _lock(client: Client, path: str, holder: str) -> Lock:
    return Lock(client.locks, path.rsplit("/", 1)[1], holder=holder, fence=reset_session)


def _make(client: Client, path: str, place: str) -> None:
    handle = client.mount.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    if place == "hole":
        client.mount.ftruncate(handle, _FILE)
    else:
        client.mount.write(handle, bytes(_FILE), 0)
    client.mount.fsync(handle, 0)
    client.mount.close(handle)


def _hold(client: Client, path: str) -> None:
    client.memory["handle"] = client.mount.open(path, os.O_RDWR)
    client.mount.write(client.memory["handle"], b"x", 5 * BLOCK)
    uuid = str(client.mount.conf_get("client_metadata")).removeprefix("uuid=")
    _lock(client, path, uuid).acquire()


def _add(client: Client, path: str, block: int, scheme: str, seconds: float, holder: str) -> Added:
    mount, random_ = client.mount, random.Random(holder)
    waits: list[float] = []
    with _lock(
        client, path, holder
    ) as first:  # before the open, which would hang on a dead holder's capabilities
        waits.append(first.waited)
        handle = mount.open(path, os.O_RDWR)
    name = f"{mount.fstat(handle).st_ino:x}.00000000"
    total = conflicts = leased = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        place = random_.randrange(512)
        if scheme == "asserted" and _covers(client, name, block):
            if _add_asserted(client, name, block, place):
                total += 1
            else:
                conflicts += 1
            continue
        lock = _lock(client, path, holder)
        waits.append(lock.acquire())
        if scheme == "leased" or not _covers(client, name, block):
            data = mount.read(handle, block * BLOCK, BLOCK).ljust(BLOCK, b"\0")
            mount.write(handle, _plus_one(data, place), block * BLOCK)
            mount.fsync(handle, 0)
            total += 1
            leased += 1
        lock.release()
    mount.close(handle)
    return Added(total, conflicts, leased, waits)


def _covers(client: Client, name: str, block: int) -> bool:
    try:
        size, _ = client.objects.stat(name)
    except rados.ObjectNotFound:
        return False
    return bool(size >= (block + 1) * BLOCK)


def _add_asserted(client: Client, name: str, block: int, place: int) -> bool:
    try:
        data = client.objects.read(name, BLOCK, block * BLOCK)
        version = client.objects.get_last_version()
    except rados.ObjectNotFound:
        return False
    if len(data) < BLOCK:
        return False
    try:
        with rados.WriteOpCtx() as step:
            step.assert_version(version)
            step.write(_plus_one(data, place), block * BLOCK)
            client.objects.operate_write_op(step, name)
    except rados.Error as error:
        if error.errno not in _VERSION_CONFLICTS:
            raise
        return False
    return True


def _plus_one(data: bytes, place: int) -> bytes:
    counters = list(_COUNTERS.unpack(data))
    counters[place] += 1
    return _COUNTERS.pack(*counters)


def _disturb(client: Client, path: str, block: int, how: str, seconds: float, holder: str) -> int:
    """Take the lease again and again and destroy; what was destroyed counts as harvested."""
    mount = client.mount
    handle = mount.open(path, os.O_RDWR)
    harvested = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        lock = _lock(client, path, holder)
        lock.acquire()
        if how == "truncates behind it":
            mount.ftruncate(handle, (block + 2) * BLOCK)
            mount.ftruncate(handle, _FILE)
        else:
            harvested += sum(_COUNTERS.unpack(mount.read(handle, block * BLOCK, BLOCK).ljust(BLOCK, b"\0")))
            if how == "punches it":
                mount.fallocate(handle, block * BLOCK, BLOCK, _PUNCH_AND_KEEP_SIZE)
            else:
                mount.ftruncate(handle, 0)
                mount.ftruncate(handle, _FILE)
        mount.fsync(handle, 0)
        lock.release()
        time.sleep(0.02)
    mount.close(handle)
    return harvested


def _sum(client: Client, path: str, block: int) -> int:
    handle = client.mount.open(path, os.O_RDONLY)
    data = client.mount.read(handle, block * BLOCK, BLOCK).ljust(BLOCK, b"\0")
    client.mount.close(handle)
    return sum(_COUNTERS.unpack(data))


if __name__ == "__main__":
    main(QUESTION, spike, seconds=5)
