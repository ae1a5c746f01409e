"""Where the data of a subvolume lies, as Ceph's volumes module keeps it: `/volumes/GROUP/NAME/.meta`.

Read here and not asked of that module: it would take ceph-mgr's threads, and whoever works for us has a mount anyway.

| version | data | snapshots |
|---|---|---|
| 2 | `/volumes/GROUP/NAME/UUID` | of `/volumes/GROUP/NAME`, above the data |
| 1 | the same | of the data directory itself |
| legacy | `/volumes/GROUP/NAME` | of the data directory itself; its `.meta` is elsewhere |
"""

import configparser
import errno
import os
from dataclasses import dataclass

from .errors import CephError, NotFoundError
from .interface import Mount

VOLUMES = b"/volumes"
NO_GROUP = "_nogroup"
_META = b".meta"
_LONGEST = 1 << 20
_PIECE = 1 << 16


class SubvolumeError(Exception):
    """What lies there is no subvolume that can be used. `remedy` says what to do."""

    def __init__(self, happened: str, *, remedy: str) -> None:
        super().__init__(happened)
        self.remedy = remedy


@dataclass(frozen=True)
class Subvolume:
    """A subvolume.

    Attributes:
        path: of the directory with its data.
        version: of how it is kept; 0 for legacy ones, which have no `.meta` beside their data.
        state: in the volumes module's words: "complete" where it can be used.
    """

    path: bytes
    version: int
    state: str


def base_of(group: str, name: str) -> bytes:
    """The directory of a subvolume; `group` is empty for none."""
    return b"/".join((VOLUMES, os.fsencode(group or NO_GROUP), os.fsencode(name)))


def subvolume_at(mount: Mount, base: bytes) -> Subvolume:
    """Read what is kept of the subvolume whose directory this is.

    Raises:
        NotFoundError: there is none.
        SubvolumeError: what is kept of it cannot be read.
    """
    mount.stat(base)
    try:
        text = _read(mount, base + b"/" + _META).decode()
    except NotFoundError:
        return Subvolume(base, 0, "complete")
    except UnicodeDecodeError:
        text = ""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(text)
        known = parser["GLOBAL"]
        return Subvolume(os.fsencode(known["path"]), int(known["version"]), known["state"])
    except (configparser.Error, KeyError, ValueError) as error:
        shown = os.fsdecode(base)
        raise SubvolumeError(
            f"{shown}/.meta is not what Ceph's volumes module writes",
            remedy="see `ceph fs subvolume info`, and give the path of the directory itself",
        ) from error


def _read(mount: Mount, path: bytes) -> bytes:
    fd = mount.open(path, os.O_RDONLY)
    try:
        data = b""
        while piece := mount.pread(fd, _PIECE, len(data)):
            data += piece
            if len(data) > _LONGEST:
                raise CephError(errno.EFBIG, "longer than such a file is", path)
        return data
    finally:
        mount.close(fd)
