"""A tree under random making, changing, renaming, linking and removing, compared with a model.

Each operation is done by one of the clients; then another looks at the names that it was about, and at the whole tree
now and then.
"""

import copy
import errno
import math
import os
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Sequence_
from contextlib import closing
from dataclasses import dataclass, field, replace

from mgr_fscrypt.ceph.interface import Kind
from mgr_fscrypt.engine.making import UNFINISHED

from .doors import Door

_CHECK_EVERY = 250
_DEEPEST = 5
_LARGEST = 9000
_TOLD = 12
WRONG_BYTES = "bytes from"
"""What is told of contents of the right length, and of nothing else."""
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
_MODES = (0o755, 0o700, 0o750, 0o644, 0o600, 0o444)
Path_ = tuple[bytes, ...]


@dataclass(frozen=True)
class Found:
    """One name: its kind, the content of a file or the target of a link, a file's number of links, and what chmod and
    utimens set: None where nothing certain is known of it."""

    kind: Kind
    content: bytes = b""
    links: int = 1
    permissions: int | None = None
    mtime: int | None = None


def look(door: Door, path: Path_) -> Found:
    """What a client sees at a name."""
    where = b"/".join(path)
    status = door.stat(where)
    if status.kind is Kind.SYMLINK:
        return Found(Kind.SYMLINK, door.readlink(where))
    mtime = int(status.mtime)
    if status.kind is Kind.DIRECTORY:
        return Found(Kind.DIRECTORY, permissions=status.permissions, mtime=mtime)
    with closing(door.open(where, os.O_RDONLY)) as handle:
        # one byte more, so that a size that is too small shows
        content = handle.pread(status.size + 1, 0)
    return Found(status.kind, content.ljust(status.size, b"?"), status.links, status.permissions, mtime)


def walk(door: Door, directory: Path_ = ()) -> Iterator[tuple[Path_, Found]]:
    """All that a client sees below a directory."""
    for name in list(door.names(b"/".join(directory))):
        path = (*directory, name)
        found = look(door, path)
        yield path, found
        if found.kind is Kind.DIRECTORY:
            yield from walk(door, path)


@dataclass(eq=False)
class _Node:
    """An inode of the model."""

    kind: Kind
    content: bytes = b""
    permissions: int | None = None
    mtime: int | None = None


@dataclass
class _Model:
    """A tree as a dictionary; what it refuses carries the errno of POSIX."""

    names: dict[Path_, _Node] = field(default_factory=dict)

    def add(self, path: Path_, node: _Node) -> None:
        if path in self.names:
            raise OSError(errno.EEXIST, "model")
        self.names[path] = node
        self.touch_parent(path)

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
        self.touch_parent(old)
        self.touch_parent(new)

    def remove(self, path: Path_) -> None:
        self._require_empty(path)
        del self.names[path]
        self.touch_parent(path)

    def look(self, path: Path_) -> Found | None:
        node = self.names.get(path)
        if node is None:
            return None
        links = self.links(path) if node.kind is Kind.FILE else 1
        return Found(node.kind, node.content, links, node.permissions, node.mtime)

    def links(self, path: Path_) -> int:
        """How many names its inode has; none where nothing is there."""
        node = self.names.get(path)
        return 0 if node is None else sum(each is node for each in self.names.values())

    def is_full(self, path: Path_) -> bool:
        """Is it a directory with something in it?"""
        return any(len(each) > len(path) and each[: len(path)] == path for each in self.names)

    def of_kind(self, *kinds: Kind) -> list[Path_]:
        return [path for path, node in self.names.items() if node.kind in kinds]

    def touch_parent(self, path: Path_) -> None:
        """Its modification time is now, whenever that is."""
        if path[:-1] in self.names:
            self.names[path[:-1]].mtime = None

    def _require_empty(self, directory: Path_) -> None:
        if self.is_full(directory):
            raise OSError(errno.ENOTEMPTY, "model")


class _MismatchError(Exception):
    """The tree is not what the model says."""


