"""What a client that died may leave behind: a model of one subtree that is told what was begun and acknowledged.

Names are acknowledged when their call returns; the contents of a file when its `fsync` or `close` does; a new file is
half made until its `fsync`, or until a `sync` after its `close`. A client that dies leaves the names as they were
before or after the call that it was in, and of every file a size that was told since its last acknowledgement, with
blocks that were its contents since then and reach as far as that size says. So a write that was not acknowledged may
be there in part, in whole blocks, and nothing else of the file may have changed.
"""

import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from mgr_fscrypt.ceph.interface import Kind
from mgr_fscrypt.engine import DamagedError, File, FileSystem
from mgr_fscrypt.engine.files import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE
from mgr_fscrypt.engine.fsck import Code, ObjectExtents, Severity

BLOCK = 4096
LARGEST = 24 * BLOCK
_SYNCS = 0.03
_PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE


class Do(Enum):
    """What one operation does. `CREATE` and `OPEN` keep a handle until `CLOSE`; names of open files do not change.
    `SYNC` is of the whole file system, and has no name."""

    CREATE = "create"
    OPEN = "open"
    WRITE = "write"
    TRUNCATE = "truncate"
    PUNCH = "punch"
    FSYNC = "fsync"
    CLOSE = "close"
    SYNC = "sync"
    RENAME = "rename"
    LINK = "link"
    UNLINK = "unlink"
    MKDIR = "mkdir"
    RMDIR = "rmdir"
    SYMLINK = "symlink"
    CHMOD = "chmod"


@dataclass(frozen=True)
class Operation:
    """One of them: `other` is a second name or a target, `number` an offset, a size or a mode; `length` is of holes."""

    do: Do
    name: bytes
    other: bytes = b""
    number: int = 0
    data: bytes = b""
    length: int = 0

    def __str__(self) -> str:
        said = [self.do.value, self.name.decode()]
        if self.do is Do.WRITE:
            said.append(f"{len(self.data)} at {self.number}")
        elif self.do is Do.PUNCH:
            said.append(f"{self.length} at {self.number}")
        elif self.other:
            said.append(self.other.decode())
        elif self.do in (Do.TRUNCATE, Do.CHMOD):
            said.append(f"{self.number:o}" if self.do is Do.CHMOD else str(self.number))
        return " ".join(said)


@dataclass(eq=False)
class Node:
    """An inode. The first of `contents` and of `modes` is acknowledged, what follows is not; `made` is whether the
    file itself is, `open` the name that it was opened by."""

    kind: Kind
    contents: list[bytes] = field(default_factory=lambda: [b""])
    modes: list[int] = field(default_factory=lambda: [0o755])
    target: bytes = b""
    made: bool = True
    open: bytes | None = None

    def acknowledge(self) -> None:
        """It is there, and as it was last."""
        self.complete()
        self.modes = self.modes[-1:]

    def complete(self) -> None:
        """It is there, with its contents. A mode that it was given since waits in its client, as in the kernel's."""
        self.made = True
        self.contents = self.contents[-1:]


@dataclass(frozen=True)
class Found:
    """What is at a name: a half made thing has its kind only."""

    kind: Kind
    half_made: bool = False
    content: bytes = b""
    target: bytes = b""
    mode: int = 0
    links: int = 1


Names = dict[bytes, Node]


