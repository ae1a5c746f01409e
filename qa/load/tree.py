"""A tree under random making, renaming, linking and removing, compared with a model by full walks."""

import errno
import os
import random
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mgr_fscrypt.ceph.interface import Kind
from mgr_fscrypt.engine import FileSystem

_CHECK_EVERY = 100
_DEEPEST = 5
# short, long enough for several cipher blocks, the longest that fits, not ASCII, not UTF-8
NAMES = (
    b"a",
    b"b",
    b"c",
    b"dir",
    b"file.txt",
    b"n" * 17,
    b"m" * 100,
    b"x" * 128,
    "größe".encode(),
    b"\xff\xfe",
)
Path_ = tuple[bytes, ...]


@dataclass(frozen=True)
class Found:
    """One name as a walk sees it: a directory (no content), a file (content, number of links) or a link (target)."""

    kind: Kind
    content: bytes = b""
    links: int = 1


class TreeUnderTest(Protocol):
    """A directory that is empty at first; paths are names from there."""

    def create(self, path: Path_, content: bytes) -> None: ...
    def mkdir(self, path: Path_) -> None: ...
    def symlink(self, target: bytes, path: Path_) -> None: ...
    def link(self, existing: Path_, new: Path_) -> None: ...
    def rename(self, old: Path_, new: Path_) -> None: ...
    def unlink(self, path: Path_) -> None: ...
    def rmdir(self, path: Path_) -> None: ...
    def walk(self) -> dict[Path_, Found]:
        """All that is there."""


class EngineTree:
    """A tree through the engine's interface."""

    def __init__(self, files: FileSystem, top: bytes) -> None:
        self._files = files
        self._top = top

    def create(self, path: Path_, content: bytes) -> None:
        with self._files.create(self._at(path)) as made:
            made.pwrite(content, 0)

    def mkdir(self, path: Path_) -> None:
        self._files.mkdir(self._at(path))

    def symlink(self, target: bytes, path: Path_) -> None:
        self._files.symlink(target, self._at(path))

    def link(self, existing: Path_, new: Path_) -> None:
        self._files.link(self._at(existing), self._at(new))

    def rename(self, old: Path_, new: Path_) -> None:
        self._files.rename(self._at(old), self._at(new))

    def unlink(self, path: Path_) -> None:
        self._files.unlink(self._at(path))

    def rmdir(self, path: Path_) -> None:
        self._files.rmdir(self._at(path))

    def walk(self) -> dict[Path_, Found]:
        return dict(self._below(()))

    def _below(self, directory: Path_) -> Iterator[tuple[Path_, Found]]:
        for entry in self._files.scandir(self._at(directory)):
            path = (*directory, entry.name)
            if entry.kind is Kind.DIRECTORY:
                yield path, Found(Kind.DIRECTORY)
                yield from self._below(path)
            elif entry.kind is Kind.SYMLINK:
                yield path, Found(Kind.SYMLINK, self._files.readlink(self._at(path)))
            else:
                attributes = self._files.stat(self._at(path))
                with self._files.open(self._at(path)) as file:
                    content = file.pread(attributes.size, 0)
                yield path, Found(attributes.kind, content, attributes.nlink)

    def _at(self, path: Path_) -> bytes:
        return b"/".join((self._top, *path))


