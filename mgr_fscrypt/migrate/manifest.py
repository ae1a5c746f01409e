"""What the new tree was when it was verified, as it is stored: so that it can be looked at again without a key.

The process that compares both trees writes it (`comparing.compare`), into the hidden directory of the migration: one
line of JSON an entry, by its stored name, with digests of its attributes and of its stored bytes. The record of the
migration keeps the digest of the whole. No key is in it, and no name in the clear of an encrypted tree.

What it proves, to whoever has no key: that the tree is, byte by byte and attribute by attribute, what was compared with
the source. What it does not prove: anything against one who can write to the record of the migration (the user who
runs it, root, a server), for the digests have no key either.
"""

import errno
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from types import TracebackType
from typing import Self

from ..ceph.errors import NotFoundError
from ..ceph.interface import Kind, Mount
from ..engine import DamagedError
from ..engine.blocks import pieces
from ..format import AUTH_XATTR, ENGINE_XATTR
from .traits import traits_of
from .trees import PlainTree, attribute, existing, not_of_one_file, walk
from .verdict import Verdict

_MODE = 0o600
_PIECE = 1 << 20


@dataclass(frozen=True)
class _Line:
    """One entry: `attributes` and `contents` are digests, `size` is that of the stored bytes."""

    below: bytes
    ino: int
    size: int
    attributes: str
    contents: str

    def encode(self) -> bytes:
        below = self.below.decode("utf-8", "surrogateescape")
        return json.dumps([below, self.ino, self.size, self.attributes, self.contents]).encode() + b"\n"

    @classmethod
    def decode(cls, stored: bytes) -> "_Line":
        """Raises `ValueError`: it is none."""
        match json.loads(stored):
            case [str(below), int(ino), int(size), str(attributes), str(contents)]:
                return cls(below.encode("utf-8", "surrogateescape"), ino, size, attributes, contents)
        raise ValueError("no line of a manifest")

    def differences(self, other: "_Line") -> str:
        """The names of what is not the same."""
        names = ("ino", "size", "attributes", "contents")
        return ", ".join(name for name in names if getattr(self, name) != getattr(other, name))


class Manifest:
    """Written entry by entry, for a `with` block; durable after it, if nothing was raised.

    Args:
        path: of the file, which is made anew.
        top: of the tree.
    """

    def __init__(self, mount: Mount, path: bytes, top: bytes) -> None:
        self._mount = mount
        self._path = path
        self._top = top
        self._sum = sha256()
        self._lines = bytearray()
        self._offset = 0

    def __enter__(self) -> Self:
        self._fd = self._mount.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._flush()
                self._mount.fsync(self._fd)
        finally:
            self._mount.close(self._fd)

    def line(self, below: bytes) -> bytes:
        """Of what lies at this path below the top, as stored. Raises `CephError`."""
        return line_of(self._mount, self._top, below)

    def size_of(self, below: bytes) -> int:
        """The bytes that are read for such a line; 0 where nothing is, or nobody can tell."""
        try:
            return self._mount.stat(self._top + below).size
        except OSError as error:
            if not_of_one_file(error):
                raise
            return 0

    def add(self, lines: bytes) -> None:
        """Any number of whole ones. Raises `CephError`."""
        self._lines += lines
        if len(self._lines) >= _PIECE:
            self._flush()

    def digest(self) -> str:
        """Of all that was added: for the record."""
        whole = self._sum.copy()
        whole.update(self._lines)
        return whole.hexdigest()

    def _flush(self) -> None:
        data = bytes(self._lines)
        self._mount.pwrite(self._fd, data, self._offset)
        self._offset += len(data)
        self._sum.update(data)
        self._lines.clear()


