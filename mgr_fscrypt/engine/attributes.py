"""What `stat` tells."""

import stat
from dataclasses import dataclass

from ..ceph.interface import Kind, Stat
from .inodes import FileMode


@dataclass(frozen=True)
class Attributes:
    """`size` is the real size; `file_mode` whose the contents are, where it is an encrypted file.

    `kind_bits` are the type bits of `st_mode`, which tell special files apart, and `rdev` is the number of a device.
    `encrypted` is false for special files, for what lies outside, and for children that are half made.
    """

    ino: int
    kind: Kind
    kind_bits: int
    permissions: int
    nlink: int
    uid: int
    gid: int
    rdev: int
    size: int
    blocks: int
    atime: float
    mtime: float
    ctime: float
    version: int | None
    encrypted: bool
    file_mode: FileMode | None

    @classmethod
    def of(
        cls,
        raw: Stat,
        *,
        size: int,
        encrypted: bool,
        permissions: int | None = None,
        file_mode: FileMode | None = None,
    ) -> "Attributes":
        """From what the MDS has, with what only we know; None leaves the permissions as they are stored."""
        return cls(
            ino=raw.ino,
            kind=raw.kind,
            kind_bits=stat.S_IFMT(raw.mode),
            permissions=stat.S_IMODE(raw.mode) if permissions is None else permissions,
            nlink=raw.nlink,
            uid=raw.uid,
            gid=raw.gid,
            rdev=raw.rdev,
            size=size,
            blocks=raw.blocks,
            atime=raw.atime,
            mtime=raw.mtime,
            ctime=raw.ctime,
            version=raw.version,
            encrypted=encrypted,
            file_mode=file_mode,
        )
