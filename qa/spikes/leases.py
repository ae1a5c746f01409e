"""Which lease lets one engine client at a time change an inode, and how long does one that died hold others up?"""

import errno
import os
import struct
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import cephfs
import rados

from qa.spikes.clients import O_DIRECT_LIKE, Actor, Client, FailedError, Stage, all_of, timed
from qa.spikes.libcephfs import LibcephfsError, RawMount
from qa.spikes.locks import NAME, Lock, ends
from qa.spikes.results import Row, main, milliseconds, worst_milliseconds

QUESTION = "per-inode leases: a lock object (cls_lock) or libcephfs's delegation?"
BLOCK = 4096
_LOCKS = 10
_GATHERING = 1.5
"""Seconds in which all processes have the file open before and after they work on it."""
REMEDIES = ("reset by uuid", "blocklist add", "evict")
_COUNTER = struct.Struct("<Q")


def spike(seconds: float) -> list[Row]:
    """All cases, each for about `seconds`."""
    with Stage() as stage:
        return [
            *durations(stage),
            *costs(stage, seconds),
            *contention(stage, seconds),
            *deaths(stage),
            *stale_writers(stage),
            *rights(stage),
        ]


def durations(stage: Stage) -> list[Row]:
    """How long a lock really lives: asked for through the binding, and with an encoding of our own."""
    actor = stage.actor()
    rows = [
        {"lock of 2 s by": way, "locks": _LOCKS, "lives s, least": min(lives), "most": max(lives)}
        for way in ("Ioctx.lock_exclusive", "Ioctx.execute")
        for lives in [actor.run(_lifetimes, way)]
    ]
    stage.dismiss(actor)
    return rows


def costs(stage: Stage, seconds: float) -> list[Row]:
    """What taking and giving back costs when nobody else wants it."""
    actor = stage.actor()
    cases = [
        ("lock object", actor.run(_lock_costs, seconds / 2)),
        ("delegation, alone", actor.run(_delegation_costs, f"{stage.folder}/alone", seconds / 2)),
    ]
    stage.dismiss(actor)
    return [
        {
            "lease": name,
            "rounds": len(taken),
            "acquire ms": milliseconds(taken),
            "release ms": milliseconds(given),
        }
        for name, (taken, given) in cases
    ]


def contention(stage: Stage, seconds: float) -> list[Row]:
    """Three processes add one to a counter in a file that all of them have open, each addition under the lease."""
    rows: list[Row] = []
    for lease, function in (
        ("none", _count_unleased),
        ("lock object", _count_locked),
        ("delegation", _count_delegated),
    ):
        path = f"{stage.folder}/counter-{lease.split()[0]}"
        actors = stage.actors(3, **O_DIRECT_LIKE)
        actors[0].run(_make, path)
        answers = all_of(actors, function, path, time.monotonic() + _GATHERING, seconds)
        total = sum(done for done, _, _ in answers)
        waits = [wait for _, mine, _ in answers for wait in mine]
        rows.append(
            {
                "3 openers, lease": lease,
                "additions": total,
                "lost": total - actors[0].run(_counter, path),
                "a second": round(total / seconds, 1),
                "median wait ms": milliseconds(waits) if waits else "-",
                "longest wait ms": worst_milliseconds(waits) if waits else "-",
                "refusals": sum(refused for _, _, refused in answers),
            }
        )
        stage.dismiss(*actors)
    return rows


def deaths(stage: Stage, remedies: Sequence[str] = REMEDIES) -> list[Row]:
    """The holder is killed: when has another one the lease, and when can it change the file?"""
    rows: list[Row] = []
    for dirty in (False, True):
        for remedy in remedies:
            path = f"{stage.folder}/dead-{dirty}-{remedy.split()[0]}"
            holder, heir = stage.actors(2)
            holder.run(_make, path)
            holder.run(_hold, path, dirty)
            holder.kill()
            begin = time.monotonic()
            lease = heir.run(_take, path)
            freeing = timed(partial(_free, stage, holder, remedy))
            change = heir.run(_change, path)
            rows.append(
                {
                    "holder killed with": "unflushed data" if dirty else "clean handle",
                    "remedy": remedy,
                    "lease s": round(lease, 2),
                    "remedy s": round(freeing, 2),
                    "first change s": round(change, 3),
                    "in all s": round(time.monotonic() - begin, 2),
                }
            )
            stage.dismiss(holder, heir)
    return rows


