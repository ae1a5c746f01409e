"""What control sees of the cluster."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


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
