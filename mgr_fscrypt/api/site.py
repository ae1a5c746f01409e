"""All that the module's own server has: the API, the pages, the way in and out."""

import re
import secrets
from collections.abc import Callable
from logging import Logger
from urllib.parse import quote

from dashboard_ui.pages import Pages
from dashboard_ui.visit import Visit

from ..control import Result
from ..control.access import digest
from .answering import answered, asset, shown
from .arguments import decoded, fields
from .caller import ApiCaller
from .entrance import COOKIE, Entrance, cookie
from .exchange import ROOT, Reply, Request, Visitor
from .headers import strict
from .interface import Api
from .limits import Limits
from .problems import ProblemError, refusal
from .returning import way_back
from .sessions import Session, Sessions

_BEFORE_LOGIN = "__Host-fscrypt-login"
"""The cookie that the form of the login is tied to."""
_LOGOUT = "/logout"
_FORM = "application/x-www-form-urlencoded"
_BACK = re.compile(r"(?:/(?!/)[!-.0->@-\[\]-~]*)+(?:\?[!-\[\]-~]*)?")
"""A place of ours: nothing that a browser takes for another host, and nothing that is one without its dots."""
_OF_A_BROWSER = frozenset({"origin", "sec-fetch-site"})
"""Headers that browsers send with what changes something, and programs do not."""
_KEPT = "Path=/; Secure; HttpOnly; SameSite=Strict"


