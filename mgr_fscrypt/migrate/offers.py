"""Shards that are offered to processes elsewhere, each to be taken once.

A scheduler may hand out a task twice: after a death, or when it takes one for dead that is at work still. So the
process that has the turn offers each shard as an empty directory, `shards/NUMBER` in the hidden one, and whoever takes
it renames that to `NUMBER.SESSION`, by the uuid of its own session: that can be done once. A name that is left tells
whose session is to be ended before somebody else does the shard.
"""

import errno
from concurrent.futures import BrokenExecutor
from contextlib import closing

from ..ceph.errors import NotFoundError
from ..ceph.interface import Mount
from ..engine.paths import joined
from .places import Places
from .trees import PlainTree, existing, remove_all


class NotOfferedError(BrokenExecutor):
    """Somebody else has taken the shard, or it was taken back."""


class Offers:
    """The offers of one migration."""

    def __init__(self, mount: Mount, path: bytes) -> None:
        self._mount = mount
        self._place = Places(mount, path).shards

    def begin(self) -> list[str]:
        """Be ready to offer. The answer: sessions that are to be ended first, which whoever had the turn before left
        at work."""
        if existing(PlainTree(self._mount), self._place) is None:
            self._mount.mkdir(self._place, 0o700)
        return self.taken()

    def offer(self, number: str) -> None:
        """Let somebody take a shard."""
        self._mount.mkdir(self._offered(number), 0o700)

    def take(self, number: str, session: str) -> None:
        """Be the one who does it.

        Raises:
            NotOfferedError: it is not there to be taken.
        """
        try:
            self._mount.rename(self._offered(number), self._taken(number, session))
        except NotFoundError as error:
            raise NotOfferedError("the shard was taken before, or taken back") from error

    def done(self, number: str, session: str) -> None:
        """It is done."""
        self._mount.rmdir(self._taken(number, session))

    def taken(self) -> list[str]:
        """The sessions of those who have taken one and have not done it."""
        with closing(self._mount.scandir(self._place)) as entries:
            names = [entry.name.decode() for entry in entries]
        return sorted({session for _, dot, session in (name.partition(".") for name in names) if dot})

    def take_back(self) -> None:
        """All that were offered, taken or not. Whoever has taken one must be at work no more."""
        with closing(self._mount.scandir(self._place)) as entries:
            for entry in list(entries):
                self._remove(joined(self._place, entry.name))

    def end(self) -> None:
        """Nothing is offered any more, and nothing is left."""
        remove_all(PlainTree(self._mount), self._place)

    def _remove(self, path: bytes) -> None:
        try:
            self._mount.rmdir(path)
        except NotFoundError as error:
            if error.errno != errno.ENOENT:
                raise

    def _offered(self, number: str) -> bytes:
        return joined(self._place, number.encode())

    def _taken(self, number: str, session: str) -> bytes:
        return joined(self._place, f"{number}.{session}".encode())
