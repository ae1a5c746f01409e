"""Making things in place: what others can do to a half-made file, what a crash leaves, and what it costs.

In place: create with O_EXCL and mode 0, contents, the xattr, then the real mode.
"""

import errno
import os
import time
from collections.abc import Callable

import cephfs

from qa.spikes.clients import Actor, Client, FailedError, Stage
from qa.spikes.libcephfs import RawMount
from qa.spikes.results import Row, main, milliseconds
from qa.spikes.sizes import XATTR

QUESTION = "making things in place: what others see, what it costs, what a crash leaves"
_VALUE = b"v" * 53
_AUTH = "ceph.fscrypt.auth"
_CONTEXT = b"\x02" + b"c" * 39
_STEPS = ("created", "with context", "complete")
_ACTS = ("list", "open to read", "open to write", "set an xattr", "truncate", "unlink")


def spike(seconds: float) -> list[Row]:
    """The three parts; `seconds` is for each kind of thing in the costs."""
    with Stage() as stage:
        return [*owners(stage), *others(stage), *interfered(stage), *crashes(stage), *costs(stage, seconds)]


def others(stage: Stage) -> list[Row]:
    """What root and an ordinary user on other mounts can do to it after each step."""
    maker, root = stage.actors(2)
    user = stage.actor(client_mount_uid="1000", client_mount_gid="1000")
    rows: list[Row] = []
    for name, actor in (("root", root), ("uid 1000", user)):
        for step in _STEPS:
            outcome = {}
            for act in _ACTS:
                path = f"{stage.folder}/{name[:4]}-{step}-{act}".replace(" ", "-")
                maker.run(make_until, path, step)
                outcome[act] = _outcome(actor, act, path)
                maker.run(forget, path)
            rows.append({"after": step, "by": name, **outcome})
    stage.dismiss(maker, root, user)
    return rows


def owners(stage: Stage) -> list[Row]:
    """Whether a maker who is not root can go on after a creation with that mode, and who of the same user gets in."""
    maker, same = (stage.actor(client_mount_uid="1000", client_mount_gid="1000") for _ in range(2))
    rows: list[Row] = []
    for mode in (0, 0o200, 0o600):
        path = f"{stage.folder}/owner-{mode:o}"
        maker.run(create, path, mode)
        rows.append(
            {
                "maker uid 1000, mode at creation": f"{mode:04o}",
                "its xattr": _went(maker, set_context, path),
                "its chmod": _went(maker, set_mode, path, mode),
                "another of uid 1000 opens to read": _outcome(same, "open to read", path),
                "to write": _outcome(same, "open only to write", path),
                "truncates": _outcome(same, "truncate", path),
            }
        )
        maker.run(forget, path)
    stage.dismiss(maker, same)
    return rows


def interfered(stage: Stage) -> list[Row]:
    """Root on another mount interferes after the creation; then the maker goes on."""
    maker, root = stage.actors(2)
    rows: list[Row] = []
    for act in ("truncate", "unlink", "create again", "create again O_EXCL"):
        path = f"{stage.folder}/between-{act}".replace(" ", "-")
        maker.run(make_until, path, "created")
        did = _outcome(root, act, path)
        try:
            went_on = maker.run(finish, path)
        except FailedError as failed:
            went_on = str(failed)
        left = root.run(found, path)
        rows.append({"interference": act, "its outcome": did, "the maker": went_on, "what is there": left})
    stage.dismiss(maker, root)
    return rows


def crashes(stage: Stage) -> list[Row]:
    """The maker is killed after each step and its session reset."""
    rows: list[Row] = []
    for step in _STEPS:
        path = f"{stage.folder}/crash-{step}".replace(" ", "-")
        maker, finder = stage.actors(2)
        maker.run(make_until, path, step)
        maker.kill()
        reclaimer = RawMount()
        reclaimer.reset(maker.uuid)
        reclaimer.unmount()
        rows.append({"killed after": step, "what is there": finder.run(found, path)})
        stage.dismiss(maker, finder)
    return rows


def costs(stage: Stage, seconds: float) -> list[Row]:
    """Each thing in the plain way and in place, in turns."""
    actor = stage.actor()
    rows: list[Row] = []
    for kind in ("file of 4 KiB", "file of 4 KiB, fsync", "empty file", "directory", "symlink"):
        plain, placed = actor.run(_measure, stage.folder, kind, seconds)
        rows.append(
            {
                "making": kind,
                "rounds": len(plain),
                "plain ms": milliseconds(plain),
                "in place ms": milliseconds(placed),
                "speed against plain": round(milliseconds(plain) / milliseconds(placed), 2),
            }
        )
    stage.dismiss(actor)
    return rows


def _outcome(actor: Actor, act: str, path: str) -> str:
    return _went(actor, interfere, path, act)


def _went(actor: Actor, function: Callable[..., None], *arguments: object) -> str:
    try:
        actor.run(function, *arguments)
    except FailedError as failed:
        return errno.errorcode.get(failed.errno or 0, str(failed))
    return "yes"


# what the clients do


def create(client: Client, path: str, mode: int) -> None:
    """The first step only, with that mode."""
    client.memory[path] = client.mount.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode)


