"""What an operation answers, whoever brings the request: a door, or a page."""

import errno
import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..control import RefusalError, Result
from ..control.acting import Acting
from ..control.client_lines import ClientLine
from ..control.cluster import FileSystemMap
from ..control.outages import Outage
from ..control.results import written
from ..door.desk import Desk
from .arguments import decoded, given
from .desk import ApiDesk
from .exchange import MEDIA_TYPE, ROOT, Reply, Request, Visitor
from .needs import needs, working
from .operations import BY_COMMAND, INCLUDED, OPERATIONS, Operation, Parameter, Value, parameters
from .problems import ProblemError, refusal
from .scope import bound
from .standing import standing
from .statuses import status_of

_LOCKS = 64
"""Of what changes: two file systems or jobs seldom share one."""
LARGEST_PAGE = 200_000
"""Bytes of an answer that is a page of a list: what is longer is asked again with fewer lines."""


AT_WORK = 4
"""Commands that the API has under way at a time: those of `ceph` never wait behind more."""
PATIENCE = 10.0
"""Seconds that a request waits for its turn."""
_CHANGED = "it is not any more as it was when it was read, nothing was changed"
_ANEW = "read it again, and decide anew"


@dataclass(frozen=True)
class Route:
    """An operation with its command's method."""

    operation: Operation
    command: Callable[..., Any]
    parameters: tuple[Parameter, ...]
    pieces: tuple[str, ...]

    def places(self, pieces: tuple[str, ...]) -> dict[str, str] | None:
        """What stands in the path where this one has names; None: it is another path."""
        if len(pieces) != len(self.pieces):
            return None
        found = {}
        for own, piece in zip(self.pieces, pieces, strict=True):
            if own.startswith("{"):
                found[own[1:-1]] = piece
            elif own != piece:
                return None
        return found


