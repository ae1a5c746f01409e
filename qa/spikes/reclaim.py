"""What frees the capabilities of a client that was killed: its session reset by uuid, eviction, or waiting?"""

import errno
import os
import time
import uuid
from functools import partial

import cephfs

from qa.spikes.clients import Client, SilentError, Stage, timed
from qa.spikes.libcephfs import LibcephfsError, RawMount
from qa.spikes.results import Row, main

QUESTION = "ceph_start_reclaim: does it free what a killed client held, and how soon?"
_REPEATS = 3
_HANGS = 2.0
_ACTS = ("inode number", "stat", "list xattrs", "open to read", "open to write")


def spike(seconds: float) -> list[Row]:
    """Every remedy a few times; waiting is given up after `seconds`."""
    with Stage() as stage:
        rows = [freed(stage, remedy, state) for state in ("clean", "dirty") for remedy in ("reset", "evict")]
        rows += [freed(stage, "reset", "paused, dirty")]
        return [*rows, _waited(stage, seconds), *_answers(stage), *_blocked(stage)]


def freed(stage: Stage, remedy: str, state: str, repeats: int = _REPEATS) -> Row:
    """The longest of `repeats` times between the remedy and another client's first change."""
    mounts, remedies, changes, late = [], [], [], set()
    for number in range(repeats):
        path = f"{stage.folder}/{remedy}-{state[:6]}-{number}"
        dead, other = stage.actors(2)
        dead.run(_hold, path, "dirty" in state)
        if "paused" in state:
            dead.pause()
        else:
            dead.kill()
        if remedy == "reset":
            begin = time.perf_counter()
            mount = RawMount()
            mounts.append(time.perf_counter() - begin)
            remedies.append(timed(partial(mount.reset, dead.uuid)))
            mount.unmount()
        else:
            remedies.append(timed(dead.evict))
        changes.append(other.run(_change, path))
        if "paused" in state:
            dead.resume()
            late.add(dead.run(_write_late))
            dead.gone = True
        stage.dismiss(dead, other)
    return {
        "session of a client that was": f"killed, {state}" if "paused" not in state else state,
        "remedy": remedy,
        "times": repeats,
        "longest mount s": round(max(mounts), 3) if mounts else "-",
        "longest remedy s": round(max(remedies), 3),
        "longest first change s": round(max(changes), 3),
        "its writes afterwards": ", ".join(sorted(late)) or "-",
    }


def _waited(stage: Stage, seconds: float) -> Row:
    path = f"{stage.folder}/waited"
    dead, other = stage.actors(2)
    dead.run(_hold, path, True)
    dead.kill()
    other.start(_change, path)
    try:
        took = f"{other.answer(seconds):.1f}"
    except SilentError:
        took = f"more than {seconds:g}"
        dead.evict()
        other.answer()
    stage.dismiss(dead, other)
    return {"session of a client that was": "killed, dirty", "remedy": "none", "first change s": took}


def _answers(stage: Stage) -> list[Row]:
    """What the calls answer where there is nothing to reset, and whether one mount may do it several times."""
    victims = stage.actors(2)
    fresh, mount = RawMount(), RawMount()
    outcomes = {"no such session": _answer(fresh, str(uuid.uuid4()))}
    outcomes["a session, by the mount refused before"] = _answer(fresh, victims[0].uuid)
    fresh.unmount()
    outcomes["a session"] = _answer(mount, victims[0].uuid)
    outcomes["a second session, by the same mount"] = _answer(mount, victims[1].uuid)
    outcomes["the first again, by the same mount"] = _answer(mount, victims[0].uuid)
    path = f"{stage.folder}/afterwards"
    keeper = stage.actor()
    keeper.run(_change_new, path)
    mount.close(mount.open(path, os.O_RDWR))
    outcomes["an open of the resetting mount"] = "yes"
    mount.unmount()
    stage.dismiss(keeper)
    for victim in victims:
        victim.kill()
    stage.dismiss(*victims)
    return [{"reset of": what, "answer": answer} for what, answer in outcomes.items()]


def _blocked(stage: Stage) -> list[Row]:
    """Which acts of others hang on a dead client's file, by what it had of it."""
    rows: list[Row] = []
    for dirty in (False, True):
        hangs = {}
        for act in _ACTS:
            path = f"{stage.folder}/blocked-{dirty}-{act}".replace(" ", "-")
            dead, other = stage.actors(2)
            dead.run(_hold, path, dirty)
            dead.kill()
            other.start(_act, path, act)
            try:
                hangs[act] = f"{other.answer(_HANGS):.3f} s"
            except SilentError:
                hangs[act] = "hangs"
                dead.evict()
                other.answer()
            stage.dismiss(dead, other)
        rows.append({"killed with": "unflushed data" if dirty else "clean handle", **hangs})
    return rows


def _answer(mount: RawMount, session_uuid: str) -> str:
    try:
        mount.reset(session_uuid)
    except LibcephfsError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "yes"


# what the clients do


def _act(client: Client, path: str, act: str) -> float:
    begin = time.monotonic()
    mount = client.mount
    if act == "inode number":
        mount.statx(path, cephfs.CEPH_STATX_INO, cephfs.AT_STATX_DONT_SYNC)
    elif act == "stat":
        mount.stat(path)
    elif act == "list xattrs":
        mount.listxattr(path)
    else:
        mount.close(mount.open(path, os.O_RDONLY if act == "open to read" else os.O_RDWR))
    return time.monotonic() - begin


def _hold(client: Client, path: str, dirty: bool) -> None:
    client.memory["handle"] = handle = client.mount.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    client.mount.write(handle, b"1" * 4096, 0)
    client.mount.fsync(handle, 0)
    if dirty:
        client.mount.write(handle, b"2" * 4096, 4096)


def _write_late(client: Client) -> str:
    try:
        client.mount.write(client.memory["handle"], b"late", 0)
        client.mount.fsync(client.memory["handle"], 0)
    except cephfs.Error as error:
        return errno.errorcode.get(error.errno, str(error))
    return "accepted"


def _change(client: Client, path: str) -> float:
    begin = time.monotonic()
    handle = client.mount.open(path, os.O_RDWR)
    client.mount.write(handle, b"3" * 4096, 0)
    client.mount.ftruncate(handle, 16384)
    client.mount.fsync(handle, 0)
    client.mount.close(handle)
    return time.monotonic() - begin


def _change_new(client: Client, path: str) -> None:
    client.mount.close(client.mount.open(path, os.O_CREAT | os.O_RDWR, 0o666))


if __name__ == "__main__":
    main(QUESTION, spike, seconds=90)
