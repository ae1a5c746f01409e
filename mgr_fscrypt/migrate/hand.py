"""One process that copies for another one, which has the turn: with a mount and keys of its own."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import ClassVar

from ..ceph.access import Access
from ..ceph.connect import connect
from ..ceph.interface import Mount
from ..ceph.presence import new_uuid
from ..engine import FileSystem, Keyring
from .ahead import Ahead
from .files import Copied
from .migration import Migration
from .pace import Limits
from .shards import Shard, carry_out
from .turns import Turn

_PATIENCE = 1.0
"""Seconds that small new files may wait for each other: nobody looks at the new tree."""
_LOOK = 0.25
"""Seconds between two looks at whose turn it is."""


class StoppedError(Exception):
    """The process that this one copies for wants no more of it."""


class Hand:
    """This process. `here` is what tasks find it by: an executor lets them be handed nothing.

    Args:
        keyring: with the keys of both sides.
        stopped: asked before each entry and each piece of a file whether to stop.
        new_session: gives the uuid of the next session.
    """

    here: ClassVar["Hand"]

    def __init__(
        self,
        access: Access,
        keyring: Keyring,
        stopped: Callable[[], bool],
        new_session: Callable[[], str] = new_uuid,
    ) -> None:
        self._access = access
        self._keyring = keyring
        self._stopped = stopped
        self._new_session = new_session
        self.session = ""
        self._opened = ExitStack()
        self._mount: Mount | None = None
        self._migration: Migration | None = None
        self._turn: Turn | None = None
        self._looked = 0.0
        self._ahead = (Ahead(), Ahead())

    def mounted(self, turn: Turn) -> Mount:
        """The mount for the work of this turn: the one that is there, or a new one, in a new `session`.

        Raises:
            CephError: the file system cannot be mounted.
        """
        if self._mount is None or self._turn != turn:
            self.let_go()
            self.session = self._new_session()
            self._mount = self._opened.enter_context(connect(self._access, self.session))
            files = self._opened.enter_context(FileSystem(self._mount, self._keyring, patience=_PATIENCE))
            self._migration = Migration(self._mount, files, turn.path)
            self._turn = turn
            self._ahead = (Ahead(), Ahead())
        return self._mount

    def carry_out(self, shard: Shard, limits: Limits) -> Copied:
        """With what is `mounted`: raises as `shards.carry_out`, and `LeaseLostError` when the turn is over."""
        if self._migration is None:
            raise ValueError("nothing is mounted")
        self._looked = 0.0
        self._go_on()
        sides = self._migration.sides(self._migration.required_record())
        # the process that walks has listed the source, and this one has not
        of_source, of_copy = self._ahead
        of_source.look(sides.source, sides.top, (each.below for each in shard.entries))
        of_copy.look(sides.new, sides.new_top, (each.below for each in shard.entries if not each.fresh))
        return carry_out(sides, self._go_on, shard, limits)

    def require_turn(self) -> None:
        """Raises `LeaseLostError` where the turn is over that this process is mounted for, and `CephError`."""
        if self._migration is not None and self._turn is not None:
            self._migration.require_turn_of(self._turn)

    def let_go(self) -> None:
        """Unmount."""
        self._mount = self._migration = self._turn = None
        self._opened.close()

    def _go_on(self) -> None:
        if self._stopped():
            raise StoppedError
        now = time.monotonic()
        if now - self._looked > _LOOK:
            self.require_turn()
            self._looked = now
