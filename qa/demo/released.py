"""Check a released subtree against the format and its source, from the raw dentries, attributes and objects.

Nothing of the engine is used: a plain libcephfs mount and librados show what a kernel client will find, and
`format/` says what it makes of that.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cephfs
import rados

from mgr_fscrypt.format import (
    AUTH_XATTR,
    BLOCK_SIZE,
    ENGINE_XATTR,
    FILE_XATTR,
    Contents,
    Context,
    MasterKey,
    Names,
    SizeRule,
    Target,
    believe_size,
    decode_base64,
)

_OBJECT_SIZE = 4 << 20
_LONGEST_VALUE = 256


@dataclass
class Checked:
    """Counts of what was compared, and what was not as it should be, by path."""

    directories: int = 0
    files: int = 0
    symlinks: int = 0
    size: int = 0
    nonces: set[bytes] = field(default_factory=set)
    differences: list[str] = field(default_factory=list)


class ReleasedTree:
    """A subtree in kernel mode, and the local tree that was put into it."""

    def __init__(self, mount: cephfs.LibCephFS, data: rados.Ioctx, master: MasterKey) -> None:
        self._mount = mount
        self._data = data
        self._master = master
        self._seen: set[int] = set()
        """Of the files with several names, those that were met."""

    def check(self, stored: bytes, local: Path) -> Checked:
        """Compare the local directory with its namesake in the stored one, and all below, both ways."""
        result = Checked()
        names = Names(self._master, self._context(stored, result))
        result.directories += 1
        self._directory(stored + b"/" + names.encode(local.name.encode()).dname, local, result)
        return result

    def check_at(self, stored: bytes, local: Path) -> Checked:
        """Compare the local directory with the stored one, and all below, both ways."""
        result = Checked()
        self._directory(stored, local, result)
        return result

    def _directory(self, stored: bytes, local: Path, result: Checked) -> None:
        result.directories += 1
        context = self._context(stored, result)
        names = Names(self._master, context)
        entries = {names.decode(entry): entry for entry in self._entries(stored)}
        there = {os.fsencode(entry.name) for entry in local.iterdir()}
        for name in sorted(there.symmetric_difference(entries)):
            result.differences.append(f"{local}/{name.decode(errors='replace')}: only on one side")
        for name in sorted(there.intersection(entries)):
            path = stored + b"/" + entries[name]
            self._inode(path, local / os.fsdecode(name), result)

    def _inode(self, stored: bytes, local: Path, result: Checked) -> None:
        status = self._mount.stat(stored, follow_symlink=False)
        if stat.S_IFMT(status.st_mode) != stat.S_IFMT(local.lstat().st_mode):
            result.differences.append(f"{local}: another kind of inode")
        elif stat.S_ISDIR(status.st_mode):
            self._directory(stored, local, result)
        elif stat.S_ISLNK(status.st_mode):
            self._symlink(stored, status.st_size, local, result)
        elif stat.S_ISREG(status.st_mode) and status.st_ino not in self._seen:
            if status.st_nlink > 1:
                self._seen.add(status.st_ino)
            self._file(stored, status.st_ino, status.st_size, local, result)

    def _symlink(self, stored: bytes, size: int, local: Path, result: Checked) -> None:
        result.symlinks += 1
        kept = self._mount.readlink(stored, size)
        target = Target(self._master, self._context(stored, result))
        plain = os.fsencode(local.readlink())
        if (
            target.decode(kept) != plain
            or target.encode(plain) != kept
            or not decode_base64(kept).endswith(b"\0")
        ):
            result.differences.append(f"{local}: the stored target is not the kernel's")

    def _file(self, stored: bytes, ino: int, raw: int, local: Path, result: Checked) -> None:
        result.files += 1
        wanted = local.stat().st_size
        size = believe_size(raw, self._value(stored, FILE_XATTR))
        if size.real != wanted or size.rule not in (SizeRule.BELIEVED, SizeRule.EMPTY):
            result.differences.append(f"{local}: {wanted} bytes, stored as {size.real} ({size.rule.value})")
            return
        if self._value(stored, ENGINE_XATTR):
            result.differences.append(f"{local}: still has the attribute of engine mode")
        with Contents(self._master, self._context(stored, result)) as contents, local.open("rb") as file:
            for index in range(-(-raw // _OBJECT_SIZE)):
                plain = file.read(_OBJECT_SIZE)
                plain += bytes(-len(plain) % BLOCK_SIZE)
                if not _holds(self._object(ino, index), plain, contents, index * _OBJECT_SIZE):
                    result.differences.append(f"{local}: object {index} is not what the kernel would write")
        result.size += wanted

    def _object(self, ino: int, index: int) -> bytes:
        try:
            return bytes(self._data.read(f"{ino:x}.{index:08x}", _OBJECT_SIZE, 0))
        except rados.ObjectNotFound:
            return b""

    def _context(self, stored: bytes, result: Checked) -> Context:
        context = Context.decode_auth(self._value(stored, AUTH_XATTR))
        if context.nonce in result.nonces:
            result.differences.append(f"{stored!r}: the nonce is used twice")
        result.nonces.add(context.nonce)
        if context.policy.key != self._master.identifier:
            result.differences.append(f"{stored!r}: another key's policy")
        return context

    def _value(self, stored: bytes, name: str) -> bytes:
        try:
            value: bytes = self._mount.lgetxattr(stored, name, _LONGEST_VALUE)
        except cephfs.NoData:
            return b""
        return value

    def _entries(self, stored: bytes) -> Iterator[bytes]:
        handle = self._mount.opendir(stored)
        while (entry := self._mount.readdir(handle)) is not None:
            if entry.d_name not in (b".", b".."):
                yield entry.d_name
        self._mount.closedir(handle)


def _holds(stored: bytes, plain: bytes, contents: Contents, offset: int) -> bool:
    """Is each block encrypted at its place, or a hole where it is of zeros? A hole is absent, short, or zeros."""
    if not any(plain) and not any(stored):
        return True
    wanted = contents.encrypt(plain, offset // BLOCK_SIZE)
    if stored == wanted:
        return True
    stored = stored.ljust(len(wanted), b"\0")
    hole = bytes(BLOCK_SIZE)
    return len(stored) == len(wanted) and all(
        stored[at : at + BLOCK_SIZE] == wanted[at : at + BLOCK_SIZE]
        or stored[at : at + BLOCK_SIZE] == plain[at : at + BLOCK_SIZE] == hole
        for at in range(0, len(wanted), BLOCK_SIZE)
    )
