"""Where lockboxes are kept: small objects that are replaced as a whole, or not at all."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


class Stored(Protocol):
    """An object as it was read; `version` says whether it still is."""

    @property
    def data(self) -> bytes:
        """Its bytes."""

    @property
    def version(self) -> int:
        """Another one after each change."""


@dataclass(frozen=True)
class Held:
    """One that is in memory."""

    data: bytes
    version: int


class Objects(Protocol):
    """Objects by name. `ceph.named_objects.NamedObjects` is one; errors are `OSError`s."""

    def read(self, name: str) -> Stored | None:
        """One, or None where there is none."""

    def create(self, name: str, data: bytes) -> bool:
        """Make one, durably; False where there is one already."""

    def replace(self, name: str, data: bytes, version: int) -> bool:
        """Put other bytes in place of those of that version, durably; False where somebody else was there first."""

    def remove(self, name: str, version: int) -> bool:
        """Remove one of that version, durably; False where it is another one, or gone."""

    def names(self) -> Iterator[str]:
        """All names, in no order."""
