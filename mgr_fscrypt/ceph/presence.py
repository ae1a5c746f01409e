"""Signs of life: which engine clients may hold others up, and which of them have died (doc/engine-xattr.md, Leases).

A client that looks at files, or writes, keeps a lock of its own, like a lease, on an object named by the uuid of
its session, and has an entry in the omap of one object, `REGISTRY`. Both lie in the namespace of the leases. An entry
whose lock nobody holds is a client that died or slept for too long: whoever is held up ends its session, and so goes
on.
"""

import errno
import logging
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import rados

from .cluster import translated
from .errors import CephError, LeaseHeldError, NotFoundError
from .leases import LOCK, Keeper, ObjectLease
from .locks import EVEN_WHEN_FULL, holders

REGISTRY = "clients"
"""The object whose omap has `%x` of a session's uuid -> the cephx entity."""
STUCK = 1.0
"""Seconds after which a call that has not returned is looked after."""
INTERVAL = 0.25
"""Seconds between two looks, while one is stuck."""
EVIDENCE = 1.5
"""Seconds for which a lock's object must have answered before its absence counts: after an outage of an OSD the living
need a renewal (half a second) to be seen again."""
_NUDGES = 5.0
"""Seconds for which a call that is still stuck after a session was ended is helped on. The MDS has recovered the sizes
of the dead client's files then, and writes them to its journal with its next tick, up to 5 s later, or with the next
session that is opened (measured: stat 5.5 and 7.5 s without, 3.4 s with it). To ask for the end of a session that
never was opens one."""
_IDLE_INTERVAL = 0.5
_PROMPT = 0.5
_PAGE = 1000
_BURIALS_AT_ONCE = 4
_log = logging.getLogger(__name__)


def new_uuid() -> str:
    """For a session."""
    return str(uuid.uuid4())


class Registry:
    """The clients that may hold others up, and whether they live; `ioctx` belongs to the caller."""

    def __init__(self, ioctx: "rados.Ioctx") -> None:
        self._ioctx = ioctx

    def add(self, session: str, entity: str) -> None:
        """Enter a client."""
        with translated("enter the client"), rados.WriteOpCtx() as step:
            self._ioctx.set_omap(step, (_key(session),), (entity.encode(),))
            self._ioctx.operate_write_op(step, REGISTRY, flags=EVEN_WHEN_FULL)

    def remove(self, session: str) -> None:
        """Forget a client; nothing happens when it is not there."""
        try:
            with translated("forget the client"), rados.WriteOpCtx() as step:
                self._ioctx.remove_omap_keys(step, (_key(session),))
                self._ioctx.operate_write_op(step, REGISTRY, flags=EVEN_WHEN_FULL)
        except NotFoundError:
            pass  # nobody ever was

    def clients(self) -> dict[str, str]:
        """Uuid -> entity, of all."""
        found: dict[str, str] = {}
        after = ""
        while True:
            try:
                with translated("list clients"), rados.ReadOpCtx() as step:
                    entries, _ = self._ioctx.get_omap_vals(step, after, "", _PAGE)
                    self._ioctx.operate_read_op(step, REGISTRY)
                    page = dict(entries)
            except NotFoundError:
                return found
            found |= {_session(key): bytes(entity).decode() for key, entity in page.items()}
            if len(page) < _PAGE:
                return found
            after = max(page)

    def lives(self, session: str) -> bool:
        """Does somebody hold that client's lock?"""
        try:
            return bool(holders(self._ioctx, _key(session), LOCK))
        except NotFoundError:
            return False


class Presence:
    """That of one mount. It costs nothing until it is `shown`."""

    def __init__(self, ioctx: "rados.Ioctx", session: str, entity: str, keeper: Keeper) -> None:
        self._registry = Registry(ioctx)
        self._lock = lock_of(ioctx, session, entity, keeper)
        self._keeper = keeper
        self._session = session
        self._entity = entity
        self._turn = threading.Lock()
        self._asked = False
        self._shown = False

    def show(self) -> None:
        """Be known from now on. Where the entity may not, it is only said in the log."""
        if not self._asked:
            with self._turn:
                self._introduce()

    def keep(self) -> None:
        """Take the lock again if it ran out and nobody buried us meanwhile: the lock is renewed by the keeper."""
        try:
            if not self._lock.held and self._session in self._registry.clients():
                self._lock.acquire(0)
        except CephError as error:
            _log.debug("not renewed: %s", error)  # the next turn tries again; others decide what it means

    def withdraw(self) -> None:
        """Be known no more: the client ends in good order."""
        with self._turn:
            self._asked = True
            self._keeper.remove(self)
            if not self._shown:
                return
            self._shown = False
            self._registry.remove(self._session)
            self._lock.release()

    def _introduce(self) -> None:
        if self._asked:
            return  # another thread was faster
        self._asked = True
        try:
            # the lock first: an entry without one is a dead client
            self._lock.acquire(0)
            self._registry.add(self._session, self._entity)
        except CephError as error:
            _log.info(
                "%s may not make itself known to other clients (%s): if this program is killed, they wait for up to a "
                "minute. Give the entity `allow rwx namespace=fscrypt.leases tag cephfs data=FS`",
                self._entity,
                error,
            )
            self._lock.release()
            return
        self._shown = True
        self._keeper.add(self)