class Api:
    """All operations.

    Args:
        desk: the manager's, whose parts the commands use.
        cluster: the file systems that there are.
        commands: methods of the commands, by what they are called without `fscrypt`.
        acting: does things.
    """

    def __init__(
        self,
        *,
        desk: Desk,
        cluster: FileSystemMap,
        commands: Mapping[str, Callable[..., Any]],
        acting: Acting,
    ) -> None:
        self._desk = desk
        self._cluster = cluster
        self._acting = acting
        self._changing = tuple(threading.RLock() for _ in range(_LOCKS))
        self._turns = threading.BoundedSemaphore(AT_WORK)
        self._patience = PATIENCE
        self.routes: dict[str, Route] = {}
        for each in OPERATIONS:
            method = commands[each.command]
            pieces = tuple(each.path.strip("/").split("/"))
            self.routes[each.command] = Route(each, method, parameters(each, method), pieces)

    def may(self, visitor: Visitor, command: str) -> bool:
        """May they give a command?"""
        return BY_COMMAND[command].role in INCLUDED[visitor.identity.role]

    def call(self, visitor: Visitor, command: str, arguments: Mapping[str, Value]) -> Result:
        """Give a command, in their name."""
        acting = self._acting.known_as(visitor.who)
        route = self.routes[command]
        desk = ApiDesk(self._desk, self._cluster, acting, visitor)
        try:
            if not self.may(visitor, command):
                raise _too_little(visitor, route.operation)
            if visitor.identity.tenant:
                takes = frozenset(each.name for each in route.parameters)
                arguments = bound(
                    visitor.identity.tenant, route.operation, takes, arguments, desk, acting.asked
                )
        except RefusalError as error:
            refused = error.result
            # a page that refreshes itself may ask for what its reader may not see, for hours: the log has that
            if refused.code == errno.EAGAIN or not route.operation.changes:
                return refused
            return acting.done(command, (), lambda: refused)
        with self._alone(route.operation, arguments) as free:
            if not free:
                return _busy()
            if not self._turns.acquire(timeout=self._patience):
                return Result.failed(
                    errno.EAGAIN,
                    "too many others wait for an answer, nothing was changed; try again in some seconds",
                )
            try:
                result: Result = acting.asked_at_once(lambda: route.command(desk, **arguments))
            finally:
                self._turns.release()
        return result

    def tag(self, visitor: Visitor, command: str, arguments: Mapping[str, Value]) -> str:
        """What a form is held to by `call_if`; empty: its command changes no such thing, or nobody can tell now."""
        try:
            return self._held(visitor, self.routes[command], arguments)
        except RefusalError:
            return ""

    def call_if(self, visitor: Visitor, command: str, arguments: Mapping[str, Value], tag: str) -> Result:
        """Give a command where what it would change is as it was; else ESTALE."""
        route = self.routes[command]
        with self._alone(route.operation, arguments) as free:
            if not free:
                return _busy()
            try:
                now = self._held(visitor, route, arguments)
            except RefusalError as error:
                return error.result
            if now != tag:
                return Result.failed(errno.ESTALE, f"{_CHANGED}; {_ANEW}")
            return self.call(visitor, command, arguments)

    def _held(self, visitor: Visitor, route: Route, arguments: Mapping[str, Value]) -> str:
        """What `tag` tells. Raises `RefusalError` where it cannot be told now what people put."""
        held_by = self.routes.get(route.operation.held_by)
        if held_by is None:
            return self._etag(visitor, route, arguments)
        asked = _about(route, held_by, arguments)
        if asked is None:
            return ""
        put = standing(held_by.operation.command, self.call(visitor, held_by.operation.command, asked))
        return _digest(json.dumps(put).encode())

    def _etag(self, visitor: Visitor, route: Route, arguments: Mapping[str, Value]) -> str:
        """The ETag of what a command would change; empty: it has none, or nobody can tell now."""
        shown_by = self.routes.get(route.operation.shown_by)
        asked = None if shown_by is None else _about(route, shown_by, arguments)
        if shown_by is None or asked is None:
            return ""
        return self._shown(visitor, shown_by, asked).headers.get("ETag", "")

    def respond(self, visitor: Visitor, request: Request) -> Reply:
        """Answer a request for an operation; its path begins with `ROOT`. Raises `ProblemError`."""
        route, places = self._found(request)
        _check_accept(request)
        arguments = given(route.operation, route.parameters, places, request)
        if not route.operation.changes:
            reply = self._shown(visitor, route, arguments)
            fresh = reply.status == 200 and request.headers.get("if-none-match") == reply.headers["ETag"]
            return Reply(304, b"", {"ETag": reply.headers["ETag"]}) if fresh else reply
        wanted = request.headers.get("if-match")
        if wanted is None:
            return self._done(visitor, route, arguments)
        with self._alone(route.operation, arguments) as free:
            if not free:
                return self.refused(visitor, _busy(), route.operation)
            self._check_unchanged(visitor, route, arguments, wanted)
            return self._done(visitor, route, arguments)

    @contextmanager
    def _alone(self, operation: Operation, arguments: Mapping[str, Value]) -> Iterator[bool]:
        """Between a look at what is and its change, no other caller of the API may change it; False: others do.

        What has no state that somebody could look at waits for nobody: it may wait for the service, or a key manager.
        """
        shown_by = operation.shown_by or operation.held_by
        if not shown_by:
            yield True
            return
        place = (shown_by, arguments.get("fs"), arguments.get("job"))
        lock = self._changing[hash(place) % _LOCKS]
        if not lock.acquire(timeout=self._patience):
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def _found(self, request: Request) -> tuple[Route, dict[str, str]]:
        below = request.path.removeprefix(ROOT).strip("/")
        pieces = tuple(decoded(piece) for piece in below.split("/"))
        fits = [
            (each, places) for each in self.routes.values() if (places := each.places(pieces)) is not None
        ]
        method = "GET" if request.method == "HEAD" else request.method
        # a path in plain words goes before one with names
        for each, places in sorted(fits, key=lambda fit: len(fit[1])):
            if each.operation.method == method:
                return each, places
        if not fits:
            raise ProblemError(
                404, "there is no such operation", f"GET {ROOT}/openapi.json tells what there is"
            )
        allowed = ", ".join(sorted({each.operation.method for each, _ in fits}))
        raise ProblemError(405, "this path has no such method", f"use {allowed}", {"Allow": allowed})

    def _shown(self, visitor: Visitor, route: Route, arguments: dict[str, Value]) -> Reply:
        paged = any(each.name == "limit" for each in route.parameters)
        if paged:
            asked = arguments.get("limit")
            most = route.operation.page
            arguments["limit"] = min(asked, most) if isinstance(asked, int) else most
        while True:
            reply = self._replied(visitor, route, self.call(visitor, route.operation.command, arguments))
            limit = arguments.get("limit", 1)
            if not paged or len(reply.body) <= LARGEST_PAGE or not isinstance(limit, int) or limit <= 1:
                break
            arguments["limit"] = max(1, limit * LARGEST_PAGE // len(reply.body) * 9 // 10)
        if reply.status != 200:
            return reply
        return Reply(reply.status, reply.body, {**reply.headers, "ETag": _digest(reply.body)})

    def _done(self, visitor: Visitor, route: Route, arguments: dict[str, Value]) -> Reply:
        result = self.call(visitor, route.operation.command, arguments)
        if not route.operation.long or not result.success or arguments.get("dry_run"):
            return self._replied(visitor, route, result)
        told = result.answer.simplified() if result.answer else {}
        # of a subtree that is made the job is a part of what is told
        job = told.get("job", told).get("id")
        if not isinstance(job, str):
            return self._replied(visitor, route, result)
        place = f"{ROOT}/jobs/{job}"
        task = json.dumps({"name": route.operation.command, "id": job, "href": place})
        body = f'{_body(result)[:-1]}, "task": {task}}}'
        return Reply(202, body.encode(), {"Content-Type": MEDIA_TYPE, "Location": place})

    def _check_unchanged(
        self, visitor: Visitor, route: Route, arguments: Mapping[str, Value], wanted: str
    ) -> None:
        if not route.operation.shown_by:
            raise ProblemError(
                400, "this operation has no state that If-Match could mean, nothing was changed"
            )
        tag = self._etag(visitor, route, arguments)
        if wanted not in (tag, "*") or not tag:
            raise ProblemError(412, _CHANGED, _ANEW)

    def outages(self, visitor: Visitor, command: str | None = None) -> Sequence[Outage]:
        """What does not work now, of what a command needs; None: of all. Who is bound to a tenant is told less."""
        down = self._desk.outages.now()
        if visitor.identity.tenant:
            # once for all key managers
            down = tuple(dict.fromkeys(each.veiled() for each in down))
        if command is None:
            return down
        needed = needs(BY_COMMAND[command])
        return [each for each in down if each.what in needed]

    def refused(self, visitor: Visitor, result: Result, operation: Operation) -> Reply:
        """What is sent where an operation was refused; where something does not work, with what does for who asks."""
        if status_of(result.code) != 503:
            return refusal(result, _value(result))
        down = self.outages(visitor)
        theirs = [each for each in OPERATIONS if self.may(visitor, each.command) and each != operation]
        works = working(theirs, {each.what for each in down})
        return refusal(result, _value(result), down=down, works=works)

    def _replied(self, visitor: Visitor, route: Route, result: Result) -> Reply:
        # that a client has to do it is what was asked for
        if result.success or isinstance(result.answer, ClientLine):
            return Reply(200, _body(result).encode(), {"Content-Type": MEDIA_TYPE})
        return self.refused(visitor, result, route.operation)


def _about(route: Route, shown_by: Route, arguments: Mapping[str, Value]) -> dict[str, Value] | None:
    """What a command is given that shows what another one would change; None: the other one lacks some of it."""
    names = {each.name for each in shown_by.parameters}
    if not {each.name for each in route.parameters if each.needed} & names <= arguments.keys():
        return None
    return {name: arguments[name] for name in names & arguments.keys()}


def _digest(data: bytes) -> str:
    return f'"{hashlib.sha256(data).hexdigest()[:32]}"'


def _busy() -> Result:
    return Result.failed(
        errno.EAGAIN,
        "others change the same things just now, nothing was changed; try again in a few seconds",
    )


def _too_little(visitor: Visitor, operation: Operation) -> RefusalError:
    who = visitor.identity
    return RefusalError(
        errno.EPERM,
        f"{operation.command} takes the role {operation.role}, and {who.name} is {who.role}, nothing was changed; "
        "ask a security-officer",
    )


def _body(result: Result) -> str:
    return f'{{"status": {json.dumps(result.status)}, "value": {_value(result)}}}'


def _value(result: Result) -> str:
    return "null" if result.answer is None else written(result.answer.simplified(), "json")


def _check_accept(request: Request) -> None:
    """The version that is asked for must be ours. Raises `ProblemError`."""
    said = request.headers.get("accept", "*/*")
    types = {each.partition(";")[0].strip().lower() for each in said.split(",")}
    if not types & {MEDIA_TYPE, "application/*", "*/*"}:
        raise ProblemError(415, "the API does not speak what Accept asks for", f"send Accept: {MEDIA_TYPE}")