class Model:
    """All that is there, as far as it was acknowledged, and what may be there instead."""

    def __init__(self) -> None:
        self.names: Names = {}
        self._before: Names | None = None
        self._making: Node | None = None

    def begin(self, operation: Operation) -> None:
        """From now on it may have happened."""
        self._before = dict(self.names)
        self._making = None
        node = self.names.get(operation.name)
        match operation.do:
            case Do.CREATE:
                self.names[operation.name] = Node(Kind.FILE, modes=[0o644], made=False, open=operation.name)
            case Do.MKDIR:
                self._making = self.names[operation.name] = Node(Kind.DIRECTORY)
            case Do.SYMLINK:
                self._making = Node(Kind.SYMLINK, target=operation.other)
                self.names[operation.name] = self._making
            case Do.RENAME:
                self.names[operation.other] = self.names.pop(operation.name)
            case Do.LINK:
                self.names[operation.other] = self.names[operation.name]
            case Do.UNLINK | Do.RMDIR:
                del self.names[operation.name]
            case Do.WRITE | Do.TRUNCATE | Do.PUNCH if node:
                node.contents.append(_changed(operation, node.contents[-1]))
            case Do.CHMOD if node:
                node.modes.append(operation.number)

    def end(self, operation: Operation) -> None:
        """It has returned."""
        self._before = self._making = None
        if operation.do is Do.SYNC:
            for closed in self.names.values():
                if closed.open is None:
                    closed.acknowledge()
            return
        node = self.names.get(operation.name)
        if operation.do in (Do.RENAME, Do.LINK) and not self.names[operation.other].made:
            # what gets another name is completed first
            self.names[operation.other].complete()
        if node is None:
            return
        if operation.do is Do.OPEN:
            node.open = operation.name
        elif operation.do is Do.FSYNC:
            node.acknowledge()
        elif operation.do is Do.CLOSE:
            node.open = None
            node.contents = node.contents[-1:]
            if node.made:
                node.acknowledge()

    def judge(self, found: Mapping[bytes, Found]) -> str | None:
        """What is wrong with what a client that died has left, or None."""
        worst = self._compared(found, self.names)
        if worst is None or self._before is None:
            return worst
        return worst if self._compared(found, self._before) is not None else None

    def accept(self, found: Mapping[bytes, Found]) -> None:
        """What was found is acknowledged from now on; half made things are removed."""
        known = self.names
        if self._before is not None and self._compared(found, self.names) is not None:
            known = self._before
        self.names = {name: known[name] for name in found if not found[name].half_made}
        for name, node in self.names.items():
            node.contents, node.modes = [found[name].content], [found[name].mode]
            node.made, node.open = True, None
        self._before = self._making = None

    def _compared(self, found: Mapping[bytes, Found], names: Names) -> str | None:
        if found.keys() != names.keys():
            return f"names: {sorted(found)} were found, not {sorted(names)}"
        for name, node in names.items():
            wrong = self._difference(found[name], node, sum(other is node for other in names.values()))
            if wrong is not None:
                return f"{name.decode()}: {wrong}"
        return None

    def _difference(self, found: Found, node: Node, links: int) -> str | None:
        if found.kind is not node.kind:
            return f"a {found.kind.value}, not a {node.kind.value}"
        if found.half_made:
            return None if node is self._making or not node.made else "half made, though it was acknowledged"
        if found.links != links and node.kind is Kind.FILE:
            return f"{found.links} links, not {links}"
        if found.target != node.target:
            return f"its target is {found.target!r}, not {node.target!r}"
        if node.kind is not Kind.SYMLINK and found.mode not in node.modes:
            return f"its mode is {found.mode:o}"
        return judged_content(found.content, node.contents) if node.kind is Kind.FILE else None


def _changed(operation: Operation, old: bytes) -> bytes:
    """The contents after a write, a truncate or a punch."""
    at = operation.number
    if operation.do is Do.TRUNCATE:
        return old[:at].ljust(at, b"\0")
    data = operation.data if operation.do is Do.WRITE else bytes(len(old[at : at + operation.length]))
    return old.ljust(at, b"\0")[:at] + data + old[at + len(data) :]


def judged_content(content: bytes, states: Iterable[bytes]) -> str | None:
    """Is this content made of these states, by the rule of this module? What is wrong, or None."""
    states = list(states)
    size = len(content)
    if size not in {len(state) for state in states}:
        return f"its size is {size}, not one of {sorted({len(state) for state in states})}"
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        if not any(len(state) >= stop and state[start:stop] == content[start:stop] for state in states):
            begins = content[start : start + 8].hex()
            return f"block {start // BLOCK} of {size} bytes was never that: it begins {begins}"
    return None


