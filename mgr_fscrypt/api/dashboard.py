"""The door inside of Ceph's dashboard, where both run in one interpreter (20.2; doc/facts.md M7).

ceph-mgr imports all modules before it starts any. The dashboard serves whatever controllers there are when it starts:
they are known to it by being classes.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import mgr_module

from .exchange import PAGES, Reply, Request, User
from .problems import ProblemError
from .sizes import received

Answering = Callable[[Request, User | None, str], Reply]


class DashboardDoor:
    """Hands requests of the dashboard to whoever answers them.

    Attributes:
        answering: None: the module does not run.
        there: whether there is a dashboard that has this door.
    """

    def __init__(self) -> None:
        self.answering: Answering | None = None
        # 18.2 has an interpreter for each module: what is imported there is no dashboard that anybody sees
        self.there = hasattr(mgr_module, "CLICommandBase") and _registered(self)

    def answer(self, request: Request, user: User | None, prefix: str) -> Reply:
        """Answer a request."""
        if self.answering is None:
            return ProblemError(
                503, "the module fscrypt does not run", "see `ceph mgr module ls`", {"Retry-After": "5"}
            ).reply()
        return self.answering(request, user, prefix)


def _registered(door: DashboardDoor) -> bool:
    """Make the controllers, which the dashboard finds; False: it is not installed."""
    try:
        import cherrypy
        from dashboard import mgr
        from dashboard.controllers import BaseController, Proxy, Router
        from dashboard.security import Permission, Scope
        from dashboard.services.auth import AuthManager, JwtManager
    except ImportError:
        return False

    def user() -> User | None:
        """Who is logged in; as `tools.authenticate` finds it, which would answer in its own way."""
        token = JwtManager.get_token(cherrypy.request)
        try:
            found = JwtManager.get_user(token) if token else None
        except (ValueError, LookupError, TypeError):
            # what is no token at all
            found = None
        if found is None:
            return None
        reads = AuthManager.authorize(found.username, Scope.CEPHFS, [Permission.READ])
        return User(found.username, reads, token, "token" in cherrypy.request.cookie)

    def replied() -> Reply:
        request = cherrypy.request
        # as it was sent: the dispatcher has taken the escapes out of what it gives
        address = request.request_line.split()[1]
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            body = received(address, headers, request.body.fp.read)
        except ProblemError as problem:
            return problem.reply()
        prefix = str(mgr.get_module_option("url_prefix", "") or "").rstrip("/")
        return door.answer(
            Request(
                method=request.method,
                path=address.partition("?")[0].removeprefix(prefix),
                query=request.query_string,
                headers=headers,
                body=body,
                address=request.remote.ip,
            ),
            user(),
            prefix,
        )

    def answered() -> bytes:
        reply = replied()
        cherrypy.response.status = reply.status
        cherrypy.response.headers.update(reply.headers)
        return reply.body

    # bodies are read by us: neither parsed, nor taken for a form's fields
    raw: dict[str, Any] = {"request.body.processors": {}, "tools.json_in.on": False}

    @Router("/fscrypt", base_url="/api", secure=False)
    class FscryptApi(BaseController):  # type: ignore[misc] # the dashboard's
        """The operations."""

        _cp_config: ClassVar = dict(raw)

        @Proxy()  # type: ignore[untyped-decorator] # the dashboard's
        def operation(self, /, **_fields: object) -> bytes:
            """Answer any of them."""
            return answered()

    @Router(PAGES, secure=False)
    class FscryptPages(BaseController):  # type: ignore[misc] # the dashboard's
        """The pages."""

        _cp_config: ClassVar = dict(raw)

        @Proxy()  # type: ignore[untyped-decorator] # the dashboard's
        def page(self, /, **_fields: object) -> bytes:
            """Answer any of them."""
            return answered()

    return True
