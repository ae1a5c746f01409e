"""``ls`` and ``cat``."""

import stat
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

from ..ceph.interface import Kind
from ..engine import Attributes, NameKind
from .advice import shown
from .connection import Connection
from .outcome import Exit
from .remote import children, joined
from .report import Reporter

PIECE = 4 << 20
"""Bytes of a file that are in memory at once: an object of the default layout."""

_LETTERS = {
    Kind.DIRECTORY: stat.S_IFDIR,
    Kind.FILE: stat.S_IFREG,
    Kind.SYMLINK: stat.S_IFLNK,
    Kind.SPECIAL: 0,
}
_NOTES = {
    NameKind.LOCKED: "names are shown as they are stored, because the key was not given",
    NameKind.HASHED: "names marked ~ are too long to be read back, and are shown as they are stored",
    NameKind.FOREIGN: "names marked ? are not encrypted under this directory's key, and are shown as they are stored",
}
_MARKS = {NameKind.HASHED: "~", NameKind.FOREIGN: "?"}


def ls(connection: Connection, reporter: Reporter, path: bytes, *, long: bool, recursive: bool) -> Exit:
    """List a directory, or show one file or link."""
    met: set[NameKind] = set()
    for each, name_kind in _entries(connection, path, recursive=recursive):
        met.add(name_kind)
        name = each if recursive else each.rsplit(b"/", 1)[-1] or b"/"
        mark = _MARKS.get(name_kind, "")
        if not long:
            reporter.answer({"path": shown(each), "name_kind": name_kind.name.lower()}, shown(name) + mark)
            continue
        found = connection.files.stat(each)
        target = connection.files.readlink(each) if found.kind is Kind.SYMLINK else None
        arrow = "" if target is None else f" -> {shown(target)}"
        value = _described(each, name_kind, found) | ({} if target is None else {"target": shown(target)})
        reporter.answer(value, _long(found) + shown(name) + mark + arrow)
    for kind in sorted(met & _NOTES.keys(), key=lambda each: each.name):
        reporter.note(f"note: {_NOTES[kind]}")
    return Exit.DONE


def cat(connection: Connection, path: bytes) -> Exit:
    """Write a file's contents to standard output."""
    connection.require_keys()
    with connection.files.open(path) as opened:
        offset = 0
        while piece := opened.pread(PIECE, offset):
            sys.stdout.buffer.write(piece)
            offset += len(piece)
    sys.stdout.buffer.flush()
    return Exit.DONE


def _entries(connection: Connection, path: bytes, *, recursive: bool) -> Iterator[tuple[bytes, NameKind]]:
    found = connection.files.stat(path)
    if found.kind is not Kind.DIRECTORY:
        yield path, NameKind.DECRYPTED
    elif recursive:
        yield from (
            (each.path, each.name_kind) for each in children(connection.files, path) if not each.leaving
        )
    else:
        for entry in sorted(connection.files.scandir(path), key=lambda each: each.name):
            yield joined(path, entry.name), entry.name_kind


def _long(found: Attributes) -> str:
    mode = stat.filemode(_LETTERS[found.kind] | found.permissions)
    changed = datetime.fromtimestamp(found.mtime, tz=UTC).strftime("%Y-%m-%d %H:%M")
    return f"{mode} {found.nlink:>3} {found.uid:>5} {found.gid:>5} {found.size:>12} {changed} "


def _described(path: bytes, name_kind: NameKind, found: Attributes) -> dict[str, object]:
    return {
        "path": shown(path),
        "name_kind": name_kind.name.lower(),
        "kind": found.kind.value,
        "mode": f"{found.permissions:04o}",
        "nlink": found.nlink,
        "uid": found.uid,
        "gid": found.gid,
        "size": found.size,
        "mtime": found.mtime,
        "inode": found.ino,
        "encrypted": found.encrypted,
    }
