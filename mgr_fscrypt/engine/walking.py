"""Every inode of a subtree, once a name, in bounded memory: one stream a level."""

import errno
from collections.abc import Generator
from dataclasses import dataclass

from ..ceph.errors import NotAllowedError, NotFoundError
from ..ceph.interface import Kind
from .directories import Directories, Directory, DirEntry
from .errors import EngineError, RefusedError
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
    """All below `root`, parents first; what others remove meanwhile is passed over. Whoever does not run it to its end
    closes it."""
    streams: list[tuple[Directory, Generator[DirEntry | Unreadable]]] = [(root, _entries(directories, root))]
    try:
        while streams:
            parent, stream = streams[-1]
            met = next(stream, None)
            if met is None:
                streams.pop()
            elif isinstance(met, Unreadable):
                yield met
            else:
                visited = Visited(parent, met)
                yield visited
                below = _entered(directories, visited) if met.kind is Kind.DIRECTORY else None
                if isinstance(below, Directory):
                    streams.append((below, _listed(directories, below, visited)))
                elif below is not None:
                    yield below
    finally:
        for _, stream in streams:
            stream.close()


def _entries(directories: Directories, directory: Directory) -> Generator[DirEntry | Unreadable]:
    yield from directories.entries(directory)


def _entered(directories: Directories, visited: Visited) -> Directory | Unreadable | None:
    """None where it is gone."""
    try:
        return directories.enter(visited.parent, visited.entry)
    except NotFoundError:
        return None
    except NotAllowedError:
        return Unreadable(visited, _shut(visited.plain))
    except EngineError as error:
        return Unreadable(visited, error)


def _listed(
    directories: Directories, directory: Directory, visited: Visited
) -> Generator[DirEntry | Unreadable]:
    try:
        yield from directories.entries(directory)
    except NotFoundError:
        return
    except NotAllowedError:
        yield Unreadable(visited, _shut(visited.plain))


def _shut(plain: bytes) -> RefusedError:
    return RefusedError(
        errno.EACCES,
        "this user or Ceph entity may not look into it",
        plain,
        remedy="Use one that may; see the modes, and `ceph auth get`.",
    )
