"""A manager's gating, whole, in memory: commands, what is carried out, health."""

import errno
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mgr_fscrypt.control import Result
from mgr_fscrypt.control.audience import Audience, ClientPage
from mgr_fscrypt.control.evictions import Evictions
from mgr_fscrypt.control.evictor import Evictor
from mgr_fscrypt.control.gate_answers import GatePage
from mgr_fscrypt.control.gatekeeper import Gatekeeper
from mgr_fscrypt.control.gates import Gates, Wanted
from mgr_fscrypt.control.observing import Observer
from mgr_fscrypt.control.results import Part
from mgr_fscrypt.control.rungs import Rungs
from mgr_fscrypt.store import EvictionTable, GateTable, LocalDatabase, Place, Subtree, SubtreeTable
from qa.fakes.servers import FakeServers, session

EVERYWHERE = "allow rw tag cephfs data=cephfs"
KEY = "00112233445566778899aabbccddeeff"
ISOLATE = Wanted("cephfs", "/vault", "isolate", namespace="fscrypt-1", admit="client.friend")
EXCLUDE = Wanted(
    "cephfs", "/vault", "exclude", namespace="fscrypt-1", admit="client.friend", open_paths="/home"
)
OBSERVE = Wanted("cephfs", "/vault", "observe")
REQUIRE = Wanted("cephfs", "/", "require")


@dataclass
class World:
    """A manager with its surroundings, whose time stands still until it is moved."""

    database: LocalDatabase
    servers: FakeServers = field(default_factory=FakeServers)
    now: float = 10_000.0
    reachable: bool = True
    acts: list[tuple[str, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.subtrees, store = SubtreeTable(self.database), GateTable(self.database)
        self.observer = Observer(self.servers, date=lambda: self.now, log=logging.getLogger("test"))
        parts: Any = {
            "subtrees": self.subtrees,
            "cluster": self.servers,
            "census": self.observer.census,
            "clock": lambda: self.now,
        }
        self.servers.date = lambda: self.now
        self.gates = Gates(store=store, **parts)
        self.evictions = Evictions(store=EvictionTable(self.database), gates=store, **parts)
        self.rungs = Rungs(self.gates, self.evictions)
        self.audience = Audience(gates=store, ended=self.evictions.ended, **parts)
        doing: Any = {
            "servers": self.servers,
            "answer": lambda work: work() if self.reachable else Result.failed(errno.EAGAIN, "no database"),
            "recorded": self.record,
            "log": logging.getLogger("test"),
        }
        self.keeper = Gatekeeper(gates=self.gates, audience=self.audience, **doing)
        self.evictor = Evictor(
            evictions=self.evictions, clock=lambda: self.now, pause=self.pass_time, **doing
        )

    def record(self, command: str, about: Sequence[str], work: Callable[[], Result]) -> Result:
        result = work()
        for part in result.parts or (Part(tuple(about), result),):
            self.acts.append((command, *part.about, part.result.status))
        return result

    def register(self, path: str, mode: str = "engine") -> None:
        inode = 1000 + len(self.subtrees.page(None, Place(), 1000).subtrees)
        self.subtrees.put(
            Subtree(1, path, "cephfs", inode, mode, "AES-256-XTS", "AES-256-CBC-CTS", 32, KEY, 1)
        )

    def serve_another(self) -> None:
        """A second file system, with a subtree."""
        self.servers.required["other"] = set()
        self.servers.listed["other", 0] = []
        self.subtrees.put(
            Subtree(2, "/o", "other", 77, "engine", "AES-256-XTS", "AES-256-CBC-CTS", 32, KEY, 1)
        )

    def succeed(self) -> "World":
        """Another manager, which has learnt nothing yet."""
        return World(self.database, self.servers, self.now)

    def settle(self) -> None:
        """Look and act until nothing changes."""
        self.observer.look()
        while self.act():
            self.observer.look()

    def act(self) -> bool:
        """As the module does it: caps before sessions."""
        changed = self.keeper.act()
        return self.evictor.act() or changed

    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def state(self, path: str = "/vault") -> str:
        page = self.gates.show("cephfs", path).answer
        assert isinstance(page, GatePage)
        return page.gates[0].state

    def osd(self, entity: str) -> str:
        return self.servers.caps[entity]["osd"]

    def clients(self) -> dict[int, str]:
        page = self.audience.listing().answer
        assert isinstance(page, ClientPage)
        return {line.session: line.verdict for line in page.clients}


def furnished(database: LocalDatabase) -> World:
    """A subtree /vault, an entity that may get there, one that may not, and a session of each kind."""
    made = World(database)
    made.servers.caps = {
        "client.admin": {"mon": "allow *", "mds": "allow *", "osd": "allow *"},
        "client.stray": {"mon": "allow r", "mds": "allow rw", "osd": EVERYWHERE},
        "client.friend": {"mon": "allow r", "mds": "allow rw", "osd": EVERYWHERE},
        "osd.0": {"mon": "allow profile osd", "osd": "allow *"},
    }
    made.servers.listed["cephfs", 0] = [
        session(1),
        session(2, "friend", fscrypt_engine="1"),
        session(3, kernel_version="6.12.48", root="/plain"),
        session(999),
    ]
    made.register("/vault")
    made.observer.look()
    return made
