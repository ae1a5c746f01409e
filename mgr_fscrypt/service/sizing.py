"""How much lies below directories, for the manager, which mounts nothing."""

import logging
import threading

from ..ceph.errors import CephError, NotFoundError
from ..ceph.interface import Mount
from ..messages.service import Sizes
from .clock import Clock
from .kinds.place import Reach

FRESH = 60.0
"""Seconds for which what was seen is told."""
_UNSEEN = Sizes(seen=False, bytes=())
_log = logging.getLogger(__name__)


class Sizing:
    """Looks at what was asked for last. `run` in a thread of its own; `answer` answers at once, to any."""

    def __init__(self, reach: Reach, clock: Clock) -> None:
        """Begin with nothing seen.

        Args:
            reach: the file system, for a ``with`` block.
            clock: the time.
        """
        self._reach = reach
        self._clock = clock
        self._turn = threading.Lock()
        self._work = threading.Event()
        self._over = False
        self._paths: tuple[str, ...] = ()
        self._looking = False
        self._seen = _UNSEEN
        self._until = 0.0

    def run(self) -> None:
        """Until `end`."""
        while not self._over:
            self._work.wait()
            self._work.clear()
            self.look()

    def end(self) -> None:
        """Begin nothing any more, and stop soon."""
        self._over = True
        self._work.set()

    def answer(self, paths: tuple[str, ...]) -> Sizes:
        """What was seen of them; nothing yet, and they are looked at."""
        with self._turn:
            if paths == self._paths and (self._looking or self._clock.now() < self._until):
                return self._seen
            self._paths, self._seen, self._looking = paths, _UNSEEN, True
        self._work.set()
        return _UNSEEN

    def look(self) -> None:
        """Look once at what is asked for, if it was not seen."""
        with self._turn:
            paths = self._paths
            if not self._looking:
                return
        found: tuple[int | None, ...] = (None,) * len(paths)
        try:
            with self._reach() as place:
                found = tuple(None if self._over else _below(place.mount, path) for path in paths)
        except OSError as error:
            _log.warning("how much lies below directories was not seen: %s", error)
        with self._turn:
            if paths == self._paths:
                self._seen, self._looking = Sizes(seen=True, bytes=found), False
                self._until = self._clock.now() + FRESH


def _below(mount: Mount, path: str) -> int | None:
    """By the MDS's own account, which may be some seconds old."""
    try:
        return int(mount.getxattr(path.encode(), "ceph.dir.rbytes"))
    except NotFoundError:
        return 0
    except (CephError, ValueError):
        return None
