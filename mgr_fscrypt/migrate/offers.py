"""Shards that are offered to processes elsewhere, each to be taken once.

A scheduler may hand out a task twice: after a death, or when it takes one for dead that is at work still. So the
process that has the turn offers each shard as an empty directory, `shards/NUMBER` in the hidden one, and whoever takes
it renames that to `NUMBER.SESSION`, by the uuid of its own session: that can be done once. A name that is left tells
whose session is to be ended before somebody else does the shard.
"""

import errno
from collections.abc import Callable
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

    def begin(self, end_session: Callable[[str], None]) -> None:
        """Be ready to offer: what whoever had the turn before offered is taken back."""
        if existing(PlainTree(self._mount), self._place) is None:
            self._mount.mkdir(self._place, 0o700)
        self.take_back(end_session)

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

    def take_back(self, end_session: Callable[[str], None]) -> None:
        """All that were offered. What nobody has taken goes first, so from then on nobody can; then `end_session` is
        called for each who has taken one and has not done it, maybe just now, and is at work no more when it
        returns."""
        for name in self._names():
            if b"." not in name:
                self._remove(name)
        taken = [name for name in self._names() if b"." in name]
        for session in sorted({name.partition(b".")[2].decode() for name in taken}):
            end_session(session)
        for name in taken:
            self._remove(name)

    def clear(self, end_session: Callable[[str], None]) -> None:
        """For who offers nothing: what whoever had the turn before offered is taken back, and nothing is left."""
        if existing(PlainTree(self._mount), self._place) is not None:
            self.take_back(end_session)
            self.end()

    def end(self) -> None:
        """Nothing is offered any more, and nothing is left."""
        remove_all(PlainTree(self._mount), self._place)

    def _names(self) -> list[bytes]:
        with closing(self._mount.scandir(self._place)) as entries:
            return [entry.name for entry in entries]

    def _remove(self, name: bytes) -> None:
        try:
            self._mount.rmdir(joined(self._place, name))
        except NotFoundError as error:
            if error.errno != errno.ENOENT:
                raise

    def _offered(self, number: str) -> bytes:
        return joined(self._place, number.encode())

    def _taken(self, number: str, session: str) -> bytes:
        return joined(self._place, f"{number}.{session}".encode())
