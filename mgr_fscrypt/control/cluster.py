"""What control sees of the cluster."""

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .nearest import hint
from .refusal import RefusalError


@dataclass(frozen=True)
class FileSystem:
    """One CephFS file system: its number, which never changes, and its name, which may."""

    fscid: int
    name: str


class FileSystemMap(Protocol):
    """The file systems that exist now, as the monitors' map has them."""

    def file_systems(self) -> Sequence[FileSystem]:
        """Give all file systems; cheap, and never waits for anything."""
        ...


def names_of(cluster: FileSystemMap) -> dict[int, str]:
    """The names of all file systems, by their numbers."""
    return {each.fscid: each.name for each in cluster.file_systems()}


def existing(cluster: FileSystemMap, name: str) -> FileSystem:
    """The file system of that name.

    Raises:
        RefusalError: there is none; the nearest name is told.
    """
    present = cluster.file_systems()
    for each in present:
        if each.name == name:
            return each
    names = [each.name for each in present]
    there = f"there is {', '.join(names)}"
    none = "there is none: create one with `ceph fs volume create NAME`"
    next_step = hint(name, names, there if names else none)
    raise RefusalError(errno.ENOENT, f'file system "{name}" does not exist, nothing was changed; {next_step}')