class PathTree:
    """A tree through the kernel."""

    def __init__(self, top: Path) -> None:
        self._top = os.fsencode(top)

    def create(self, path: Path_, content: bytes) -> None:
        with open(self._at(path), "xb") as made:  # noqa: PTH123 - names of any bytes
            made.write(content)

    def mkdir(self, path: Path_) -> None:
        os.mkdir(self._at(path))  # noqa: PTH102

    def symlink(self, target: bytes, path: Path_) -> None:
        os.symlink(target, self._at(path))  # noqa: PTH211

    def link(self, existing: Path_, new: Path_) -> None:
        os.link(self._at(existing), self._at(new), follow_symlinks=False)

    def rename(self, old: Path_, new: Path_) -> None:
        os.rename(self._at(old), self._at(new))  # noqa: PTH104

    def unlink(self, path: Path_) -> None:
        os.unlink(self._at(path))  # noqa: PTH108

    def rmdir(self, path: Path_) -> None:
        os.rmdir(self._at(path))  # noqa: PTH106

    def walk(self) -> dict[Path_, Found]:
        return dict(self._below(()))

    def _below(self, directory: Path_) -> Iterator[tuple[Path_, Found]]:
        for name in os.listdir(self._at(directory)):  # noqa: PTH208
            path = (*directory, name)
            status = os.lstat(self._at(path))
            if stat.S_ISDIR(status.st_mode):
                yield path, Found(Kind.DIRECTORY)
                yield from self._below(path)
            elif stat.S_ISLNK(status.st_mode):
                yield path, Found(Kind.SYMLINK, os.readlink(self._at(path)))  # noqa: PTH115
            else:
                with open(self._at(path), "rb") as file:  # noqa: PTH123
                    content = file.read()
                yield path, Found(Kind.FILE, content, status.st_nlink)

    def _at(self, path: Path_) -> bytes:
        return b"/".join((self._top, *path))


@dataclass(eq=False)
class _Node:
    """An inode of the model."""

    kind: Kind
    content: bytes = b""


@dataclass
class _Model:
    """A tree as a dictionary; what it refuses carries the errno of POSIX."""

    names: dict[Path_, _Node] = field(default_factory=dict)

    def add(self, path: Path_, node: _Node) -> None:
        if path in self.names:
            raise OSError(errno.EEXIST, "model")
        self.names[path] = node

    def rename(self, old: Path_, new: Path_) -> None:
        moved, there = self.names[old], self.names.get(new)
        if there is moved:
            return
        if new[: len(old)] == old:
            raise OSError(errno.EINVAL, "model")
        if there is not None:
            if moved.kind is Kind.DIRECTORY and there.kind is not Kind.DIRECTORY:
                raise OSError(errno.ENOTDIR, "model")
            if moved.kind is not Kind.DIRECTORY and there.kind is Kind.DIRECTORY:
                raise OSError(errno.EISDIR, "model")
            self._require_empty(new)
        for path in [each for each in self.names if each[: len(old)] == old]:
            self.names[new + path[len(old) :]] = self.names.pop(path)

    def rmdir(self, path: Path_) -> None:
        self._require_empty(path)
        del self.names[path]

    def walk(self) -> dict[Path_, Found]:
        links: dict[_Node, int] = {}
        for node in self.names.values():
            links[node] = links.get(node, 0) + 1
        return {
            path: Found(node.kind, node.content, links[node] if node.kind is Kind.FILE else 1)
            for path, node in self.names.items()
        }

    def links(self, path: Path_) -> int:
        """How many names its inode has; none where nothing is there."""
        node = self.names.get(path)
        return 0 if node is None else sum(each is node for each in self.names.values())

    def is_full(self, path: Path_) -> bool:
        """Is it a directory with something in it?"""
        return any(len(each) > len(path) and each[: len(path)] == path for each in self.names)

    def of_kind(self, *kinds: Kind) -> list[Path_]:
        return [path for path, node in self.names.items() if node.kind in kinds]

    def _require_empty(self, directory: Path_) -> None:
        if self.is_full(directory):
            raise OSError(errno.ENOTEMPTY, "model")


