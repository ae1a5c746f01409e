"""Sessions of people who logged in to the module's own pages; in memory, so they end with the manager's turn."""

import hmac
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..control.access import digest
from ..control.sessions import SessionLine
from ..store import Identity

IDLE = 1800.0
"""Seconds without a request after which a session ends."""
LONGEST = 12 * 3600.0
"""Seconds after which it ends in any case."""
MOST = 1000
"""Sessions at a time: the one that was used longest ago makes room."""


@dataclass(frozen=True)
class Session:
    """One session.

    Args:
        identity: who it is, as they logged in.
        name: what a person ends it by.
        address: from where they did.
        csrf: what each of its forms carries.
        begun: when, by the clock of `Sessions`.
        used: when it was used last.
    """

    identity: Identity
    name: str
    address: str
    csrf: str
    begun: float
    used: float

    @property
    def ends(self) -> float:
        """When it is over, where it is not used any more."""
        return min(self.used + IDLE, self.begun + LONGEST)

    def has_form(self, token: str) -> bool:
        """Is this the token of one of its forms?"""
        return hmac.compare_digest(self.csrf.encode(), token.encode("utf-8", "surrogatepass"))


class Sessions:
    """All sessions, by the digests of their secrets.

    Args:
        clock: seconds that only grow.
        date: seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float], date: Callable[[], float]) -> None:
        self._clock = clock
        self._date = date
        # a look at a session notes its use, and must not bring back one that ends meanwhile
        self._lock = threading.Lock()
        self._open: dict[str, Session] = {}

    def begin(self, identity: Identity, address: str) -> str:
        """Begin a session; give its secret, which the browser keeps."""
        now = self._clock()
        secret = secrets.token_urlsafe(32)
        place = digest(secret)
        # a link begins one session, and has a name of its own
        name = identity.name if identity.kind == "link" else f"{identity.name}.{place[:8]}"
        begun = Session(identity, name, address, secrets.token_urlsafe(32), now, now)
        with self._lock:
            while len(self._open) >= MOST:
                self._open.pop(min(self._open, key=lambda each: self._open[each].used))
            self._open[place] = begun
        return secret

    def of(self, secret: str) -> Session | None:
        """Give a session, and note its use; None: there is none."""
        place = digest(secret)
        with self._lock:
            found = self._open.get(place)
            if found is None:
                return None
            now = self._clock()
            if now >= found.ends:
                self._open.pop(place)
                return None
            self._open[place] = replace(found, used=now)
            return found

    def end(self, secret: str) -> None:
        """End a session."""
        with self._lock:
            self._open.pop(digest(secret), None)

    def lines(self) -> Sequence[tuple[Identity, SessionLine]]:
        """See `control.sessions.Open`."""
        now = self._clock()
        # what only grows begins anywhere
        since = self._date() - now
        with self._lock:
            there = [each for each in self._open.values() if now < each.ends]
        return [(each.identity, _line(each, since)) for each in there]

    def end_named(self, name: str) -> bool:
        """See `control.sessions.Open`."""
        with self._lock:
            places = [place for place, each in self._open.items() if each.name == name]
            for place in places:
                del self._open[place]
        return bool(places)


def _line(session: Session, since: float) -> SessionLine:
    who = session.identity
    begun, used, ends = (int(since + each) for each in (session.begun, session.used, session.ends))
    return SessionLine(
        session.name, who.name, who.kind, who.role, who.tenant, session.address, begun, used, ends
    )
