"""Do a handle's capabilities tell whether another client has the file open?"""

import os
import time

from qa.spikes.clients import Client, Stage
from qa.spikes.results import Row, main

QUESTION = "do our own capabilities tell 'alone' from 'shared'?"
_FILE_SHIFT = 8
_FILE_BITS = "sxcrwbal"
_SITUATIONS = (
    "nobody",
    "reader, idle",
    "reader, reading",
    "writer, idle",
    "writer, writing",
    "stat only",
    "closed again",
)


def spike(seconds: float) -> list[Row]:
    """What the holder of a handle sees while another client does something with the file; `seconds` for each."""
    with Stage() as stage:
        return [seen(stage, situation, seconds) for situation in _SITUATIONS]


def seen(stage: Stage, situation: str, seconds: float) -> Row:
    """One situation of the other client."""
    path = f"{stage.folder}/{situation}".replace(" ", "-").replace(",", "")
    holder, other = stage.actors(2)
    holder.run(_open, path)
    other.start(_occupy, path, situation, seconds)
    shown = holder.run(_watch, seconds)
    other.answer()
    text = holder.run(_vxattr, path)
    stage.dismiss(holder, other)
    looks = sum(shown.values())
    exclusive = sum(count for caps, count in shown.items() if "x" in caps)
    return {
        "the other client": situation,
        "looks": looks,
        "file capabilities (looks)": ", ".join(f"F{caps} ({count})" for caps, count in shown.items()),
        "with Fx": exclusive,
        "with Fb": sum(count for caps, count in shown.items() if "b" in caps),
        "ceph.caps at the end": text,
    }


# what the clients do


def _open(client: Client, path: str) -> None:
    client.memory["handle"] = handle = client.mount.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    client.mount.write(handle, bytes(4096), 0)
    client.mount.fsync(handle, 0)


def _occupy(client: Client, path: str, situation: str, seconds: float) -> None:
    mount = client.mount
    end = time.monotonic() + seconds + 0.7
    if situation == "nobody":
        return
    if situation == "stat only":
        while time.monotonic() < end:
            mount.stat(path)
            time.sleep(0.01)
        return
    writes = situation.startswith("writer")
    handle = mount.open(path, os.O_RDWR if writes else os.O_RDONLY)
    if situation == "closed again":
        mount.close(handle)
        return
    while time.monotonic() < end:
        if situation.endswith("reading"):
            mount.read(handle, 0, 4096)
        elif situation.endswith("writing"):
            mount.write(handle, b"o" * 10, 0)
        time.sleep(0.01)
    mount.close(handle)


def _watch(client: Client, seconds: float) -> dict[str, int]:
    time.sleep(0.5)
    shown: dict[str, int] = {}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        bits = client.mount.debug_get_fd_caps(client.memory["handle"]) >> _FILE_SHIFT
        caps = "".join(letter for place, letter in enumerate(_FILE_BITS) if bits >> place & 1)
        shown[caps] = shown.get(caps, 0) + 1
        time.sleep(0.01)
    return shown


def _vxattr(client: Client, path: str) -> str:
    return str(client.mount.getxattr(path, "ceph.caps").decode())


if __name__ == "__main__":
    main(QUESTION, spike, seconds=2)
