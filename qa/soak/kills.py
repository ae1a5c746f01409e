"""Clients killed at random moments under a mixed load, and another that goes on with what they left: in full size."""

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.ceph.objects import Extents
from qa.fakes.engine_cases import remove
from qa.load.kills import Killed, kill, opened

from .state import main
from .workers import Cases

_SIZE = 500


class Kills:
    """One case is one kill in a subtree of its own, which stays only where something was wrong with it."""

    def __init__(self, mount: CephMount, objects: Extents) -> None:
        self._mount = mount
        self._objects = objects
        self._files = opened(mount)
        self.longest: Killed | None = None

    def case(self, chance: random.Random) -> str | None:
        top = f"/soak-kills-{chance.randrange(1 << 64):016x}".encode()
        killed = kill(self._files, top, chance, self._objects)
        if self.longest is None or killed.held_up > self.longest.held_up:
            self.longest = killed
        if wrong := killed.wrong or killed.late:
            return wrong
        remove(self._mount, top)
        return None


@contextmanager
def _cases() -> Iterator[Cases]:
    with connect(Access()) as mount, Extents(mount.cluster) as objects:
        kills = Kills(mount, objects)
        yield {"kills": kills.case}
        sys.stderr.write(f"kills: held up at most in this run: {kills.longest}\n")


if __name__ == "__main__":
    sys.exit(main("kills", _SIZE, _cases, sys.argv[1:]))
