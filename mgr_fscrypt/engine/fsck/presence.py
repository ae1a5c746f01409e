"""Is somebody at work on an inode just now? What is in motion is not damaged."""

import os

from ...ceph.errors import NotAllowedError, UnsupportedReleaseError
from ...ceph.interface import LeaseState, Mount
from ..sharing import alone
from ..waiting import until_made


class Leases:
    """The leases of inodes, as far as this client may look at them."""

    def __init__(self, mount: Mount) -> None:
        self._mount = mount
        self.refused = False

    def state(self, ino: int) -> LeaseState:
        """Whose it is; nobody's where that cannot be seen."""
        if not self.refused:
            try:
                return self._mount.lease(ino).state()
            except (NotAllowedError, UnsupportedReleaseError):
                self.refused = True
        return LeaseState.FREE


def open_elsewhere(mount: Mount, stored: bytes) -> bool:
    """Has another client the file open? The makers of files have.

    Raises:
        NotAllowedError: this user or entity may not write the file, and so cannot tell.
    """
    fd = mount.open(stored, os.O_RDWR)
    try:
        return until_made(lambda: alone(mount.capabilities(fd)) or None) is None
    finally:
        mount.close(fd)
