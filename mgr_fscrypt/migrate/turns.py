"""Whose turn it is: a migration is the work of one process at a time, and of those that copy for it."""

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..ceph.errors import LeaseHeldError, LeaseLostError, NotFoundError
from ..ceph.interface import Kind, Lease, Mount, Stat
from ..engine import BusyError, RefusedError
from ..engine.paths import components, joined
from .places import Places
from .record import no_migration

_LEASE_TIMEOUT = 10.0
"""Seconds that another process is waited for."""


@dataclass(frozen=True)
class Turn:
    """The turn of a process, as those know it that copy for it.

    Attributes:
        path: of what is migrated.
        ino: the number of the hidden directory, whose lease it is.
        token: of the lease's holder.
        fenced: nobody can reach the tree, so nothing waits for a window.
    """

    path: bytes
    ino: int
    token: str
    fenced: bool = False


class Turns:
    """This process's turns at one migration, by the lease of the hidden directory."""

    def __init__(self, mount: Mount, places: Places) -> None:
        self._mount = mount
        self._places = places
        self._lease: Lease | None = None
        self._leased = 0

    @contextmanager
    def alone(self) -> Iterator[None]:
        """It is this process's turn. Whether the hidden directory is still there is looked at first of all (`require`):
        its last holder may have ended the migration while this one waited.

        Raises:
            NotFoundError: there is no migration.
            RefusedError: the hidden directory is not ours, or others may put something in its place.
            BusyError: another process works at it.
        """
        places = self._places
        try:
            found = self._mount.stat(places.hidden)
        except NotFoundError as error:
            raise no_migration(places.path) from error
        self._require_ours(found)
        with self._mount.lease(found.ino) as lease:
            try:
                lease.acquire(_LEASE_TIMEOUT)
            except LeaseHeldError as error:
                raise BusyError(
                    errno.EBUSY,
                    "another process works at this migration",
                    places.path,
                    remedy="Let it end, or stop it. Nothing was changed.",
                ) from error
            self._lease, self._leased = lease, found.ino
            try:
                yield
            finally:
                self._lease = None

    def current(self, *, fenced: bool) -> Turn | None:
        """This process's turn, for those that copy for it."""
        if self._lease is None:
            return None
        return Turn(self._places.path, self._leased, self._lease.token, fenced)

    def require(self) -> None:
        """Make sure that it is still this process's turn.

        Raises:
            LeaseLostError: this process slept, and another one may have taken over: it must not go on.
            BusyError: the hidden directory is another one than the one whose lease we have.
        """
        if self._lease is None:
            raise ValueError("a migration is changed by the holder of its lease only")
        self._lease.renew()
        if self._places.number(self._places.hidden) != self._leased:
            raise BusyError(
                errno.EBUSY,
                f"{self._places.hidden.decode(errors='replace')} was removed, replaced or moved meanwhile",
                self._places.path,
                remedy="See `migrate status`, and run the same again.",
            )

    def require_of(self, turn: Turn) -> None:
        """For a process that copies for another one.

        Raises:
            LeaseLostError: it is not the other one's turn any more, and somebody else may have taken over.
        """
        there = self._places.number(self._places.hidden)
        if there != turn.ino or self._mount.lease(turn.ino).holder() != turn.token:
            raise LeaseLostError(
                errno.ESTALE, "the process that this one copies for has lost its turn", self._places.path
            )

    def renamed(self, *moves: tuple[bytes, bytes]) -> float:
        """Renames, one after the other; the seconds since the first. Each is made in one's turn: the look at the lease
        costs nothing, and whoever slept between two renames leaves the rest to whoever has taken over."""
        begun = time.monotonic()
        for source, target in moves:
            self.require()
            self._mount.rename(source, target)
        gap = time.monotonic() - begun
        self._mount.sync()
        return gap

    def _require_ours(self, found: Stat) -> None:
        """What others made, or can put something else in the place of, is not trusted: what is removed is found by its
        path."""
        path = self._places.path
        if found.kind is not Kind.DIRECTORY or found.uid != os.geteuid():
            raise RefusedError(
                errno.EPERM,
                f"{self._places.hidden.decode(errors='replace')} is no directory of user {os.geteuid()}",
                path,
                remedy="Look at it, and move it away; or go on as the user who began.",
            )
        above = b"/"
        for name in components(path)[:-1]:
            above = joined(above, name)
            if self._mount.stat(above).kind is Kind.SYMLINK:
                raise RefusedError(
                    errno.ELOOP,
                    f"{above.decode(errors='replace')} is a symbolic link",
                    path,
                    remedy="Give the path without links.",
                )
        mode = self._mount.stat(above).mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise RefusedError(
                errno.EPERM,
                f"everybody may rename what lies in {above.decode(errors='replace')}",
                path,
                remedy="Take that away while it is migrated: chmod o-w, or +t.",
            )
