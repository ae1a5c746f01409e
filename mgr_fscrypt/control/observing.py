"""What was learnt of clients and entities, by asking the servers now and then in a thread of its own.

A server may not answer for long, and a command must not wait for it: commands answer from the last census, and say how
old it is.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from logging import Logger
from typing import Any, Protocol

from .caps import FileSystemPools
from .clients import Client, client_of
from .cluster import FileSystem

INTERVAL = 20.0
"""Seconds between two looks."""
OLD = 5.0
"""Seconds of age from which on a census is worth a look when somebody asks."""

Caps = Mapping[str, str]
"""An entity's caps, by service."""


class SilentError(Exception):
    """A server did not answer in time, or refused."""


@dataclass(frozen=True)
class Served:
    """A file system as the maps of the monitors have it.

    Args:
        file_system: its number and name.
        data_pools: the names of its pools for data.
        ranks: the active ranks of its MDSs.
        required: the features that clients must have.
    """

    file_system: FileSystem
    data_pools: AbstractSet[str]
    ranks: Sequence[int]
    required: AbstractSet[str]

    @property
    def pools(self) -> FileSystemPools:
        """As caps name it."""
        return FileSystemPools(self.file_system.name, self.data_pools)


class Servers(Protocol):
    """The cluster's servers. What may raise `SilentError` takes its time."""

    def served(self) -> Sequence[Served]:
        """Give all file systems. Silent, too, while a change that was asked for may still come about."""
        ...

    def manager_addresses(self) -> AbstractSet[str]:
        """Give the addresses of ceph-mgr's own clients."""
        ...

    def sessions(self, file_system: str, rank: int) -> Sequence[Mapping[str, Any]]:
        """Ask one MDS for its sessions."""
        ...

    def namespace_of(self, file_system: str, inode: int) -> str | None:
        """Ask the MDSs which RADOS namespace new files of a directory get.

        None: no MDS has the directory in its cache, or it has no layout of its own.
        """
        ...

    def entities(self) -> Mapping[str, Caps]:
        """Ask the monitors for the caps of all entities."""
        ...

    def caps_of(self, entity: str) -> Caps:
        """Ask the monitors for those of one."""
        ...

    def set_caps(self, entity: str, caps: Caps) -> None:
        """Have the monitors give an entity these caps, in place of all that it had."""
        ...

    def require_feature(self, file_system: str, feature: str, *, required: bool) -> None:
        """Have a file system require a feature of its clients, or no longer."""
        ...

    def holders(self, file_system: str, inode: int) -> AbstractSet[int]:
        """Ask the MDSs that have a directory in their cache for the sessions that hold capabilities on it."""
        ...

    def blocklisted(self) -> Mapping[str, float]:
        """Ask the monitors for the addresses that are refused, each with the end of that in seconds since the epoch."""
        ...

    def block(self, address: str, seconds: float) -> None:
        """Have an address refused for so long from now on. It returns when a map of the OSDs says so."""
        ...

    def lift(self, address: str) -> None:
        """Have an address refused no longer; one that is not is no error."""
        ...

    def evict(self, file_system: str, ranks: Sequence[int], session: int) -> None:
        """Have the MDSs end a session; one that is not there is no error. It returns when they have."""
        ...

    def epoch(self) -> int:
        """Ask the monitors for the number of the newest map of the OSDs."""
        ...

    def osds_behind(self, epoch: int) -> Sequence[int]:
        """Ask all OSDs that are up for the map that they have: those that have none so new."""
        ...


@dataclass(frozen=True)
class Sight:
    """One file system as it was seen.

    Args:
        served: what the maps say.
        clients: its sessions, by number.
        unread: sessions that were not understood.
        asked: when all its MDSs had answered, in seconds since the epoch; 0: never.
        current: whether they answered at the last look.
    """

    served: Served
    clients: tuple[Client, ...]
    unread: int
    asked: float
    current: bool = True

    @property
    def file_system(self) -> FileSystem:
        """Which one."""
        return self.served.file_system