def stale_writers(stage: Stage, remedies: Sequence[str] = ("none", *REMEDIES)) -> list[Row]:
    """The holder sleeps through the end of its lease, another one takes over, the sleeper wakes up and goes on."""
    rows: list[Row] = []
    for remedy in remedies:
        path = f"{stage.folder}/stale-{remedy.split()[0]}"
        holder, heir = stage.actors(2)
        holder.run(_make, path)
        holder.run(_hold, path, False)
        holder.pause()
        heir.run(_take, path)
        _free(stage, holder, remedy)
        if remedy == "none":
            holder.resume()
        else:
            heir.run(_change, path)
            holder.resume()
        renewed = holder.run(_renew)
        wrote = holder.run(_write_late)
        raw = holder.run(_write_object_late)
        seen = heir.run(_bytes_at, path)
        rows.append(
            {
                "holder slept, remedy": remedy,
                "its renewal": "granted" if renewed else "refused",
                "its next write": wrote,
                "its next object write": raw,
                "the file has": seen,
            }
        )
        holder.gone = remedy != "none"
        stage.dismiss(holder, heir)
    return rows


def rights(stage: Stage) -> list[Row]:
    """Which capabilities an ordinary entity needs for each part."""
    ceph = stage.cluster.ceph
    entity = "client.spikelease"
    namespaced = "allow rw tag cephfs data=cephfs"
    blocklister = 'allow r, allow command "osd blocklist" with blocklistop=add'
    cases = [
        ("fs authorize / rw", "allow r", namespaced),
        ("osd + class lock", "allow r", f"{namespaced}, allow class lock"),
        ("osd rwx", "allow r", "allow rwx tag cephfs data=cephfs"),
        (
            "osd rwx in the leases' namespace",
            "allow r",
            f"{namespaced}, allow rwx pool=cephfs_data namespace=spike.leases",
        ),
        (
            "the same + mon blocklist add",
            blocklister,
            f"{namespaced}, allow rwx pool=cephfs_data namespace=spike.leases",
        ),
    ]
    rows: list[Row] = []
    for name, mon, osd in cases:
        ceph("auth", "get-or-create", entity, "-o", "/dev/null")
        ceph("auth", "caps", entity, "mon", mon, "mds", "allow rw", "osd", osd)
        key = ceph("auth", "get-key", entity)
        own, other = stage.actor(entity, key=key), stage.actor(entity, key=key)
        admin = stage.actor()
        rows.append(
            {
                "capabilities": name,
                "lock": _outcome(own, _lock_once),
                "delegation": _outcome(own, _delegate_once, entity, key, stage.folder),
                "reset own entity's": _outcome(own, _reset, entity, key, other.uuid),
                "reset another's": _outcome(own, _reset, entity, key, admin.uuid),
                "blocklist add": _outcome(own, _blocklist, entity, key, "127.0.0.1:0/4242424"),
            }
        )
        other.gone = True
        stage.dismiss(own, admin)
        stage.dismiss(other)
    ceph("osd", "blocklist", "rm", "127.0.0.1:0/4242424")
    ceph("auth", "rm", entity)
    return rows


def _outcome(actor: Actor, function: Any, *arguments: Any) -> str:
    try:
        actor.run(function, *arguments)
    except FailedError as failed:
        return errno.errorcode.get(failed.errno or 0, str(failed))
    return "yes"


