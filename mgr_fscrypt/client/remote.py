"""Walking a tree of the encrypted file system."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from ..ceph.interface import Kind
from ..engine import FileSystem, NameKind

ENTERED = (NameKind.PLAIN, NameKind.DECRYPTED, NameKind.LOCKED)
"""Names by which a directory can be entered."""


@dataclass(frozen=True)
class Child:
    """Something below a directory.

    Args:
        path: absolute, as its reader sees it.
        kind: what it is.
        name_kind: whether its name could be decrypted.
        leaving: True when all that lies in this directory has been given.
    """

    path: bytes
    kind: Kind
    name_kind: NameKind
    leaving: bool = False


def joined(parent: bytes, name: bytes) -> bytes:
    """Give the path of a name in a directory."""
    return parent.rstrip(b"/") + b"/" + name


def parent(path: bytes) -> bytes:
    """Give the path of the directory that a path lies in."""
    return path.rstrip(b"/").rpartition(b"/")[0] or b"/"


def basename(path: bytes) -> bytes:
    """Give a path's last name; nothing for the root."""
    return path.rstrip(b"/").rpartition(b"/")[2]


def sibling(path: bytes) -> bytes:
    """Give a path beside another that nothing has."""
    return joined(parent(path), temporary_name().encode())


def temporary_name() -> str:
    """Give a name that nothing has: for what is not complete yet."""
    return f".fscrypt-{os.urandom(8).hex()}"


def is_one_name(name: bytes) -> bool:
    """Tell whether a name leads to an entry of its directory, and to nothing else."""
    return name not in (b"", b".", b"..") and b"/" not in name and b"\0" not in name


def children(files: FileSystem, top: bytes) -> Iterator[Child]:
    """Give all that lies below a directory; each directory before its contents and once more after them.

    One directory's entries are in memory at a time for each level: a directory that is being listed while this
    program changes it could give an entry twice. A name that leads elsewhere (the servers are not trusted) counts as
    foreign and is not followed.
    """
    for entry in sorted(files.scandir(top), key=lambda each: each.name):
        name_kind = entry.name_kind if is_one_name(entry.name) else NameKind.FOREIGN
        child = Child(joined(top, entry.name), entry.kind, name_kind)
        yield child
        if entry.kind is Kind.DIRECTORY and name_kind in ENTERED:
            yield from children(files, child.path)
            yield Child(child.path, child.kind, child.name_kind, leaving=True)
