"""The trees that one side makes and the other one reads: made through a door, with what must be found beside."""

import hashlib
import os
from collections.abc import Callable
from contextlib import closing

from mgr_fscrypt.ceph.interface import Kind
from qa.load.contents import Model
from qa.load.doors import Door
from qa.load.tree import Found, Path_
from qa.vectors.shapes import OBJECT_SIZE, RECIPES, Target, kernel_shapes

_SIZES = (0, 1, 15, 16, 4095, 4096, 4097, 8191, 65536, 100_001)
_LARGE = (OBJECT_SIZE - 1, OBJECT_SIZE, OBJECT_SIZE + 1, 2 * OBJECT_SIZE + 4097)
_TARGETS = (1, 2, 15, 16, 17, 31, 32, 100, 255, 1000, 4000)
_TIME = 1_000_000_007


class Builder:
    """Makes a tree in an empty directory.

    Attributes:
        made: what must be found, by path.
    """

    def __init__(self, door: Door) -> None:
        self._door = door
        self.made: dict[Path_, Found] = {}

    def directory(self, *path: bytes) -> None:
        self._door.mkdir(b"/".join(path))
        self.made[path] = Found(Kind.DIRECTORY, permissions=0o755)

    def file(self, path: Path_, *makers: Callable[[Target], object]) -> None:
        """A file that these make."""
        model = Model()
        with closing(self._door.open(b"/".join(path), os.O_RDWR | os.O_CREAT | os.O_EXCL)) as handle:
            for make in makers:
                make(handle)
                make(model)
        self.made[path] = Found(Kind.FILE, bytes(model.data), permissions=0o644)

    def append(self, path: Path_, *pieces: bytes) -> None:
        """A file that is opened for each of these, and closed after it."""
        for piece in pieces:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            with closing(self._door.open(b"/".join(path), flags)) as handle:
                handle.pwrite(piece, 0)
        self.made[path] = Found(Kind.FILE, b"".join(pieces), permissions=0o644)

    def symlink(self, target: bytes, *path: bytes) -> None:
        self._door.symlink(target, b"/".join(path))
        self.made[path] = Found(Kind.SYMLINK, target)

    def link(self, existing: Path_, new: Path_) -> None:
        """Two names, so two links."""
        self._door.link(b"/".join(existing), b"/".join(new))
        one = self.made[existing]
        both = Found(one.kind, one.content, 2, one.permissions, one.mtime)
        self.made |= {existing: both, new: both}

    def attributes(self, path: Path_, mode: int) -> None:
        where = b"/".join(path)
        self._door.chmod(where, mode)
        self._door.utimens(where, _TIME, _TIME)
        one = self.made[path]
        self.made[path] = Found(one.kind, one.content, one.links, mode, _TIME)


def build(door: Door, *, longest: int, whole: bool) -> dict[Path_, Found]:
    """A tree of all that there is: sizes, the kernels' eighteen shapes of truncates and holes, sparse and appended
    files, names, links.

    Names have up to `longest` bytes. Every length of them, and large files, are only in a `whole` one.
    """
    builder = Builder(door)
    _contents(builder, whole=whole)
    _shapes(builder)
    build_names(builder, range(1, longest + 1, 1 if whole else 9))
    _links(builder)
    return builder.made


def data_of(name: str, length: int) -> bytes:
    """Bytes that are different for each name."""
    return hashlib.shake_256(name.encode()).digest(length)


def _contents(builder: Builder, *, whole: bool) -> None:
    builder.directory(b"contents")
    for size in (*_SIZES, *(_LARGE if whole else ())):
        builder.file((b"contents", b"%d" % size), _written(0, data_of(str(size), size)))
    builder.file(
        (b"contents", b"sparse"),
        _written(0, b"first"),
        _written(40_001, data_of("sparse", 5000)),
        _written(3 * OBJECT_SIZE - 100, data_of("far", 200)),
        lambda file: file.truncate(3 * OBJECT_SIZE + 123_457),
    )
    builder.file((b"contents", b"all hole"), lambda file: file.truncate(50_001))
    builder.file((b"contents", b"zeros"), _written(0, bytes(10_000)))
    builder.append(
        (b"contents", b"appended"), *(data_of(f"piece {size}", size) for size in (1, 4094, 2, 9000, 5))
    )


def _written(offset: int, data: bytes) -> Callable[[Target], object]:
    # nothing is written where there is nothing: that is an error of its own (doc/facts.md F15)
    return lambda file: file.pwrite(data, offset) if data else None


def _shapes(builder: Builder) -> None:
    builder.directory(b"shapes")
    shapes = {shape.name: shape for shape in kernel_shapes()}
    for name in RECIPES:
        builder.file((b"shapes", name.encode()), shapes[name].make)


def build_names(builder: Builder, lengths: range) -> None:
    """Odd names, and those of these lengths; a directory of the last of them, with something below."""
    builder.directory(b"names")
    odd = (b"\xff\xfe\x80", "größe".encode(), b"line\nbreak", b"a+b,c=", b" ", b"...", b"%2f\\")
    for name in (*odd, *(b"n" * length for length in lengths)):
        builder.file((b"names", name), _written(0, name))
    path = (b"deep",)
    builder.directory(*path)
    for name in (b"d" * 17, b"e" * lengths[-1], b"f"):
        path = (*path, name)
        builder.directory(*path)
    builder.file((*path, b"file"), _written(0, b"deep down"))


def _links(builder: Builder) -> None:
    builder.directory(b"links")
    for length in _TARGETS:
        builder.symlink(b"t" * length, b"links", b"to %d" % length)
    builder.symlink(b"\xff/../\xfe", b"links", b"odd")
    builder.file((b"links", b"one"), _written(0, data_of("one", 5000)))
    builder.link((b"links", b"one"), (b"names", b"other"))
    builder.file((b"links", b"attributes"), _written(0, b"attributes"))
    builder.attributes((b"links", b"attributes"), 0o640)