@dataclass(frozen=True)
class Census:
    """All that was learnt.

    Args:
        sights: by the file systems' numbers.
        entities: caps of all entities.
        asked: when the monitors told those, in seconds since the epoch; 0: never.
        trouble: what did not answer at the last look; empty: all did.
        current: whether the monitors answered at the last look: only then may caps be changed by it.
    """

    sights: Mapping[int, Sight] = field(default_factory=dict)
    entities: Mapping[str, Caps] = field(default_factory=dict)
    asked: float = 0
    trouble: str = ""
    current: bool = False


class Observer:
    """Keeps a census. `run` in a thread of its own; all else answers at once, to any thread.

    Args:
        servers: who is asked.
        date: seconds since the epoch.
        log: where mistakes of ours are told.
    """

    def __init__(self, servers: Servers, *, date: Callable[[], float], log: Logger) -> None:
        self._servers = servers
        self._date = date
        self.log = log
        self._census = Census()
        self._stopping = False
        self._running = False
        self._due = threading.Event()
        self._looked = threading.Condition()

    def census(self) -> Census:
        """What was learnt last."""
        return self._census

    def run(self, watched: Callable[[], bool], act: Callable[[], bool]) -> None:
        """Do one `round` after the other until `stop`."""
        self._running = True
        while not self._stopping:
            try:
                self.round(watched, act)
            except Exception as error:
                # the next look may go well; without one, all that is answered would grow old and nobody would know why
                self.log.exception("a look at clients and gates failed by a mistake of this module")
                trouble = f"internal error ({type(error).__name__}), see the manager's log"
                self._census = replace(self._census, trouble=trouble, current=False)
            self._due.wait(INTERVAL)

    def round(self, watched: Callable[[], bool], act: Callable[[], bool]) -> None:
        """Look and act, if that is due.

        Args:
            watched: is there anything to look for? If not, a look is taken only when it is asked for: servers are
                spared, most of all 18.2's manager, which bears only so many commands (doc/facts.md M1).
            act: tells whether it changed something, which is looked at again at once.
        """
        asked = self._due.is_set()
        self._due.clear()
        if asked or watched():
            self.look()
            if act():
                self.hurry()

    def hurry(self) -> None:
        """Have the next look begin now; returns at once."""
        self._due.set()

    def refresh(self) -> None:
        """Have the next look begin now if the last one is old; returns at once."""
        if self._date() - self._census.asked > OLD:
            self.hurry()

    def fresh(self, patience: float) -> Census:
        """What was learnt last; if it is old, that of a look that is asked for now, if it ends in so many seconds."""
        before = self._census
        if self._running and self._date() - before.asked > OLD:
            self.hurry()
            with self._looked:
                self._looked.wait_for(lambda: self._census is not before, patience)
        return self._census

    def stop(self) -> None:
        """Have `run` end; returns at once."""
        self._stopping = True
        self._due.set()

    def look(self) -> None:
        """Look once. What does not answer keeps the place that it had."""
        troubles: list[str] = []
        before = self._census
        sights, entities, asked, current = before.sights, before.entities, before.asked, False
        try:
            served = self._servers.served()
            sights = dict(self._sights(served, before, troubles))
            entities, asked, current = self._servers.entities(), self._date(), True
        except SilentError as error:
            troubles.append(str(error))
        with self._looked:
            self._census = Census(sights, entities, asked, "; ".join(troubles), current)
            self._looked.notify_all()

    def _sights(
        self, served: Sequence[Served], before: Census, troubles: list[str]
    ) -> Iterator[tuple[int, Sight]]:
        for each in served:
            number = each.file_system.fscid
            try:
                yield number, self._seen(each)
            except SilentError as error:
                troubles.append(str(error))
                # one that was never seen is there all the same: its gates stay, and caps that name it
                known = before.sights.get(number, Sight(each, (), 0, 0.0))
                yield number, replace(known, served=each, current=False)

    def _seen(self, served: Served) -> Sight:
        managers = self._servers.manager_addresses()
        clients, unread = {}, 0
        for rank in served.ranks:
            # before the question: no session is taken to be newer than a change of caps that it has not seen
            now = self._date()
            for each in self._servers.sessions(served.file_system.name, rank):
                try:
                    client = client_of(each, managers, now)
                except (KeyError, TypeError, ValueError, AttributeError):
                    # one that is just being closed has no metadata
                    unread += 1
                else:
                    clients[client.number] = client
        return Sight(
            served, tuple(client for _, client in sorted(clients.items())), unread, asked=self._date()
        )