@dataclass
class Sequence:
    """A sequence of operations on one tree that is empty at first."""

    tree: TreeUnderTest
    chance: random.Random

    def __post_init__(self) -> None:
        self._model = _Model()
        self._operations: list[tuple[int, Callable[[], str | None]]] = [
            (25, self._create),
            (20, self._mkdir),
            (20, self._rename),
            (10, self._link),
            (10, self._symlink),
            (10, self._unlink),
            (8, self._rmdir),
        ]

    def run(self, count: int) -> str | None:
        """Do that many operations; what went wrong first, with the operation's number, or None."""
        weights = [weight for weight, _ in self._operations]
        for number in range(1, count + 1):
            wrong = None
            # what has nothing to work on yet does not count
            while wrong is None:
                (_, operation) = self.chance.choices(self._operations, weights)[0]
                wrong = operation()
            if not wrong and (number % _CHECK_EVERY == 0 or number == count):
                wrong = self._difference()
            if wrong:
                return f"operation {number}: {wrong}"
        return None

    def _create(self) -> str | None:
        path, node = self._any_path(), _Node(Kind.FILE, self.chance.randbytes(self.chance.randrange(1, 9000)))
        return self._both(
            f"create {path}",
            lambda: self.tree.create(path, node.content),
            lambda: self._model.add(path, node),
        )

    def _mkdir(self) -> str | None:
        path = self._any_path()
        return self._both(
            f"mkdir {path}",
            lambda: self.tree.mkdir(path),
            lambda: self._model.add(path, _Node(Kind.DIRECTORY)),
        )

    def _symlink(self) -> str | None:
        path, target = self._any_path(), b"/".join(self._any_path())
        return self._both(
            f"symlink {path}",
            lambda: self.tree.symlink(target, path),
            lambda: self._model.add(path, _Node(Kind.SYMLINK, target)),
        )

    def _link(self) -> str | None:
        files = self._model.of_kind(Kind.FILE)
        if not files:
            return None
        existing, new = self.chance.choice(files), self._any_path()
        return self._both(
            f"link {existing} to {new}",
            lambda: self.tree.link(existing, new),
            lambda: self._model.add(new, self._model.names[existing]),
        )

    def _rename(self) -> str | None:
        if not self._model.names:
            return None
        old, new = self.chance.choice(list(self._model.names)), self._any_path()
        if new == old[: len(new)] and new != old:
            # POSIX gives two errnos to choose from: the target is not empty, and is an ancestor
            return None
        if new == old or self._model.links(new) > 1:
            # libcephfs then loses sight of all names of what was replaced, for a time (18.2.7 and 20.2.4)
            return None
        if self._model.is_full(new) and self._model.names[old].kind is not Kind.DIRECTORY:
            # CephFS says ENOTEMPTY where POSIX says EISDIR
            return None
        return self._both(
            f"rename {old} to {new}",
            lambda: self.tree.rename(old, new),
            lambda: self._model.rename(old, new),
        )

    def _unlink(self) -> str | None:
        files = self._model.of_kind(Kind.FILE, Kind.SYMLINK)
        if not files:
            return None
        path = self.chance.choice(files)
        return self._both(
            f"unlink {path}", lambda: self.tree.unlink(path), lambda: self._model.names.pop(path)
        )

    def _rmdir(self) -> str | None:
        directories = self._model.of_kind(Kind.DIRECTORY)
        if not directories:
            return None
        path = self.chance.choice(directories)
        return self._both(f"rmdir {path}", lambda: self.tree.rmdir(path), lambda: self._model.rmdir(path))

    def _both(self, what: str, real: Callable[[], object], model: Callable[[], object]) -> str:
        """Do it to tree and model; "" where both answered the same."""
        found, expected = _errno_of(real), _errno_of(model)
        if found == expected:
            return ""
        return f"{what}: {_named(found)}, not {_named(expected)}"

    def _difference(self) -> str:
        expected = self._model.walk()
        try:
            found = self.tree.walk()
        except OSError as error:
            return f"the walk: {error!r}"
        for path in sorted(found.keys() | expected.keys()):
            if found.get(path) != expected.get(path):
                return f"{path} is {_short(found.get(path))}, not {_short(expected.get(path))}"
        return ""

    def _any_path(self) -> Path_:
        parents = [(), *(path for path in self._model.of_kind(Kind.DIRECTORY) if len(path) < _DEEPEST)]
        return (*self.chance.choice(parents), self.chance.choice(NAMES))


def _errno_of(action: Callable[[], object]) -> int:
    try:
        action()
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _named(number: int) -> str:
    return errno.errorcode.get(number, str(number)) if number else "done"


def _short(found: Found | None) -> str:
    if found is None:
        return "missing"
    return (
        f"{found.kind.value} of {len(found.content)} bytes, {found.links} links, {found.content[:16].hex()}"
    )