def lock_of(ioctx: "rados.Ioctx", session: str, holder: str, keeper: Keeper) -> ObjectLease:
    """The lock of a client: a uuid is longer than any inode number."""
    return ObjectLease(ioctx, uuid.UUID(session).int, holder, keeper)


class Calls:
    """When the calls began that have not returned."""

    def __init__(self) -> None:
        self.begun: dict[int, float] = {}

    def stuck(self) -> bool:
        """Has one of them been under way for `STUCK` seconds?"""
        # tuple() of a dict's values is one step of the interpreter: the other threads change it meanwhile
        return time.monotonic() - min(tuple(self.begun.values()), default=float("inf")) > STUCK


@dataclass
class _Suspect:
    """What is known of another client: since when its object has answered without a pause."""

    since: float
    last: float


@dataclass(frozen=True)
class Remedies:
    """How a session is ended: of one's own entity, and of another. Each raises `CephError`."""

    reset: Callable[[str], None]
    evict: Callable[[str], None]


@dataclass
class Judge:
    """Says of which clients there is no doubt that they died.

    Attributes:
        registry: where they are listed.
        own: the session of the mount that asks.
        clock: seconds, monotonic.
    """

    registry: Any
    own: Callable[[], str]
    clock: Callable[[], float] = time.monotonic
    _suspects: dict[str, _Suspect] = field(default_factory=dict)

    def dead(self) -> dict[str, str]:
        """Uuid -> entity of those that have died for sure."""
        clients = {
            session: entity for session, entity in self.registry.clients().items() if session != self.own()
        }
        self._suspects = {session: known for session, known in self._suspects.items() if session in clients}
        return {session: entity for session, entity in clients.items() if self._is_dead(session)}

    def forget(self) -> None:
        """Start anew: nobody looked for a while."""
        self._suspects.clear()

    def _is_dead(self, session: str) -> bool:
        asked = self.clock()
        lives = self.registry.lives(session)
        now = self.clock()
        known = self._suspects.setdefault(session, _Suspect(now, now))
        if now - asked > _PROMPT:
            known.since = now
        known.last = now
        return not lives and now - known.since >= EVIDENCE


class Watcher:
    """Ends the sessions of dead clients while a call of this mount is stuck, in a thread of its own."""

    def __init__(
        self, ioctx: "rados.Ioctx", entity: str, own: Callable[[], str], calls: Calls, remedies: Remedies
    ) -> None:
        self._ioctx = ioctx
        self._entity = entity
        self._registry = Registry(ioctx)
        self._judge = Judge(self._registry, own)
        self._calls = calls
        self._remedies = remedies
        self._hopeless: set[str] = set()
        self._buried = 0.0
        self._refused = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="fscrypt-watcher", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop for good. When it returns, no session is being ended."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        interval = _IDLE_INTERVAL
        while not self._over.wait(interval):
            if self._refused:
                return
            if not self._calls.stuck():
                self._judge.forget()
                interval = _IDLE_INTERVAL
                continue
            interval = INTERVAL
            try:
                if self._look():
                    self._buried = time.monotonic()
                elif time.monotonic() - self._buried < _NUDGES:
                    self._remedies.reset(new_uuid())
            except CephError as error:
                self._judge.forget()
                self._refused = error.errno in (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP)
                _log.warning(
                    "a call has been stuck for more than %g s, and %s could not look whether a dead client is the "
                    "cause (%s)%s",
                    STUCK,
                    self._entity,
                    error,
                    ". It waits for up to a minute. Give the entity `allow rwx namespace=fscrypt.leases "
                    "tag cephfs data=FS`, and mount again" * self._refused,
                )

    def _look(self) -> bool:
        """End what died; was there anything?"""
        dead = {name: entity for name, entity in self._judge.dead().items() if name not in self._hopeless}
        if not dead:
            return False
        with ThreadPoolExecutor(_BURIALS_AT_ONCE, "fscrypt-watcher") as helpers:
            for failure in helpers.map(lambda each: self._bury(*each), dead.items()):
                if failure is not None:
                    raise failure
        return True

    def _bury(self, session: str, entity: str) -> CephError | None:
        """End its session and forget it, unless somebody else is at it. While we do, it cannot rise again: its lock is
        ours."""
        keeper = Keeper()
        lock = lock_of(self._ioctx, session, f"{self._entity} ends it", keeper)
        try:
            lock.acquire(0)
        except LeaseHeldError:
            return None
        except CephError as error:
            return error
        try:
            (self._remedies.reset if entity == self._entity else self._remedies.evict)(session)
            self._registry.remove(session)
        except CephError as error:
            self._hopeless.add(session)
            _log.warning(
                "session %s of %s, which holds us up, is dead, and %s could not end it (%s). It ends by itself within "
                "a minute, or at once by `ceph tell mds.RANK client evict client_metadata.uuid=%s`",
                session,
                entity,
                self._entity,
                error,
                session,
            )
        else:
            _log.warning("ended session %s of %s: the client died, and others waited for it", session, entity)
        finally:
            keeper.end()
            lock.release()
        return None


def _key(session: str) -> str:
    return f"{uuid.UUID(session).int:x}"


def _session(key: str) -> str:
    return str(uuid.UUID(int=int(key, 16)))
