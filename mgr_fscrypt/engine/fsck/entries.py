"""One entry that is looked at."""

from dataclasses import dataclass

from ...ceph.interface import Stat
from ..walking import Visited
from .findings import Code, Finding, Repair


@dataclass(frozen=True)
class Inspected:
    """An entry, and its inode as it stood at the beginning of the look."""

    visited: Visited
    raw: Stat

    def finding(self, code: Code, detail: str, repair: Repair | None = None) -> Finding:
        """Something about it."""
        return Finding(
            code, self.visited.stored, self.visited.plain, self.raw.ino, detail, repair, self.visited
        )