class Client:
    """Does operations through the engine, in the directory `top`."""

    def __init__(self, files: FileSystem, top: bytes) -> None:
        self._files = files
        self._top = top
        self._open: dict[bytes, File] = {}

    def do(self, operation: Operation) -> None:
        """One of them."""
        name, path, other = operation.name, self._at(operation.name), self._at(operation.other)
        files, handles = self._files, self._open
        acts: dict[Do, Callable[[], object]] = {
            Do.CREATE: lambda: handles.update({name: files.create(path)}),
            Do.OPEN: lambda: handles.update({name: writable(files, path)}),
            Do.WRITE: lambda: handles[name].pwrite(operation.data, operation.number),
            Do.TRUNCATE: lambda: handles[name].truncate(operation.number),
            Do.PUNCH: lambda: handles[name].fallocate(_PUNCH, operation.number, operation.length),
            Do.FSYNC: lambda: handles[name].fsync(),
            Do.CLOSE: lambda: handles.pop(name).close(),
            Do.SYNC: files.sync,
            Do.RENAME: lambda: files.rename(path, other),
            Do.LINK: lambda: files.link(path, other),
            Do.UNLINK: lambda: files.unlink(path),
            Do.MKDIR: lambda: files.mkdir(path),
            Do.RMDIR: lambda: files.rmdir(path),
            Do.SYMLINK: lambda: files.symlink(operation.other, path),
            Do.CHMOD: lambda: files.chmod(path, operation.number),
        }
        acts[operation.do]()

    def look(self) -> dict[bytes, Found]:
        """All names, each used as far as it can be."""
        return dict(self._below(b""))

    def grow_all(self, found: Mapping[bytes, Found], by: Do) -> str | None:
        """Use what was found: each file is opened for writing, grown by `WRITE` or `TRUNCATE`, read and cut back.

        What is wrong, or None."""
        for name, one in found.items():
            if one.kind is not Kind.FILE or one.half_made:
                continue
            end = len(one.content) + 3 * BLOCK
            with writable(self._files, self._at(name)) as file:
                last = b"end" if by is Do.WRITE else bytes(3)
                if by is Do.WRITE:
                    file.pwrite(last, end)
                else:
                    file.truncate(end + 3)
                wrong = file.pread(end + 3, 0) != one.content.ljust(end, b"\0") + last
                file.truncate(len(one.content))
            if wrong:
                return f"{name.decode()}: its {len(one.content)} bytes are not what they were after it grew"
        return None

    def clear_away(self, found: Mapping[bytes, Found]) -> str | None:
        """Remove what is half made, and make something by its name. What is wrong, or None."""
        for name, one in found.items():
            if one.half_made:
                path = self._at(name)
                self._remove(name, one)
                with self._files.create(path) as file:
                    file.pwrite(b"anew", 0)
                if self._content(path) != b"anew":
                    return f"{name.decode()}: what was made by the name of something half made is not whole"
                self._files.unlink(path)
        return None

    def check(self, patience: float, objects: ObjectExtents | None = None) -> str | None:
        """Does `fsck` call anything damaged that a client that died has left? What, or None."""
        for one in self._files.fsck(self._top, objects, patience=patience).findings():
            if one.code.severity in (Severity.DAMAGE, Severity.UNKNOWN):
                return f"{one.plain!r} is called {one.code.word}: {one.detail}"
        return None

    def repair(
        self, found: Mapping[bytes, Found], patience: float, objects: ObjectExtents | None = None
    ) -> str | None:
        """Repair all that `fsck` names, none of which is damage. What was whole is as it was, nothing is half made, and
        nothing is named any more; what was half made and is whole now is removed. What is wrong, or None."""
        fsck = self._files.fsck(self._top, objects, patience=patience)
        told = list(fsck.findings())
        for one in told:
            if one.code.severity is Severity.DAMAGE:
                return f"{one.plain!r} is called {one.code.word}: {one.detail}"
            if not fsck.repair(one):
                return f"{one.plain!r} is {one.code.word} and was not repaired: {one.detail}"
        known = {one.ino for one in told}
        again = self._files.fsck(self._top, objects, patience=patience)
        for one in list(again.findings()):
            # a lease of the dead client that ran out since the first look: until then it was in use
            ran_out = one.code is Code.LEFTOVER_LEASE and one.ino not in known
            if not (ran_out and again.repair(one)):
                return f"after all repairs {one.plain!r} is {one.code.word}: {one.detail}"
        now = self.look()
        for name, one_now in now.items():
            if one_now.half_made and not fsck.busy:
                return f"{name.decode()}: half made, and fsck did not say so"
            if found[name].half_made:
                self._remove(name, one_now)
            elif one_now != found[name]:
                return f"{name.decode()}: fsck changed it"
        gone = [name for name in found.keys() - now.keys() if not found[name].half_made]
        return f"{gone[0].decode()}: fsck removed it" if gone else None

    def _remove(self, name: bytes, one: Found) -> None:
        (self._files.rmdir if one.kind is Kind.DIRECTORY else self._files.unlink)(self._at(name))

    def _below(self, directory: bytes) -> Iterator[tuple[bytes, Found]]:
        for entry in self._files.scandir(self._at(directory)):
            name = directory + b"/" + entry.name if directory else entry.name
            found = self._found(name, entry.kind)
            yield name, found
            if entry.kind is Kind.DIRECTORY and not found.half_made:
                yield from self._below(name)

    def _found(self, name: bytes, kind: Kind) -> Found:
        path = self._at(name)
        try:
            match kind:
                case Kind.SYMLINK:
                    return Found(kind, target=self._files.readlink(path))
                case Kind.DIRECTORY:
                    list(self._files.scandir(path))
                    content = b""
                case _:
                    content = self._content(path)
        except DamagedError as error:
            if error.strerror is None or "half made" not in error.strerror:
                raise
            return Found(kind, half_made=True)
        seen = self._files.stat(path)
        if kind is Kind.FILE and seen.size != len(content):
            # a writer that lives may have told its size between the two
            content, seen = self._content(path), self._files.stat(path)
        if kind is Kind.FILE and seen.size != len(content):
            raise AssertionError(f"{name.decode()}: stat tells {seen.size} bytes, {len(content)} were read")
        return Found(kind, content=content, mode=seen.permissions, links=seen.nlink)

    def _content(self, path: bytes) -> bytes:
        with self._files.open(path) as file:
            return file.pread(file.size, 0)

    def _at(self, name: bytes) -> bytes:
        return self._top + b"/" + name if name else self._top