def set_context(client: Client, path: str) -> None:
    client.mount.fsetxattr(client.memory[path], XATTR, _VALUE, 0)


def set_mode(client: Client, path: str, mode: int) -> None:
    client.mount.fchmod(client.memory[path], mode)


def make_until(client: Client, path: str, step: str) -> None:
    """Make a file in place and stop after `step`, with the handle open."""
    mount = client.mount
    client.memory[path] = handle = mount.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0)
    if step == "created":
        return
    _fill(mount, handle)
    if step == "complete":
        mount.fchmod(handle, 0o666)


def finish(client: Client, path: str) -> str:
    """The steps after the creation."""
    handle = client.memory.pop(path)
    _fill(client.mount, handle)
    client.mount.fchmod(handle, 0o644)
    links = client.mount.fstat(handle).st_nlink
    client.mount.close(handle)
    return f"no error, {links} links"


def forget(client: Client, path: str) -> None:
    """Close and remove, if it is there still."""
    client.mount.close(client.memory.pop(path))
    try:
        client.mount.unlink(path)
    except cephfs.ObjectNotFound:
        return


def interfere(client: Client, path: str, act: str) -> None:
    """One act of somebody else."""
    mount = client.mount
    acts: dict[str, Callable[[], object]] = {
        "list": lambda: mount.stat(path),
        "open to read": lambda: mount.close(mount.open(path, os.O_RDONLY)),
        "open to write": lambda: mount.close(mount.open(path, os.O_RDWR)),
        "open only to write": lambda: mount.close(mount.open(path, os.O_WRONLY)),
        "set an xattr": lambda: mount.setxattr(path, "user.other", b"1", 0),
        "truncate": lambda: mount.close(mount.open(path, os.O_WRONLY | os.O_TRUNC)),
        "unlink": lambda: mount.unlink(path),
        "create again": lambda: mount.close(mount.open(path, os.O_CREAT | os.O_RDWR, 0o600)),
        "create again O_EXCL": lambda: mount.close(
            mount.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        ),
    }
    acts[act]()


def found(client: Client, path: str) -> str:
    """Mode, size and context of what is there."""
    try:
        status = client.mount.stat(path)
    except cephfs.ObjectNotFound:
        return "nothing"
    try:
        client.mount.getxattr(path, XATTR)
        context = "context"
    except cephfs.NoData:
        context = "no context"
    return f"mode {status.st_mode & 0o7777:o}, {status.st_size} bytes, {context}"


def _fill(mount: "cephfs.LibCephFS", handle: int) -> None:
    mount.write(handle, bytes(4096), 0)
    mount.fsetxattr(handle, XATTR, _VALUE, 0)


def _measure(client: Client, folder: str, kind: str, seconds: float) -> tuple[list[float], list[float]]:
    mount = client.mount
    ways = _ways(mount, kind)
    samples: tuple[list[float], list[float]] = ([], [])
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end or number < 5:
        for way, taken in zip(ways, samples, strict=True):
            path = f"{folder}/cost-{number}-{len(taken)}-{way.__name__}"
            begin = time.perf_counter()
            way(path)
            taken.append(time.perf_counter() - begin)
            if kind == "directory":
                mount.rmdir(path)
            else:
                mount.unlink(path)
        number += 1
    return samples


def _ways(mount: "cephfs.LibCephFS", kind: str) -> tuple[Callable[[str], None], Callable[[str], None]]:
    if kind == "directory":
        return _folder_ways(mount)
    if kind == "symlink":
        return _link_ways(mount)
    return _file_ways(mount, filled="4 KiB" in kind, durable=kind.endswith("fsync"))


def _file_ways(
    mount: "cephfs.LibCephFS", *, filled: bool, durable: bool
) -> tuple[Callable[[str], None], Callable[[str], None]]:
    def contents(handle: int) -> None:
        if filled:
            mount.write(handle, bytes(4096), 0)
        if durable:
            mount.fsync(handle, 0)

    def plain(path: str) -> None:
        handle = mount.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
        contents(handle)
        mount.close(handle)

    def placed(path: str) -> None:
        handle = mount.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0)
        contents(handle)
        mount.fsetxattr(handle, XATTR, _VALUE, 0)
        mount.fchmod(handle, 0o644)
        if durable:
            mount.fsync(handle, 0)
        mount.close(handle)

    return plain, placed


def _folder_ways(mount: "cephfs.LibCephFS") -> tuple[Callable[[str], None], Callable[[str], None]]:
    def plain(path: str) -> None:
        mount.mkdir(path, 0o755)

    def placed(path: str) -> None:
        mount.mkdir(path, 0)
        mount.setxattr(path, _AUTH, _CONTEXT, 0)
        mount.chmod(path, 0o755)

    return plain, placed


def _link_ways(mount: "cephfs.LibCephFS") -> tuple[Callable[[str], None], Callable[[str], None]]:
    def plain(path: str) -> None:
        mount.symlink("target", path)

    def placed(path: str) -> None:
        mount.symlink("target", path)
        mount.lsetxattr(path, _AUTH, _CONTEXT, 0)

    return plain, placed


if __name__ == "__main__":
    main(QUESTION, spike, seconds=5)