def compare_with_manifest(
    mount: Mount,
    path: bytes,
    digest: str,
    top: bytes,
    verdict: Verdict,
    go_on: Callable[[], None],
    told: Callable[[str, bytes, str], None],
) -> Verdict:
    """Compare the tree below `top`, as it is stored, with the manifest at `path`, which the record says has this
    `digest`. Its lines are kept in a database on the local disk meanwhile: there may be any number. `verdict` counts
    also while it runs; `go_on` and `told` are called as by `comparing.compare`.

    Raises:
        DamagedError: there is no such manifest, or it is another one.
        CephError: what concerns more than one file.
    """

    def add(kind: str, below: bytes, how: str = "") -> None:
        verdict.add(kind, below, how)
        told(kind, below or b"/", how)

    with closing(sqlite3.connect("")) as left:
        left.execute("CREATE TABLE left (below BLOB PRIMARY KEY, line BLOB) WITHOUT ROWID")
        # a listing may tell of an entry twice when others are made beside it
        left.executemany("INSERT OR REPLACE INTO left VALUES (?, ?)", _lines(mount, path, digest))
        with closing(walk(PlainTree(mount), top)) as all_below:
            for met in all_below:
                go_on()
                if met.error is not None:
                    add("error", met.below, met.error.strerror or str(met.error))
                if met.leaving:
                    continue
                known = left.execute("SELECT line FROM left WHERE below = ?", (met.below,)).fetchone()
                left.execute("DELETE FROM left WHERE below = ?", (met.below,))
                if known is None:
                    add("extra", met.below)
                else:
                    kind, how = _judged(mount, top, _Line.decode(known[0]), verdict)
                    add(kind, met.below, how)
        for (below,) in left.execute("SELECT below FROM left"):
            add("missing", below)
    return verdict


def _judged(mount: Mount, top: bytes, known: _Line, verdict: Verdict) -> tuple[str, str]:
    """The class of an entry, and how it differs."""
    try:
        found = _line_of(mount, top, known.below)
    except NotFoundError:
        return "missing", ""
    except OSError as error:
        if not_of_one_file(error):
            raise
        return "error", error.strerror or str(error)
    verdict.size += found.size
    how = known.differences(found)
    return "differ" if how else "same", how


def _lines(mount: Mount, path: bytes, digest: str) -> Iterator[tuple[bytes, bytes]]:
    """Each with its path. Raises `DamagedError` at the end: they are not those of that digest."""
    total = sha256()
    tree = PlainTree(mount)
    if existing(tree, path) is None:
        raise _no_manifest(path, "there is none")
    with tree.open(path) as file:
        rest = b""
        for start, stop in pieces(0, file.size):
            data = file.pread(stop - start, start)
            total.update(data)
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > _PIECE:
                raise _no_manifest(path, "it is damaged")
            for line in lines:
                try:
                    yield _Line.decode(line).below, line
                except ValueError as error:
                    raise _no_manifest(path, "it is damaged") from error
    if total.hexdigest() != digest:
        raise _no_manifest(path, "it is not the one that the last verification wrote")


def _no_manifest(path: bytes, how: str) -> DamagedError:
    return DamagedError(
        errno.EUCLEAN,
        f"the manifest cannot be used: {how}",
        path,
        remedy="Verify with the keys. Nothing was changed.",
    )


def line_of(mount: Mount, top: bytes, below: bytes) -> bytes:
    """The line of what lies at this path below `top`, as stored. Raises `CephError`."""
    return _line_of(mount, top, below).encode()


def _line_of(mount: Mount, top: bytes, below: bytes) -> _Line:
    tree, path = PlainTree(mount), top + below
    found = tree.stat(path)
    traits = traits_of(tree, path, found)
    contexts = (attribute(mount, path, name) for name in (AUTH_XATTR, ENGINE_XATTR))
    said = [
        traits.kind_bits,
        traits.permissions,
        traits.uid,
        traits.gid,
        traits.mtime,
        traits.rdev,
        traits.target.hex(),
        sorted((name, value.hex()) for name, value in traits.attributes),
        [None if value is None else value.hex() for value in contexts],
    ]
    contents = sha256()
    size = 0
    if found.kind is Kind.FILE:
        with tree.open(path) as file:
            size = file.size
            for start, stop in pieces(0, size):
                contents.update(file.pread(stop - start, start))
    return _Line(below, found.ino, size, sha256(json.dumps(said).encode()).hexdigest(), contents.hexdigest())
