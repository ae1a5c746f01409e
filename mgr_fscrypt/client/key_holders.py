"""Who keeps encrypted files in use, so that the kernel cannot take their keys away.

The kernel says only that there are such files (FILES_BUSY). What can be found without its help: processes with a file
open or mapped, or working, rooted or running there; watches of inotify; and mounts that begin there. What cannot:
files that the kernel itself uses (an NFS export, a loop device, swap).
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..format import ContextError
from .kernel_keys import KernelKeys
from .kernel_mounts import PROC, Device, mount_number, mounts_on

_WATCH = re.compile(r"^inotify wd:\S+ ino:(\w+) sdev:(\w+) ", re.MULTILINE)


@dataclass(frozen=True)
class Holder:
    """What keeps one file in use.

    Args:
        how: ``open``, ``mapped``, ``working directory``, ``root directory``, ``program``, ``watch`` or ``mount``.
        path: of the file, as the holder sees it; for a watch its inode's number.
        pid: the process; of a mount a process in whose namespace it is.
        command: the process's short name.
    """

    how: str
    path: str
    pid: int
    command: str


@dataclass(frozen=True)
class Holders:
    """What was found.

    Args:
        found: each file of each process once for each way in which it is held.
        unseen: processes that the caller may not look into.
    """

    found: tuple[Holder, ...]
    unseen: int


def holders(device: Device, key_name: bytes) -> Holders:
    """Look for what keeps files in use that are encrypted by a key.

    Args:
        device: of the file system, as `KernelMount.device`.
        key_name: identifier or descriptor, as in the policy. A file whose policy cannot be asked for counts as
            one of them: it is better named than left out.
    """
    mounts = mounts_on(device)
    numbers = frozenset(mount.number for mount in mounts)
    found = dict[Holder, None]()
    for mount in mounts:
        with _reached(mount.reachable_place) as descriptor:
            if descriptor is not None and _is_under(descriptor, key_name, unknown=False):
                found[Holder("mount", str(mount.place), mount.pid, _command(mount.pid))] = None
    unseen = 0
    for pid in sorted(int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()):
        try:
            for how, link in _links(pid, device):
                held = _held(pid, how, link, numbers, key_name)
                if held is not None:
                    found[held] = None
            found |= dict.fromkeys(_watches(pid, device))
        except PermissionError:
            unseen += 1
        except (FileNotFoundError, ProcessLookupError):
            # it has ended meanwhile, and holds nothing any more
            continue
    return Holders(tuple(found), unseen)


def _links(pid: int, device: Device) -> Iterator[tuple[str, Path]]:
    """Give the links to all files that a process uses, of maps only those of the device; our own descriptors are
    those of this search.

    Raises:
        OSError: the process is gone, or is not ours to look into.
    """
    process = PROC / str(pid)
    for how, name in (("working directory", "cwd"), ("root directory", "root"), ("program", "exe")):
        yield how, process / name
    if pid != os.getpid():
        yield from (("open", link) for link in (process / "fd").iterdir())
    for line in (process / "maps").read_bytes().splitlines():
        area, _, _, on = line.decode("ascii", "replace").split(maxsplit=4)[:4]
        if Device.parse(on, 16) == device:
            start, _, end = area.partition("-")
            yield "mapped", process / "map_files" / f"{int(start, 16):x}-{int(end, 16):x}"


def _held(pid: int, how: str, link: Path, mounts: frozenset[int], key_name: bytes) -> Holder | None:
    with _reached(link) as descriptor:
        if descriptor is None or mount_number(descriptor) not in mounts:
            return None
        if not _is_under(descriptor, key_name, unknown=True):
            return None
        path = _target(link)
        return None if path is None else Holder(how, path, pid, _command(pid))


def _watches(pid: int, device: Device) -> Iterator[Holder]:
    for link in (PROC / str(pid) / "fd").iterdir():
        if _target(link) != "anon_inode:inotify":
            continue
        try:
            told = (PROC / str(pid) / "fdinfo" / link.name).read_text()
        except FileNotFoundError:
            continue
        for inode, watched in _WATCH.findall(told):
            if Device.decode(int(watched, 16)) == device:
                yield Holder("watch", f"inode {int(inode, 16)} (of this key or another)", pid, _command(pid))


@contextmanager
def _reached(path: Path) -> Iterator[int | None]:
    """An O_PATH descriptor, which asks no file system; None for what is gone, no file, or closed to us."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_under(descriptor: int, key_name: bytes, *, unknown: bool) -> bool:
    """Whether a file is encrypted by a key; `unknown` when that cannot be asked."""
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        # devices, FIFOs and sockets have no key of their own
        return False
    try:
        opened = os.open(PROC / "self" / "fd" / str(descriptor), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return unknown
    try:
        policy = KernelKeys(opened).policy()
    except (OSError, ContextError):
        return unknown
    finally:
        os.close(opened)
    return policy is not None and policy.key == key_name


def _target(link: Path) -> str | None:
    """What a process has open there; None when it has closed it meanwhile."""
    try:
        return os.readlink(link)  # noqa: PTH115 - not always a path
    except FileNotFoundError:
        return None


def _command(pid: int) -> str:
    try:
        return (PROC / str(pid) / "comm").read_text().rstrip("\n")
    except OSError:
        return "gone"
