"""The values that commands and pages show. Each turns into plain JSON types and back, without loss."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from .packed import Made
from .text import shell_word, table

Simplified = dict[str, Any]
"""Plain JSON types only."""


@dataclass(frozen=True)
class FileSystemCount:
    """How many subtrees are registered on one file system.

    Args:
        fscid: the file system's number.
        name: its name; the last known one when the file system is gone.
        present: False when the file system was removed and its records stayed.
        engine: subtrees in engine mode.
        kernel: subtrees in kernel mode.
    """

    fscid: int
    name: str
    present: bool
    engine: int
    kernel: int


@dataclass(frozen=True)
class Overview:
    """The answer to "what is encrypted here?" at a glance.

    Args:
        version: of this module.
        ceph: the version line of ceph-mgr.
        file_systems: in order of their numbers.
    """

    version: str
    ceph: str
    file_systems: tuple[FileSystemCount, ...]

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        return asdict(self) | {"file_systems": [asdict(counted) for counted in self.file_systems]}

    @classmethod
    def restored(cls, value: Mapping[str, Any]) -> Self:
        """Give the value that `simplified` was made from.

        Raises:
            KeyError, TypeError: it was not made from such a value.
        """
        counts = tuple(FileSystemCount(**counted) for counted in value["file_systems"])
        return cls(version=value["version"], ceph=value["ceph"], file_systems=counts)

    def plain(self) -> str:
        """Show it to a person."""
        rows = [
            (
                counted.name if counted.present else f"{counted.name} (removed)",
                str(counted.engine + counted.kernel),
                str(counted.engine),
                str(counted.kernel),
            )
            for counted in self.file_systems
        ]
        heading = f"fscrypt {self.version}, {self.ceph}"
        if not rows:
            return f"{heading}\nThere is no file system."
        return f"{heading}\n\n" + table(
            ("FILE SYSTEM", "SUBTREES", "ENGINE MODE", "KERNEL MODE"), rows, numbers={1, 2, 3}
        )


@dataclass(frozen=True)
class SubtreeLine:
    """One registered subtree as a list shows it.

    Args:
        fs_name: name of its file system; the last known one when that is gone.
        present: False when its file system was removed.
        path: of its top directory.
        inode: of its top directory.
        mode: "engine" or "kernel".
        contents: name of the contents mode.
        names: name of the file names mode.
        padding: of names, in bytes.
        key_identifier: 32 hexadecimal digits.
        registered: when, in seconds since the epoch.
    """

    fs_name: str
    present: bool
    path: str
    inode: int
    mode: str
    contents: str
    names: str
    padding: int
    key_identifier: str
    registered: int


@dataclass(frozen=True)
class SubtreePage:
    """A page of the list of subtrees.

    Args:
        subtrees: in order of file system number and path.
        following: what to ask for to get the next page; None on the last one.
        filtered: False when all subtrees were asked for; not among what a program gets, which knows what it asked.
    """

    subtrees: Sequence[SubtreeLine]
    following: str | None = None
    filtered: bool = field(default=False, compare=False)

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        return {"subtrees": Made(self.subtrees, asdict), "following": self.following}

    @classmethod
    def restored(cls, value: Mapping[str, Any]) -> Self:
        """Give the value that `simplified` was made from.

        Raises:
            KeyError, TypeError: it was not made from such a value.
        """
        lines = tuple(SubtreeLine(**line) for line in value["subtrees"])
        return cls(subtrees=lines, following=value["following"])

    @property
    def continuation(self) -> str:
        """The option that asks for the next page, for a shell; empty on the last one."""
        return "" if self.following is None else f"--after {shell_word(self.following)}"

    def plain(self) -> str:
        """Show it to a person."""
        more = f"\nThere are more: add `{self.continuation}`."
        if not self.subtrees and self.following is not None:
            # by text: a page ends after so many that were looked at
            return f"None so far.{more}"
        if not self.subtrees:
            return "No registered subtree fits." if self.filtered else "No subtree is registered."
        rows = (
            (
                line.fs_name if line.present else f"{line.fs_name} (removed)",
                line.path,
                line.mode,
                line.contents,
                line.key_identifier,
            )
            for line in self.subtrees
        )
        shown = table(("FILE SYSTEM", "PATH", "MODE", "CIPHER", "KEY"), rows)
        if self.following is not None:
            shown += more
        return shown