class Doubts:
    """What is let be of clients that are known to err in some way. Here: nothing."""

    def begin(self) -> None:
        """An operation begins."""

    def uncertain(self, client: int, error: OSError) -> bool:
        """May what this client failed to do so have been done, or not? Then the sequence goes on from what is there."""
        return False

    def settled(self, *, made: bool) -> None:
        """What was uncertain had been done, or had not."""

    def misread(self, client: int, path: Path_, found: bytes, expected: bytes) -> bool:
        """Is this client to look once more at a file of the right length, before what it read wrong counts?"""
        return False


class Sequence:
    """A sequence of operations on one tree that is empty at first.

    Args:
        doors: one for each client, to the tree's root.
        writers: the numbers of those clients that may change what is in a file that is there; None: all of them.
        only_cuts: truncates never make a file longer.
        doubts: what is let be of clients.

    Attributes:
        done: how many operations were done.
    """

    def __init__(
        self,
        doors: Sequence_[Door],
        chance: random.Random,
        *,
        writers: Sequence_[int] | None = None,
        only_cuts: bool = False,
        doubts: Doubts | None = None,
    ) -> None:
        self._doors = doors
        self._clients = range(len(doors))
        self._writers = self._clients if writers is None else writers
        self._only_cuts = only_cuts
        self._doubts = doubts or Doubts()
        self._chance = chance
        self.done = 0
        self._model = _Model()
        self._trail: deque[str] = deque(maxlen=_TOLD)
        self._operations: list[tuple[int, Callable[[], bool]]] = [
            (20, self._create),
            (12, self._mkdir),
            (20, self._rename),
            (8, self._link),
            (8, self._symlink),
            (24, self._unlink),
            (12, self._rmdir),
            (10, self._write),
            (6, self._truncate),
            (6, self._chmod),
            (6, self._utimens),
        ]

    def run(
        self, count: int, patience: float = math.inf, enough: Callable[[], bool] = lambda: False
    ) -> str | None:
        """Do that many operations, or as many as `patience` seconds have room for, or until it is `enough`.

        What went wrong first, with the operation's number and the last ones, or None.
        """
        weights = [weight for weight, _ in self._operations]
        end = time.monotonic() + patience
        try:
            while self.done < count and time.monotonic() < end and not enough():
                # what has nothing to work on yet does not count
                while not self._chance.choices(self._operations, weights)[0][1]():
                    pass
                self.done += 1
                if self.done % _CHECK_EVERY == 0:
                    self._compare_all()
            self._compare_all()
        except (_MismatchError, OSError) as error:
            return f"operation {self.done + 1}: {error!r}; the last ones: {'; '.join(self._trail)}"
        return None

    # operations; each answers whether it had something to work on

    def _create(self) -> bool:
        path = self._any_path()
        node = _Node(Kind.FILE, self._chance.randbytes(self._chance.randrange(1, _LARGEST)), 0o644)

        def create(door: Door) -> None:
            self._use(door, path, os.O_RDWR | os.O_CREAT | os.O_EXCL, node.content, 0)

        return self._both("create", create, lambda: self._model.add(path, node), path)

    def _write(self) -> bool:
        path = self._any_of(Kind.FILE)
        if path is None:
            return False
        node = self._model.names[path]
        offset = self._chance.randrange(len(node.content) + 1)
        data = self._chance.randbytes(self._chance.randrange(1, _LARGEST))

        def write() -> None:
            node.content = node.content[:offset] + data + node.content[offset + len(data) :]
            node.mtime = None

        return self._both(
            f"write {len(data)} at {offset} to",
            lambda door: self._use(door, path, os.O_WRONLY, data, offset),
            write,
            path,
            clients=self._writers,
        )

    def _truncate(self) -> bool:
        path = self._any_of(Kind.FILE)
        if path is None:
            return False
        node = self._model.names[path]
        size = self._chance.randrange(len(node.content) + 1 if self._only_cuts else _LARGEST)

        def truncate() -> None:
            node.content = node.content[:size].ljust(size, b"\0")
            node.mtime = None

        return self._both(
            f"truncate to {size}",
            lambda door: door.truncate(b"/".join(path), size),
            truncate,
            path,
            clients=self._writers,
        )

    def _mkdir(self) -> bool:
        path = self._any_path()
        node = _Node(Kind.DIRECTORY, permissions=0o755)
        return self._both(
            "mkdir", lambda door: door.mkdir(b"/".join(path)), lambda: self._model.add(path, node), path
        )

    def _symlink(self) -> bool:
        path, target = self._any_path(), b"/".join(self._any_path())
        node = _Node(Kind.SYMLINK, target)
        return self._both(
            "symlink",
            lambda door: door.symlink(target, b"/".join(path)),
            lambda: self._model.add(path, node),
            path,
        )

    def _link(self) -> bool:
        existing, new = self._any_of(Kind.FILE), self._any_path()
        if existing is None:
            return False
        return self._both(
            "link",
            lambda door: door.link(b"/".join(existing), b"/".join(new)),
            lambda: self._model.add(new, self._model.names[existing]),
            existing,
            new,
        )

    def _rename(self) -> bool:
        old, new = self._any_of(*Kind), self._any_path()
        if old is None:
            return False
        if new == old[: len(new)] and new != old:
            # POSIX gives two errnos to choose from: the target is not empty, and is an ancestor
            return False
        if new == old or self._model.links(new) > 1:
            # libcephfs then loses sight of all names of what was replaced, for a time (18.2.7 and 20.2.4)
            return False
        if self._model.is_full(new) and self._model.names[old].kind is not Kind.DIRECTORY:
            # CephFS says ENOTEMPTY where POSIX says EISDIR
            return False
        return self._both(
            "rename",
            lambda door: door.rename(b"/".join(old), b"/".join(new)),
            lambda: self._model.rename(old, new),
            old,
            new,
        )

    def _unlink(self) -> bool:
        path = self._any_of(Kind.FILE, Kind.SYMLINK)
        if path is None:
            return False
        return self._both(
            "unlink", lambda door: door.unlink(b"/".join(path)), lambda: self._model.remove(path), path
        )

    def _rmdir(self) -> bool:
        path = self._any_of(Kind.DIRECTORY)
        if path is None:
            return False
        return self._both(
            "rmdir", lambda door: door.rmdir(b"/".join(path)), lambda: self._model.remove(path), path
        )

    def _chmod(self) -> bool:
        path = self._any_of(Kind.FILE, Kind.DIRECTORY)
        if path is None:
            return False
        node, mode = self._model.names[path], self._chance.choice(_MODES)

        def chmod() -> None:
            node.permissions = mode

        return self._both(f"chmod {mode:o}", lambda door: door.chmod(b"/".join(path), mode), chmod, path)

    def _utimens(self) -> bool:
        path = self._any_of(Kind.FILE, Kind.DIRECTORY)
        if path is None:
            return False
        node, atime, mtime = (
            self._model.names[path],
            self._chance.getrandbits(30),
            self._chance.getrandbits(30),
        )

        def utimens() -> None:
            node.mtime = mtime

        return self._both(
            f"utimens {mtime}", lambda door: door.utimens(b"/".join(path), atime, mtime), utimens, path
        )

    # parts

    def _use(self, door: Door, path: Path_, flags: int, data: bytes, offset: int) -> None:
        """Open, write, close."""
        with closing(door.open(b"/".join(path), flags)) as handle:
            done = handle.pwrite(data, offset)
        if done != len(data):
            raise _MismatchError(f"{done} of {len(data)} bytes were written")

    def _both(
        self,
        what: str,
        real: Callable[[Door], object],
        model: Callable[[], object],
        *paths: Path_,
        clients: Sequence_[int] | None = None,
    ) -> bool:
        """Do it to tree and model, which are to answer the same; then somebody looks at what it was about."""
        client = self._chance.choice(self._clients if clients is None else clients)
        self._trail.append(f"{client}: {what} {' '.join(map(_shown, paths))}")
        self._doubts.begin()
        error = _error_of(lambda: real(self._doors[client]))
        before = None
        if error is not None and self._doubts.uncertain(client, error):
            before = copy.deepcopy(self._model)
        found, expected = _errno_of(error), _errno_of(_error_of(model))
        if before is not None:
            self._settle(client, before, paths)
        elif found != expected:
            raise _MismatchError(f"{_named(found)}, not {_named(expected)}")
        for path in paths:
            if all(self._model.names.get(path[:length]) is not None for length in range(1, len(path))):
                self._compare(path)
        return True

    def _settle(self, client: int, before: _Model, paths: Sequence_[Path_]) -> None:
        """What an operation was about may be as it is after it, all of it, or as it was `before`; what it left half
        made is removed. Whatever is neither shows when it is compared."""
        self._trail.append(f"{client}: that was uncertain")
        for path in paths:
            if path not in before.names:
                _remove_half_made(self._doors[client], b"/".join(path))
        made = all(_agree(self._look(client, path), self._model.look(path)) for path in paths)
        if not made:
            self._model = before
        for path in paths:
            self._model.touch_parent(path)
        self._doubts.settled(made=made)

    def _compare(self, path: Path_) -> None:
        client = self._chance.randrange(len(self._doors))
        self._trail.append(f"{client}: look at {_shown(path)}")
        self._compare_found(client, path, self._look(client, path))

    def _compare_all(self) -> None:
        client = self._chance.randrange(len(self._doors))
        self._trail.append(f"{client}: walk")
        found = dict(walk(self._doors[client]))
        for path in sorted(found.keys() | self._model.names.keys()):
            self._compare_found(client, path, found.get(path))

    def _compare_found(self, client: int, path: Path_, found: Found | None) -> None:
        expected = self._model.look(path)
        if (
            found is not None
            and expected is not None
            and _where(found, expected)
            and self._doubts.misread(client, path, found.content, expected.content)
        ):
            found = self._look(client, path)
        if not _agree(found, expected):
            raise _MismatchError(
                f"{_shown(path)} is {_short(found)}, not {_short(expected)}{_where(found, expected)}"
            )

    def _look(self, client: int, path: Path_) -> Found | None:
        try:
            return look(self._doors[client], path)
        except FileNotFoundError:
            return None

    def _any_of(self, *kinds: Kind) -> Path_ | None:
        paths = self._model.of_kind(*kinds)
        return self._chance.choice(paths) if paths else None

    def _any_path(self) -> Path_:
        parents = [(), *(path for path in self._model.of_kind(Kind.DIRECTORY) if len(path) < _DEEPEST)]
        return (*self._chance.choice(parents), self._chance.choice(NAMES))


