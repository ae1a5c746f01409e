"""The API and the pages behind the login of Ceph's dashboard: who its users are here, and what their forms carry."""

import hmac
import secrets
from logging import Logger

from dashboard_ui.pages import Pages
from dashboard_ui.visit import Visit

from ..control import RefusalError
from ..control.access import Access
from ..control.persons import OF_THE_DASHBOARD
from ..store import Identity
from .answering import answered, asset, shown
from .arguments import decoded, fields
from .caller import ApiCaller
from .exchange import PAGES, Reply, Request, User, Visitor
from .headers import policy
from .interface import Api
from .limits import Limits
from .operations import READ
from .problems import ProblemError, parted
from .returning import way_back

_LOGIN = "/login"
"""Below the pages: tells who asks whether they are logged in by now (303) or not (401)."""


class Inside:
    """Answers requests that came by way of the dashboard; never raises.

    Args:
        api: the operations.
        access: who may do what.
        limits: how often they may ask, here and at the module's own server together.
        pages: for people.
        log: tells of each request, and of our own mistakes.
    """

    def __init__(self, *, api: Api, access: Access, limits: Limits, pages: Pages, log: Logger) -> None:
        self._api = api
        self._access = access
        self._limits = limits
        self._pages = pages
        self._log = log
        self._secret = secrets.token_bytes(32)

    def respond(self, request: Request, user: User | None, prefix: str) -> Reply:
        """Answer a request.

        Args:
            request: its path is below the prefix.
            user: None: nobody is logged in.
            prefix: where the dashboard hangs.
        """
        nonce = secrets.token_urlsafe(16)
        reply = answered(lambda: self._answered(request, user, prefix, nonce), self._log)
        who = "-" if user is None else user.name
        self._log.info("api: dashboard:%s %s %.200r: %d", who, request.method, request.path, reply.status)
        always = {
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": policy(nonce, "'self'"),
        }
        return Reply(reply.status, reply.body, always | dict(reply.headers))

    def _answered(self, request: Request, user: User | None, prefix: str, nonce: str) -> Reply:
        page = request.path.removeprefix(PAGES) if request.path.startswith(f"{PAGES}/") else None
        if page is not None and page.startswith("/assets/"):
            return asset(self._pages, page.removeprefix("/assets/"))
        if user is None and page is not None:
            # the dashboard's login leads to its own pages alone: this one waits for it, where the wanted one will be
            back = f"{prefix}{PAGES}/" if page == _LOGIN else f"{prefix}{way_back(request)}"
            return shown(self._pages.outside(base=f"{prefix}{PAGES}", login=f"{prefix}/#/login", back=back))
        if page == _LOGIN:
            return Reply(303, b"", {"Location": f"{prefix}{PAGES}/"})
        if user is None:
            raise ProblemError(401, "nobody is logged in to the dashboard", "log in there (POST /api/auth)")
        self._limits.count(OF_THE_DASHBOARD + user.name)
        visitor = Visitor(self._identity(user), request.address)
        csrf = hmac.digest(self._secret, user.token.encode("utf-8", "surrogatepass"), "sha256").hex()
        if page is None:
            reading = request.method in ("GET", "HEAD")
            if not reading and user.by_cookie:
                _check_form(csrf, request.headers.get("x-csrf-token", ""))
            return self._api.respond(visitor, request)
        form: dict[str, str] = {}
        if request.method == "POST":
            form = fields(request.body.decode("ascii", "replace"))
            _check_form(csrf, form.pop("csrf", ""))
        visit = Visit(
            method=request.method,
            path=decoded(page),
            query=fields(request.query),
            form=form,
            base=f"{prefix}{PAGES}",
            csrf=csrf,
            nonce=nonce,
            caller=ApiCaller(self._api, visitor),
            logout=None,
        )
        return shown(self._pages.respond(visit))

    def _identity(self, user: User) -> Identity:
        """What our own store says of a user; else they read, where the dashboard lets them. Raises `ProblemError`."""
        try:
            known = self._access.known("dashboard", user.name)
        except RefusalError as refusal:
            detail, step = parted(refusal.result.status)
            raise ProblemError(503, f"who you are cannot be looked up: {detail}", step) from refusal
        if known is not None:
            return known
        if not user.reads:
            raise ProblemError(
                403,
                f"the dashboard does not let {user.name} read what is CephFS's, and nobody gave them access here",
                "ask for `ceph fscrypt api user add`",
            )
        return Identity(OF_THE_DASHBOARD + user.name, "dashboard", user.name, READ, "", 0, 0)


def _check_form(csrf: str, token: str) -> None:
    if not hmac.compare_digest(csrf.encode(), token.encode("utf-8", "surrogatepass")):
        raise ProblemError(
            403,
            "the form is not of this session, nothing was changed",
            "load the page again, and send it anew; a program sends its token as Authorization, not as a cookie",
        )
