"""Every inode of a subtree, once a name, in bounded memory: one stream a level."""

from collections.abc import Generator
from dataclasses import dataclass

from ..ceph.interface import Kind
from .directories import Directories, Directory, DirEntry
from .errors import EngineError
from .paths import joined


@dataclass(frozen=True)
class Visited:
    """An entry below the root of the walk."""

    parent: Directory
    entry: DirEntry

    @property
    def stored(self) -> bytes:
        """Its path as stored."""
        return joined(self.parent.stored, self.entry.stored)

    @property
    def plain(self) -> bytes:
        """Its path as its reader sees it."""
        return joined(self.parent.plain, self.entry.name)


@dataclass(frozen=True)
class Unreadable:
    """A directory that the walk could not enter."""

    visited: Visited
    error: EngineError


def walk(directories: Directories, root: Directory) -> Generator[Visited | Unreadable]:
    """All below `root`, parents first. Whoever does not run it to its end closes it."""
    streams = [(root, directories.entries(root))]
    try:
        while streams:
            parent, stream = streams[-1]
            entry = next(stream, None)
            if entry is None:
                streams.pop()
                continue
            visited = Visited(parent, entry)
            yield visited
            if entry.kind is Kind.DIRECTORY:
                try:
                    below = directories.enter(parent, entry)
                except EngineError as error:
                    yield Unreadable(visited, error)
                else:
                    streams.append((below, directories.entries(below)))
    finally:
        for _, stream in streams:
            stream.close()
