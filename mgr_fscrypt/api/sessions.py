"""Sessions of people who logged in to the module's own pages; in memory, so they end with the manager's turn."""

import hmac
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from ..control.access import digest
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
        csrf: what each of its forms carries.
        begun: when, by the clock of `Sessions`.
        used: when it was used last.
    """

    identity: Identity
    csrf: str
    begun: float
    used: float

    def has_form(self, token: str) -> bool:
        """Is this the token of one of its forms?"""
        return hmac.compare_digest(self.csrf.encode(), token.encode("utf-8", "surrogatepass"))


class Sessions:
    """All sessions, by the digests of their secrets.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # a look at a session notes its use, and must not bring back one that ends meanwhile
        self._lock = threading.Lock()
        self._open: dict[str, Session] = {}

    def begin(self, identity: Identity) -> str:
        """Begin a session; give its secret, which the browser keeps."""
        now = self._clock()
        secret = secrets.token_urlsafe(32)
        with self._lock:
            while len(self._open) >= MOST:
                self._open.pop(min(self._open, key=lambda each: self._open[each].used))
            self._open[digest(secret)] = Session(identity, secrets.token_urlsafe(32), now, now)
        return secret

    def of(self, secret: str) -> Session | None:
        """Give a session, and note its use; None: there is none."""
        place = digest(secret)
        with self._lock:
            found = self._open.get(place)
            if found is None:
                return None
            now = self._clock()
            if now - found.used > IDLE or now - found.begun > LONGEST:
                self._open.pop(place)
                return None
            self._open[place] = replace(found, used=now)
            return found

    def end(self, secret: str) -> None:
        """End a session."""
        with self._lock:
            self._open.pop(digest(secret), None)