def writable(files: FileSystem, path: bytes) -> File:
    """A file that is there, open for reading and writing."""
    return files.open(path, os.O_RDWR)


class Load:
    """Mixed operations drawn from a chance, each of which can be done in the state that the model is in."""

    _FILES = tuple(f"file{number}".encode() for number in range(6))
    _OTHERS = (b"directory", b"directory/file", b"directory/second", b"link")

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def next(self, names: Names) -> Operation:
        """The next one, for this state."""
        while True:
            operation = self._drawn(names)
            if operation is not None:
                return operation

    def _drawn(self, names: Names) -> Operation | None:
        chance = self._chance
        if chance.random() < _SYNCS:
            return Operation(Do.SYNC, b"")
        name = chance.choice(self._FILES + self._OTHERS)
        node = names.get(name)
        if b"/" in name and b"directory" not in names:
            return None
        if node is None:
            if name == b"directory":
                return Operation(Do.MKDIR, name)
            if name == b"link":
                return Operation(Do.SYMLINK, name, other=b"t" * chance.randrange(1, 60))
            return Operation(Do.CREATE, name)
        if node.kind is Kind.DIRECTORY:
            if any(other.startswith(name + b"/") for other in names):
                return None
            return Operation(Do.RMDIR, name) if chance.random() < 0.2 else None
        if node.kind is Kind.SYMLINK:
            return Operation(Do.UNLINK, name) if chance.random() < 0.3 else None
        if node.open is not None:
            return self._on_open(name, node) if node.open == name else None
        return self._on_closed(name, names)

    def _on_open(self, name: bytes, node: Node) -> Operation:
        chance, size = self._chance, len(node.contents[-1])
        match chance.choices(range(6), (12, 4, 3, 3, 2, 3))[0]:
            case 0:
                at = chance.choice((chance.randrange(size + 1), size, chance.randrange(LARGEST // 2)))
                return Operation(
                    Do.WRITE, name, number=at, data=chance.randbytes(chance.randrange(1, LARGEST // 2))
                )
            case 1:
                to = chance.choice(
                    (0, chance.randrange(size + 1), chance.randrange(LARGEST), size // BLOCK * BLOCK)
                )
                return Operation(Do.TRUNCATE, name, number=to)
            case 2:
                return Operation(Do.FSYNC, name)
            case 3:
                return Operation(Do.CLOSE, name)
            case 4:
                return Operation(
                    Do.PUNCH,
                    name,
                    number=chance.randrange(size + 1),
                    length=chance.randrange(1, LARGEST // 2),
                )
            case _:
                return Operation(Do.WRITE, name, number=size, data=chance.randbytes(chance.randrange(1, 300)))

    def _on_closed(self, name: bytes, names: Names) -> Operation | None:
        chance = self._chance
        other = chance.choice(self._FILES)
        match chance.choices(range(5), (10, 3, 2, 2, 2))[0]:
            case 0:
                return Operation(Do.OPEN, name)
            case 1:
                there = names.get(other)
                if there is not None and (
                    # libcephfs then loses sight of the other names of what was replaced, for a time (both releases)
                    sum(one is there for one in names.values()) > 1 or there.open is not None
                ):
                    return None
                return Operation(Do.RENAME, name, other=other)
            case 2:
                return None if other in names else Operation(Do.LINK, name, other=other)
            case 3:
                return Operation(Do.UNLINK, name)
            case _:
                return Operation(Do.CHMOD, name, number=chance.choice((0o600, 0o640, 0o644, 0o755)))
