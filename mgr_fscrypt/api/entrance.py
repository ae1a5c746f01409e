"""Who a request is from: a token, a client certificate, or the cookie of a session."""

import errno
from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from logging import Logger

from ..control import RefusalError, Result
from ..control.access import LINK_SECONDS, Access, digest
from ..store import Identity
from .exchange import Request, Visitor
from .limits import Limits
from .problems import ProblemError, parted
from .sessions import Session, Sessions

COOKIE = "__Host-fscrypt"
"""A name that browsers only take over TLS, for this host and all of its paths."""
_STEP = "log in, or send a token that `ceph fscrypt api token create` made as Authorization: Bearer TOKEN"


class Entrance:
    """Lets requests in.

    Args:
        access: who may use the API.
        sessions: who has logged in.
        limits: how often.
        recorded: has the audit tell of those who were shut out.
        log: tells of attempts that failed.
    """

    def __init__(
        self,
        *,
        access: Access,
        sessions: Sessions,
        limits: Limits,
        recorded: Callable[[str, str, Result], object],
        log: Logger,
    ) -> None:
        self._access = access
        self._sessions = sessions
        self._limits = limits
        self._recorded = recorded
        self._log = log

    def visitor(self, request: Request) -> tuple[Visitor, Session | None]:
        """Who it is; with a session where it is known by that alone.

        Raises:
            ProblemError: nobody who may come in, or not now.
        """
        session = None
        scheme, _, said = request.headers.get("authorization", "").partition(" ")
        if scheme:
            if scheme.lower() != "bearer":
                raise _unknown("Authorization is no Bearer token")
            identity = self.proven(request, "token", digest(said.strip()))
        elif request.subject and (found := self._known("certificate", request.subject)) is not None:
            identity = found
        else:
            session = self.session(request)
            if session is None:
                raise _unknown("nobody is logged in")
            identity = session.identity
        self._limits.count(identity.name)
        return Visitor(identity, request.address), session

    def proven(self, request: Request, kind: str, proof: str) -> Identity:
        """Whom something proves that was sent. Raises `ProblemError`."""
        self._check_shut_out(request.address)
        found = self._known(kind, proof)
        if found is None:
            self._failed(request.address)
            raise _unknown("this is no token, or it is not good any more")
        return found

    def followed(self, request: Request, secret: str) -> Identity:
        """Whom a one-time link logs in. Raises `ProblemError`."""
        self._check_shut_out(request.address)
        found = self._access.followed(secret)
        if found is None:
            self._failed(request.address)
            raise _unknown(f"this link was used, or is older than {LINK_SECONDS / 60:g} minutes")
        return found

    def session(self, request: Request) -> Session | None:
        """The session whose cookie was sent, as long as who began it has access. Raises `ProblemError`."""
        found = self._sessions.of(cookie(request.headers))
        if found is None or found.identity.kind == "link":
            return found
        # what was revoked, or is over, ends its sessions
        known = self._known(found.identity.kind, found.identity.proof)
        return found if known == found.identity else None

    def _known(self, kind: str, proof: str) -> Identity | None:
        try:
            return self._access.known(kind, proof)
        except RefusalError as refusal:
            detail, step = parted(refusal.result.status)
            raise ProblemError(
                503, f"who you are cannot be looked up: {detail}", step, {"Retry-After": "5"}
            ) from refusal

    def _check_shut_out(self, address: str) -> None:
        seconds = self._limits.shut_out(address)
        if seconds:
            raise ProblemError(
                429,
                "too many attempts from this address failed, nothing is looked at from there now",
                "wait as long as Retry-After says",
                {"Retry-After": str(int(seconds) + 1)},
            )

    def _failed(self, address: str) -> None:
        self._log.warning("api: an attempt to get in from %s failed", address)
        if self._limits.failed(address):
            said = Result.failed(errno.EACCES, "shut out: too many attempts to get in failed")
            self._recorded("api login", address, said)


def cookie(headers: Mapping[str, str], name: str = COOKIE) -> str:
    """What a cookie has, usually the secret of a session; empty: there is none."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _unknown(detail: str) -> ProblemError:
    return ProblemError(401, detail, _STEP, {"WWW-Authenticate": 'Bearer realm="fscrypt"'})