def _error_of(action: Callable[[], object]) -> OSError | None:
    try:
        action()
    except OSError as error:
        return error
    return None


def _errno_of(error: OSError | None) -> int:
    return 0 if error is None else error.errno or errno.EIO


def _remove_half_made(door: Door, path: bytes) -> None:
    """What a client left by this path that it did not come to complete (mgr_fscrypt/engine/making.py)."""
    try:
        if door.stat(path).permissions != UNFINISHED:
            return
    except FileNotFoundError:
        return
    except OSError as error:
        # a link has no mode to tell it by
        if error.errno != errno.EBUSY:
            raise
    try:
        door.unlink(path)
    except IsADirectoryError:
        door.rmdir(path)


def _agree(found: Found | None, expected: Found | None) -> bool:
    """Is it so, as far as anything certain is known?"""
    if found is None or expected is None:
        return found is expected
    permissions = None if expected.permissions is None else found.permissions
    mtime = None if expected.mtime is None else found.mtime
    return replace(found, permissions=permissions, mtime=mtime) == expected


def _named(number: int) -> str:
    return errno.errorcode.get(number, str(number)) if number else "done"


def _shown(path: Path_) -> str:
    return "/".join(
        repr(name)[2:-1] if len(name) < 20 else f"{name[:1].decode()}*{len(name)}" for name in path
    )


def _short(found: Found | None) -> str:
    if found is None:
        return "missing"
    return (
        f"{found.kind.value} of {len(found.content)} bytes, {found.links} links, mode {found.permissions or 0:o}, "
        f"mtime {found.mtime}, {found.content[:16].hex()}"
    )


def _where(found: Found | None, expected: Found | None) -> str:
    """Where two contents of one length differ."""
    if found is None or expected is None or len(found.content) != len(expected.content):
        return ""
    wrong = [
        at for at, (one, two) in enumerate(zip(found.content, expected.content, strict=True)) if one != two
    ]
    return f"; {len(wrong)} {WRONG_BYTES} {wrong[0]} to {wrong[-1]} are wrong" if wrong else ""