def _free(stage: Stage, holder: Actor, remedy: str) -> None:
    if remedy == "reset by uuid":
        helper = RawMount()
        helper.reset(holder.uuid)
        helper.unmount()
    elif remedy == "blocklist add":
        for address in holder.addresses:
            stage.cluster.ceph("osd", "blocklist", "add", address, "60")
    elif remedy == "evict":
        holder.evict()


# what the clients do


def _lifetimes(client: Client, way: str) -> list[float]:
    lives = []
    for number in range(_LOCKS):
        name, begin = f"lives-{client.session()}-{way}-{number}", time.time()
        if way == "Ioctx.execute":
            Lock(client.locks, name, 2).acquire()
        else:
            client.locks.lock_exclusive(name, NAME, "cookie", "", 2)
        lives.append(round(ends(client.locks, name) - begin, 2))
    return lives


def _make(client: Client, path: str) -> None:
    handle = client.mount.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    client.mount.write(handle, bytes(BLOCK), 0)
    client.mount.fsync(handle, 0)
    client.mount.close(handle)


def _lock_costs(client: Client, seconds: float) -> tuple[list[float], list[float]]:
    taken, given = [], []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        lock = Lock(client.locks, "alone")
        taken.append(timed(lock.acquire))
        given.append(timed(lock.release))
    return taken, given


def _delegation_costs(client: Client, path: str, seconds: float) -> tuple[list[float], list[float]]:
    _make(client, path)
    mount = RawMount()
    mount.allow_delegations(5)
    handle = mount.open(path, os.O_RDWR)
    taken, given = [], []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begin = time.perf_counter()
        if mount.delegate(handle, _ignore):
            taken.append(time.perf_counter() - begin)
            given.append(timed(lambda: mount.undelegate(handle)))
        else:
            time.sleep(0.002)
    mount.close(handle)
    mount.unmount()
    return taken, given


def _ignore() -> None:
    """A recall that nobody waits for."""


def _add(mount: Any, handle: int) -> None:
    (count,) = _COUNTER.unpack(mount.read(handle, 0, _COUNTER.size))
    mount.write(handle, _COUNTER.pack(count + 1), 0)
    mount.fsync(handle, 0)


def _counter(client: Client, path: str) -> int:
    handle = client.mount.open(path, os.O_RDONLY)
    (count,) = _COUNTER.unpack(client.mount.read(handle, 0, _COUNTER.size))
    client.mount.close(handle)
    return int(count)


def _gathered(begin: float, seconds: float) -> float:
    """Wait until everybody has the file open; the moment to end."""
    _wait_until(begin)
    return begin + seconds


def _wait_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def _count_unleased(client: Client, path: str, begin: float, seconds: float) -> tuple[int, list[float], int]:
    handle = client.mount.open(path, os.O_RDWR)
    done, end = 0, _gathered(begin, seconds)
    while time.monotonic() < end:
        _add(client.mount, handle)
        done += 1
    _wait_until(end + _GATHERING)
    client.mount.close(handle)
    return done, [], 0


def _count_locked(client: Client, path: str, begin: float, seconds: float) -> tuple[int, list[float], int]:
    handle = client.mount.open(path, os.O_RDWR)
    waits: list[float] = []
    refused, end = 0, _gathered(begin, seconds)
    while time.monotonic() < end:
        lock = Lock(client.locks, path.rsplit("/", 1)[1])
        waits.append(lock.acquire())
        refused += lock.polls
        _add(client.mount, handle)
        lock.release()
    _wait_until(end + _GATHERING)
    client.mount.close(handle)
    return len(waits), waits, refused