class Site:
    """Answers requests; never raises.

    Args:
        api: the operations.
        entrance: who comes in.
        sessions: of those who did.
        limits: how often they may ask.
        pages: for people.
        metrics: tells them where they are open to everybody.
        open_metrics: whether everybody may read it.
        openapi: the description of the API, as JSON.
        log: tells of each request, and of our own mistakes.
    """

    def __init__(
        self,
        *,
        api: Api,
        entrance: Entrance,
        sessions: Sessions,
        limits: Limits,
        pages: Pages,
        metrics: Callable[[], Result],
        open_metrics: bool,
        openapi: bytes,
        log: Logger,
    ) -> None:
        self._api = api
        self._entrance = entrance
        self._sessions = sessions
        self._limits = limits
        self._pages = pages
        self._metrics = metrics
        self._open_metrics = open_metrics
        self._openapi = openapi
        self._log = log

    def respond(self, request: Request) -> Reply:
        """Answer a request."""
        nonce = secrets.token_urlsafe(16)
        who = ["-"]
        reply = answered(lambda: self._answered(request, nonce, who), self._log)
        self._log.info("api: %s %s %.200r: %d", who[0], request.method, request.path, reply.status)
        return Reply(reply.status, reply.body, strict(nonce) | dict(reply.headers))

    def _answered(self, request: Request, nonce: str, who: list[str]) -> Reply:
        path = request.path
        if path.startswith("/assets/") and request.method in ("GET", "HEAD"):
            return asset(self._pages, path.removeprefix("/assets/"))
        if path == "/login":
            return self._login(request, nonce)
        if path == "/metrics" and self._open_metrics:
            return _measured(self._metrics())
        if path.startswith(("/api/", "/metrics", "/openapi.json")):
            visitor, session = self._entrance.visitor(request)
            who[0] = visitor.who
            if request.method not in ("GET", "HEAD"):
                _check_meant(visitor, session, request)
            return self._asked(visitor, request)
        return self._page(request, nonce, who)

    def _asked(self, visitor: Visitor, request: Request) -> Reply:
        reading = request.method in ("GET", "HEAD")
        if request.path == "/metrics" and reading:
            return _measured(self._api.call(visitor, "metrics", {}))
        if request.path in ("/openapi.json", f"{ROOT}/openapi.json") and reading:
            return Reply(200, self._openapi, {"Content-Type": "application/json"})
        if not request.path.startswith(f"{ROOT}/"):
            raise ProblemError(404, "there is nothing here", f"GET {ROOT}/openapi.json tells what there is")
        return self._api.respond(visitor, request)

    def _page(self, request: Request, nonce: str, who: list[str]) -> Reply:
        session = self._entrance.session(request)
        if session is None and request.path == _LOGOUT:
            # nobody wants to come back to it
            return Reply(303, b"", {"Location": "/login"})
        if session is None:
            return Reply(303, b"", {"Location": f"/login?back={quote(way_back(request), safe='')}"})
        visitor = Visitor(session.identity, request.address)
        who[0] = visitor.who
        self._limits.count(session.identity.name)
        form: dict[str, str] = {}
        if request.method == "POST":
            form = _form(request)
            _check_form(session, form.pop("csrf", ""))
        elif request.method not in ("GET", "HEAD"):
            raise ProblemError(405, "this is a page", "use GET or POST", {"Allow": "GET, POST"})
        if request.path == _LOGOUT:
            return self._logout(request)
        visit = Visit(
            method=request.method,
            path=decoded(request.path),
            query=fields(request.query),
            form=form,
            base="",
            csrf=session.csrf,
            nonce=nonce,
            caller=ApiCaller(self._api, visitor),
        )
        return shown(self._pages.respond(visit))

    def _logout(self, request: Request) -> Reply:
        if request.method != "POST":
            raise ProblemError(405, "nobody is logged out by a link", "use POST", {"Allow": "POST"})
        self._sessions.end(cookie(request.headers))
        gone = f"{COOKIE}=; Max-Age=0; {_KEPT}"
        return Reply(303, b"", {"Location": "/login", "Set-Cookie": gone, "Clear-Site-Data": '"cache"'})

    def _login(self, request: Request, nonce: str) -> Reply:
        """The form, or what comes of it. It is tied to its browser by a cookie: nobody is logged in by a stranger."""
        if request.method not in ("GET", "HEAD", "POST"):
            raise ProblemError(405, "this is a page", "use GET or POST", {"Allow": "GET, POST"})
        if request.method != "POST":
            asked = fields(request.query)
            return self._form_of_login(nonce, link=asked.get("link", ""), back=_own(asked.get("back", "/")))
        form = _form(request)
        back = _own(form.get("back", "/"))
        tied = cookie(request.headers, _BEFORE_LOGIN)
        if not tied or digest(tied) != digest(form.get("csrf", "")):
            return self._form_of_login(
                nonce, trouble="this form is not of this browser, or too old; try once more", back=back
            )
        try:
            if form.get("link"):
                identity = self._entrance.followed(request, form["link"])
            else:
                identity = self._entrance.proven(request, "token", digest(form.get("token", "").strip()))
        except ProblemError as problem:
            return self._form_of_login(nonce, trouble=problem.detail, back=back)
        secret = self._sessions.begin(identity, request.address)
        self._log.info("api: %s logged in from %s", identity.name, request.address)
        return Reply(303, b"", {"Location": back, "Set-Cookie": f"{COOKIE}={secret}; {_KEPT}"})

    def _form_of_login(self, nonce: str, *, trouble: str = "", link: str = "", back: str = "/") -> Reply:
        tied = secrets.token_urlsafe(32)
        page = self._pages.login(base="", csrf=tied, nonce=nonce, trouble=trouble, link=link, back=back)
        reply = shown(page)
        return Reply(
            reply.status, reply.body, {**reply.headers, "Set-Cookie": f"{_BEFORE_LOGIN}={tied}; {_KEPT}"}
        )


def _measured(result: Result) -> Reply:
    if not result.success or result.answer is None:
        return refusal(result)
    text = result.answer.plain()
    return Reply(200, text.encode(), {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


def _check_meant(visitor: Visitor, session: Session | None, request: Request) -> None:
    """What a browser sends by itself, whatever page has it do so, changes nothing. Raises `ProblemError`."""
    if session is not None:
        _check_form(session, request.headers.get("x-csrf-token", ""))
    elif visitor.identity.kind == "certificate" and request.headers.keys() & _OF_A_BROWSER:
        raise ProblemError(
            403,
            "a browser shows a client certificate to whatever page asks for it, nothing was changed",
            "log in to the pages, or let a program do it",
        )


def _check_form(session: Session, token: str) -> None:
    if not session.has_form(token):
        raise ProblemError(
            403,
            "the form is not of this session, nothing was changed",
            "load the page again, and send it anew",
        )


def _form(request: Request) -> dict[str, str]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _FORM:
        raise ProblemError(415, "this is no form, nothing was changed", f"send Content-Type: {_FORM}")
    try:
        text = request.body.decode("ascii")
    except UnicodeError as error:
        raise ProblemError(400, "the form is not encoded, nothing was changed") from error
    return fields(text)


def _own(back: str) -> str:
    return back if _BACK.fullmatch(back) else "/"
