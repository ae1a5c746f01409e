"""One subtree as `ceph fscrypt subtree show` tells it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from .keys import KeyLine
from .text import moment, one_line
from .values import Simplified, SubtreeLine


@dataclass(frozen=True)
class SubtreeDetail:
    """One subtree, and what is known of its key; None where that was never reported."""

    subtree: SubtreeLine
    key: KeyLine | None

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        key = None if self.key is None else self.key.simplified()
        return {"subtree": asdict(self.subtree), "key": key}

    @classmethod
    def restored(cls, value: Mapping[str, Any]) -> Self:
        """Give the value that `simplified` was made from. Raises KeyError, TypeError."""
        key = None if value["key"] is None else KeyLine.restored(value["key"])
        return cls(SubtreeLine(**value["subtree"]), key)

    def plain(self) -> str:
        """Show it to a person."""
        line = self.subtree
        lines = [
            f"subtree {line.path} of {line.fs_name}" + ("" if line.present else " (removed)"),
            f"mode        {line.mode}",
            f"cipher      {line.contents}, names {line.names} padded to {line.padding}",
            f"inode       {line.inode}",
            f"registered  {moment(line.registered)}",
            f"key         {line.key_identifier}",
        ]
        if self.key is None:
            lines.append("            not reported; `cephfs-fscrypt key rescan` reports all that are kept")
        else:
            lines.append(f"            {self.key.name} of {self.key.tenant or 'nobody'}, {self.key.state}")
        return "\n".join(map(one_line, lines))
