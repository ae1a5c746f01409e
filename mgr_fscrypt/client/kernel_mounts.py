"""Which mounted file system a path lies in, and where else the same one is mounted (proc(5), /proc/PID/mountinfo)."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ESCAPED = re.compile(rb"\\([0-7]{3})")
PROC = Path("/proc")


@dataclass(frozen=True)
class Device:
    """The number of a mounted file system; all its mounts have the same, and the same keys."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str, base: int) -> "Device":
        """Read ``MAJOR:MINOR``, decimal in mountinfo, hexadecimal in a process's maps."""
        major, _, minor = text.partition(":")
        return cls(int(major, base), int(minor, base))

    @classmethod
    def decode(cls, number: int) -> "Device":
        """Read the kernel's own dev_t (include/linux/kdev_t.h), as fdinfo tells it of watches."""
        return cls(number >> 20, number & 0xFFFFF)


@dataclass(frozen=True)
class KernelMount:
    """A mount, as one mount namespace has it.

    Args:
        number: the kernel's, unlike all other mounts of all namespaces.
        device: of the file system.
        place: the mount point.
        kind: the file system's type, such as ``ceph``.
        source: what is mounted.
        pid: a process in whose mount namespace this is.
    """

    number: int
    device: Device
    place: Path
    kind: str
    source: str
    pid: int

    @property
    def reachable_place(self) -> Path:
        """The mount point, as it is reached from any other mount namespace."""
        return PROC / str(self.pid) / "root" / self.place.relative_to("/")


def mount_of(descriptor: int) -> KernelMount:
    """Give the mount that an open file (O_PATH will do) was reached through.

    Raises:
        LookupError: it is in no mount that this process can see, such as one that was unmounted lazily.
    """
    number = mount_number(descriptor)
    for mount in mounts_seen_by(os.getpid()):
        if mount.number == number:
            return mount
    raise LookupError(f"mount {number} is not one of this process's")


def mount_number(descriptor: int) -> int:
    """Give the number of the mount that an open file was reached through; asks no file system, so it cannot hang."""
    for line in (PROC / "self" / "fdinfo" / str(descriptor)).read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "mnt_id":
            return int(value)
    raise LookupError("this kernel does not tell an open file's mount (older than 3.15)")


def mounts_seen_by(pid: int) -> list[KernelMount]:
    """Give the mounts of a process's mount namespace, as far as its root directory lets it see them.

    Raises:
        OSError: the process is gone, or is not ours to look into.
    """
    return [_parsed(line, pid) for line in (PROC / str(pid) / "mountinfo").read_bytes().splitlines()]


def mounts_on(device: Device) -> list[KernelMount]:
    """Give all mounts of a file system, in all mount namespaces of processes that the caller may look into.

    A process that was given another root directory may see fewer of its namespace's mounts than there are.
    """
    return [
        mount for pid in _one_of_each_namespace() for mount in _seen_if_there(pid) if mount.device == device
    ]


def _one_of_each_namespace() -> Iterator[int]:
    """Give a process for each mount namespace; the caller's own first."""
    known = set[str]()
    others = sorted(int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())
    for pid in [os.getpid(), *others]:
        try:
            namespace = os.readlink(PROC / str(pid) / "ns" / "mnt")  # noqa: PTH115 - no path, but mnt:[NUMBER]
        except OSError:
            continue
        if namespace not in known:
            known.add(namespace)
            yield pid


def _seen_if_there(pid: int) -> list[KernelMount]:
    try:
        return mounts_seen_by(pid)
    except OSError:
        return []


def _parsed(line: bytes, pid: int) -> KernelMount:
    before, _, after = line.partition(b" - ")
    number, _, device, _, place = before.split(b" ")[:5]
    kind, source = after.split(b" ")[:2]
    return KernelMount(
        number=int(number),
        device=Device.parse(device.decode(), 10),
        place=Path(_unescaped(place)),
        kind=_unescaped(kind),
        source=_unescaped(source),
        pid=pid,
    )


def _unescaped(word: bytes) -> str:
    """Space, tab, newline and backslash are written in octal."""
    return os.fsdecode(_ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), word))
