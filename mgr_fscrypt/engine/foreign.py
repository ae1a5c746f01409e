"""What other programs left where they encrypted: google/fscrypt's metadata, and the layout of ceph-csi.

google/fscrypt keeps, in `.fscrypt` of the root of the mount that it was used on, one file for each policy and one for
each protector. A policy's file is named by its key identifier. They hold wrapped keys: which key they belong to is read
here, never what is wrapped. ceph-csi does the same in the data directory of a subvolume, and encrypts the directory
`ceph-csi-encrypted` in it.
"""

import errno
import re
from contextlib import closing
from dataclasses import dataclass

from ..ceph.errors import CephError
from ..ceph.interface import Mount
from .paths import joined

METADATA = b".fscrypt"
CSI = b"ceph-csi-encrypted"
_POLICY = re.compile(rb"[0-9a-f]{16}|[0-9a-f]{32}")
_PROTECTOR = re.compile(rb"([0-9a-f]{16})(?:\.link)?")
MOST = 100
"""Names that are told of one directory."""


@dataclass(frozen=True)
class Metadata:
    """The metadata of google/fscrypt in one directory.

    Attributes:
        path: of the directory that has `.fscrypt` in it.
        policies: their descriptors: those of version 2 are key identifiers.
        protectors: their descriptors.
    """

    path: bytes
    policies: tuple[str, ...]
    protectors: tuple[str, ...]


@dataclass(frozen=True)
class Foreign:
    """What was found for one directory.

    Attributes:
        metadata: in it or above it, nearest first.
        csi: is it where ceph-csi encrypts?
    """

    metadata: tuple[Metadata, ...]
    csi: bool


def foreign_at(mount: Mount, path: bytes) -> Foreign:
    """Look at a directory that is not below another encrypted one, and at those above it."""
    found = []
    above = path
    while above != b"/":
        above = above.rpartition(b"/")[0] or b"/"
        here = joined(above, METADATA)
        policies = _names(mount, joined(here, b"policies"), _POLICY)
        protectors = _names(mount, joined(here, b"protectors"), _PROTECTOR)
        if policies or protectors:
            found.append(Metadata(above, policies, protectors))
    return Foreign(tuple(found), path.rpartition(b"/")[2] == CSI)


def _names(mount: Mount, directory: bytes, shape: re.Pattern[bytes]) -> tuple[str, ...]:
    try:
        with closing(mount.scandir(directory)) as entries:
            names = sorted(each.name.removesuffix(b".link") for each in entries if shape.fullmatch(each.name))
    except CephError as error:
        # anybody may have a file of that name
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise
        return ()
    return tuple(name.decode() for name in names[:MOST])
