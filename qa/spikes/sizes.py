"""Can a reader ever believe a wrong pair of raw and real size while a writer grows and shrinks the file?

The writer keeps (context, real size) in one xattr and changes it in the order of doc/engine-xattr.md. Observers look
at both without pause. A pair is believed if raw == roundup(real, 4096); it is wrong if that real size was not current
at any moment of the look.
"""

import contextlib
import os
import random
import struct
import time
from dataclasses import dataclass

import cephfs

from qa.spikes.clients import Client, Stage
from qa.spikes.libcephfs import RawMount
from qa.spikes.results import Row, main, worst_milliseconds

QUESTION = "real size in an xattr: which pairs (raw, real) do other clients observe?"
BLOCK = 4096
XATTR = "trusted.fscrypt.engine"
_VALUE = struct.Struct("<B40sQI")
_KILLS = 4


@dataclass(frozen=True)
class Seen:
    """One look: what it saw and between which moments."""

    begin: float
    end: float
    raw: int
    real: int


@dataclass(frozen=True)
class Change:
    """One change to `real`: from when it was begun and when it was complete."""

    begin: float
    end: float
    real: int


def rounded(real: int) -> int:
    return -(-real // BLOCK) * BLOCK


def spike(seconds: float) -> list[Row]:
    """Every manner of change, observed; then kills in the middle of a growth."""
    with Stage() as stage:
        rows = [
            _observed(stage, seconds, manner, flush)
            for manner in ("blocks", "within a block", "grow and back")
            for flush in (False, True)
        ]
        return [
            *rows,
            *(_killed(stage, inside, flush) for inside in (False, True) for flush in (False, True)),
        ]


def _observed(stage: Stage, seconds: float, manner: str, flush: bool) -> Row:
    path = f"{stage.folder}/{manner.replace(' ', '-')}-{flush}"
    writer, *observers = stage.actors(3)
    writer.run(_make, path)
    observers[0].start(_observe, path, seconds, "path")
    observers[1].start(_observe, path, seconds, "handle")
    writer.start(_write, path, seconds, manner, flush)
    changes = writer.answer()
    looks = [one for observer in observers for one in observer.answer()]
    stage.dismiss(writer, *observers)
    torn = [one for one in looks if one.raw != rounded(one.real)]
    wrong = [one for one in looks if one.raw == rounded(one.real) and not _was_true(one, changes)]
    return {
        "changes": manner,
        "flushed in between": "yes" if flush else "no",
        "changes a second": round(len(changes) / seconds),
        "looks": len(looks),
        "torn": len(torn),
        "raw ahead": sum(one.raw > rounded(one.real) for one in torn),
        "real ahead": sum(one.raw < rounded(one.real) for one in torn),
        "believed": len(looks) - len(torn),
        "believed wrongly": len(wrong),
        "longest until believed ms": worst_milliseconds([_longest_doubt(looks)]),
    }


def _was_true(look: Seen, changes: list[Change]) -> bool:
    """Whether its real size was current, or being made or left, at some moment of the look."""
    for change, after in zip(changes, [*changes[1:], None], strict=True):
        if (
            change.real == look.real
            and change.begin <= look.end
            and (after is None or after.end >= look.begin)
        ):
            return True
    return False


def _longest_doubt(looks: list[Seen]) -> float:
    """The longest time from a torn look to the next believed one, over both observers."""
    longest, since = 0.0, None
    for look in sorted(looks, key=lambda one: one.begin):
        if look.raw != rounded(look.real):
            since = look.begin if since is None else since
        elif since is not None:
            longest, since = max(longest, look.end - since), None
    return longest


def _killed(stage: Stage, inside: bool, flush: bool) -> Row:
    """The writer is killed after it grew the file, while an observer looks; its session is reset, then recovery."""
    outcomes = {"old": 0, "new": 0, "torn": 0, "believed without its data": 0}
    for number in range(_KILLS):
        path = f"{stage.folder}/killed-{inside}-{flush}-{number}"
        writer, observer = stage.actors(2)
        writer.run(_make, path)
        writer.run(_grow_unfinished, path, inside, flush)
        observer.run(_look_once, path)
        writer.kill()
        reclaimer = RawMount()
        reclaimer.reset(writer.uuid)
        reclaimer.unmount()
        raw, real, data = observer.run(_look_with_data, path)
        if raw != rounded(real):
            outcomes["torn"] += 1
        elif real == 1000:
            outcomes["old"] += 1
        else:
            outcomes["new" if data else "believed without its data"] += 1
        stage.dismiss(writer, observer)
    return {
        "killed after growing": "within a block" if inside else "by a block",
        "data flushed before the xattr": "yes" if flush else "no",
        "kills": _KILLS,
        **outcomes,
    }


# what the clients do


def _value(real: int) -> bytes:
    return _VALUE.pack(1, b"c" * 40, real, real % 2**32)


def _real(value: bytes) -> int:
    return int(_VALUE.unpack(value)[2])


def _make(client: Client, path: str) -> None:
    handle = client.mount.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    client.mount.write(handle, b"a" * BLOCK, 0)
    client.mount.fsync(handle, 0)
    client.mount.fsetxattr(handle, XATTR, _value(1000), 0)
    client.mount.close(handle)


def _write(client: Client, path: str, seconds: float, manner: str, flush: bool) -> list[Change]:
    mount, random_ = client.mount, random.Random(1)
    handle = mount.open(path, os.O_RDWR)
    real = 1000
    begin = time.monotonic()
    changes = [Change(0.0, begin, real)]
    while time.monotonic() < begin + seconds:
        if manner == "blocks":
            new = random_.randrange(1, 8 * BLOCK)
        elif manner == "within a block":
            new = random_.randrange(1, BLOCK)
        else:
            new = random_.randrange(1, BLOCK) + (BLOCK if real <= BLOCK else 0)
        started = time.monotonic()
        if new > real:
            tail = real // BLOCK * BLOCK
            mount.write(handle, b"g" * (rounded(new) - tail), tail)
            if flush:
                mount.fsync(handle, 0)
            mount.fsetxattr(handle, XATTR, _value(new), 0)
        else:
            mount.fsetxattr(handle, XATTR, _value(new), 0)
            mount.write(handle, b"s" * BLOCK, rounded(new) - BLOCK)
            if flush:
                mount.fsync(handle, 0)
            mount.ftruncate(handle, rounded(new))
        if flush:
            mount.fsync(handle, 0)
        changes.append(Change(started, time.monotonic(), new))
        real = new
    mount.close(handle)
    return changes


def _observe(client: Client, path: str, seconds: float, way: str) -> list[Seen]:
    mount = client.mount
    looks: list[Seen] = []
    handle = mount.open(path, os.O_RDONLY)
    end = time.monotonic() + seconds
    while (begin := time.monotonic()) < end:
        if way == "path":
            raw, real = mount.stat(path).st_size, _real(mount.getxattr(path, XATTR))
        elif len(looks) % 2:
            raw, real = mount.fstat(handle).st_size, _real(mount.fgetxattr(handle, XATTR))
        else:
            real, raw = _real(mount.fgetxattr(handle, XATTR)), mount.fstat(handle).st_size
        looks.append(Seen(begin, time.monotonic(), raw, real))
        time.sleep(0.0005)
    mount.close(handle)
    return looks


def _grow_unfinished(client: Client, path: str, inside: bool, flush: bool) -> None:
    real = 3000 if inside else BLOCK + 3000
    handle = client.mount.open(path, os.O_RDWR)
    client.mount.write(handle, b"n" * rounded(real), 0)
    if flush:
        client.mount.fsync(handle, 0)
    client.mount.fsetxattr(handle, XATTR, _value(real), 0)


def _look_once(client: Client, path: str) -> int:
    return _real(client.mount.getxattr(path, XATTR))


def _look_with_data(client: Client, path: str) -> tuple[int, int, bool]:
    mount = client.mount
    raw, real = mount.stat(path).st_size, _real(mount.getxattr(path, XATTR))
    data = b""
    with contextlib.suppress(cephfs.ObjectNotFound):
        handle = mount.open(path, os.O_RDONLY)
        data = mount.read(handle, 0, raw)
        mount.close(handle)
    return raw, real, data == b"n" * raw


if __name__ == "__main__":
    main(QUESTION, spike, seconds=10)