def _count_delegated(client: Client, path: str, begin: float, seconds: float) -> tuple[int, list[float], int]:
    mount = RawMount()
    mount.allow_delegations(5)
    handle = mount.open(path, os.O_RDWR)
    waits: list[float] = []
    refused, end = 0, _gathered(begin, seconds)
    asked = time.monotonic()
    while time.monotonic() < end:
        if not mount.delegate(handle, _ignore):
            refused += 1
            time.sleep(0.005)
            continue
        waits.append(time.monotonic() - asked)
        (count,) = _COUNTER.unpack(mount.read(handle, 0, _COUNTER.size))
        mount.write(handle, 0, _COUNTER.pack(count + 1))
        mount.fsync(handle)
        mount.undelegate(handle)
        asked = time.monotonic()
    _wait_until(end + _GATHERING)
    mount.close(handle)
    mount.unmount()
    return len(waits), waits, refused


def _hold(client: Client, path: str, dirty: bool) -> None:
    client.memory["lock"] = lock = Lock(client.locks, path.rsplit("/", 1)[1])
    lock.acquire()
    client.memory["handle"] = handle = client.mount.open(path, os.O_RDWR)
    client.memory["object"] = f"{client.mount.fstat(handle).st_ino:x}.00000000"
    if dirty:
        client.mount.write(handle, b"dirty" * 100, 0)


def _take(client: Client, path: str) -> float:
    client.memory["lock"] = lock = Lock(client.locks, path.rsplit("/", 1)[1], 60)
    return lock.acquire()


def _change(client: Client, path: str) -> float:
    begin = time.monotonic()
    handle = client.mount.open(path, os.O_RDWR)
    client.mount.read(handle, 0, BLOCK)
    client.mount.write(handle, b"heir!", 0)
    client.mount.ftruncate(handle, 2 * BLOCK)
    client.mount.fsync(handle, 0)
    client.mount.close(handle)
    return time.monotonic() - begin


def _renew(client: Client) -> bool:
    try:
        return bool(client.memory["lock"].renew())
    except rados.ConnectionShutdown:
        return False


def _write_late(client: Client) -> str:
    handle = client.memory["handle"]
    try:
        client.mount.write(handle, b"LATE!", 0)
        client.mount.fsync(handle, 0)
    except cephfs.Error as error:
        return errno.errorcode.get(error.errno, str(error))
    return "accepted"


def _write_object_late(client: Client) -> str:
    try:
        client.objects.write(client.memory["object"], b"LATE?", 8)
    except rados.Error as error:
        return errno.errorcode.get(error.errno, str(error))
    return "accepted"


def _bytes_at(client: Client, path: str) -> str:
    handle = client.mount.open(path, os.O_RDONLY)
    seen = client.mount.read(handle, 0, 13)
    client.mount.close(handle)
    return str(seen.replace(b"\0", b".").decode())


def _lock_once(client: Client) -> None:
    with Lock(client.locks, f"rights-{client.session()}"):
        pass


def _delegate_once(client: Client, entity: str, key: str, folder: str) -> None:
    path = f"{folder}/rights-{client.session()}"
    _make(client, path)
    mount = RawMount(entity, key=key)
    mount.allow_delegations(5)
    handle = mount.open(path, os.O_RDWR)
    end = time.monotonic() + 10
    while not mount.delegate(handle, _ignore):
        if time.monotonic() > end:
            raise LibcephfsError(errno.EAGAIN, "no delegation in 10 s")
        time.sleep(0.05)
    mount.undelegate(handle)
    mount.close(handle)
    mount.unmount()


def _reset(client: Client, entity: str, key: str, session_uuid: str) -> None:
    del client
    mount = RawMount(entity, key=key)
    try:
        mount.reset(session_uuid)
    finally:
        mount.unmount()


def _blocklist(client: Client, entity: str, key: str, address: str) -> None:
    del client
    cluster = rados.Rados(conffile=os.environ["CEPH_CONF"], name=entity, conf={"key": key})
    cluster.connect()
    command = f'{{"prefix": "osd blocklist", "blocklistop": "add", "addr": "{address}", "expire": 60.0}}'
    code, _, said = cluster.mon_command(command, b"")
    cluster.shutdown()
    if code:
        raise OSError(-code, said)


if __name__ == "__main__":
    main(QUESTION, spike, seconds=5)
