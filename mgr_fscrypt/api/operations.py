"""Each command as an operation: where it is found, and who may give it."""

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..messages.job import MOST_ON_PAGE

READ, OPERATE, KEYS, SECURITY = "read-only", "operator", "key-admin", "security-officer"
INCLUDED: Mapping[str, frozenset[str]] = {
    READ: frozenset({READ}),
    OPERATE: frozenset({READ, OPERATE}),
    KEYS: frozenset({READ, KEYS}),
    SECURITY: frozenset({READ, OPERATE, KEYS, SECURITY}),
}
"""What each role may do, in terms of what operations ask for."""

JSON_KINDS: Mapping[type, str] = {str: "string", int: "integer", bool: "boolean"}
_NOT_ASKED = ("self", "format", "inbuf", "_end_positional_")
Value = str | int | bool


@dataclass(frozen=True)
class Operation:
    """One operation.

    Args:
        command: of `ceph fscrypt`, without these two words.
        method: of HTTP.
        path: below `exchange.ROOT`; names in braces are the command's arguments.
        role: the one that it takes.
        long: it begins a job, which is the answer.
        target: arguments that say what it is about, besides those in the path: they stand in the query.
        shown_by: the command whose answer is the state that it changes: its ETag is what If-Match means.
        held_by: the same for forms, where that state moves by itself, too: they are held to what people put of it
            (`standing`).
        document: the body is what the command reads from a file.
        page: lines of a page, where it is a list: as many as there are without a limit, and at most.
    """

    command: str
    method: str
    path: str
    role: str
    long: bool = False
    target: tuple[str, ...] = ()
    shown_by: str = ""
    held_by: str = ""
    document: bool = False
    page: int = 500

    @property
    def changes(self) -> bool:
        """May it change something?"""
        return self.method != "GET"


@dataclass(frozen=True)
class Parameter:
    """One argument of an operation.

    Args:
        name: as the command has it.
        kind: str, int or bool.
        needed: it must be given.
        place: "path", "query" or "body".
    """

    name: str
    kind: type
    needed: bool
    place: str


def _line(noun: str, verb: str) -> Operation:
    """What only a client can do: the answer is its line."""
    return Operation(f"{noun} {verb}", "GET", f"/lines/{noun}/{verb}", READ)


_KEY_LINES = (
    *(
        "create",
        "add",
        "rewrap",
        "remove",
        "test",
        "drill",
        "drill-every",
        "expire",
        "disable",
        "enable",
        "destroy",
    ),
    *("cancel", "finish", "recover"),
)
_SUBTREE = "/subtrees/{fs}/subtree"
_MIGRATION = "/migrations/{fs}"
_AT = ("path",)

OPERATIONS: tuple[Operation, ...] = (
    Operation("status", "GET", "/status", READ),
    Operation("doctor", "GET", "/doctor", READ),
    Operation("metrics", "GET", "/metrics", READ),
    Operation("history", "GET", "/history/{what}", READ),
    Operation("service status", "GET", "/service", READ),
    Operation("subtree ls", "GET", "/subtrees", READ),
    Operation("subtree create", "POST", "/subtrees/{fs}", OPERATE, long=True),
    Operation("subtree scanned", "GET", "/subtrees/{fs}/scanned", READ),
    Operation("subtree show", "GET", _SUBTREE, READ, target=_AT),
    # what would be wanted beside a stolen identity at the key manager
    Operation("subtree bundle", "POST", f"{_SUBTREE}/bundle", KEYS, target=_AT),
    Operation("subtree rm", "DELETE", _SUBTREE, OPERATE, long=True, target=_AT, shown_by="subtree show"),
    Operation("subtree adopt", "PUT", f"{_SUBTREE}/record", OPERATE, target=_AT, shown_by="subtree show"),
    Operation("subtree forget", "DELETE", f"{_SUBTREE}/record", OPERATE, target=_AT, shown_by="subtree show"),
    Operation("subtree release", "POST", f"{_SUBTREE}/release", OPERATE, True, _AT, shown_by="subtree show"),
    Operation("subtree hold", "POST", f"{_SUBTREE}/hold", OPERATE, True, _AT, shown_by="subtree show"),
    Operation("subtree verify", "POST", f"{_SUBTREE}/verify", OPERATE, True, _AT),
    Operation("scan", "POST", "/scans/{fs}", OPERATE, long=True),
    Operation("migrate plan", "POST", f"{_MIGRATION}/plan", OPERATE, True, _AT),
    # these may end clients' sessions, or store in the clear
    Operation("migrate start", "POST", f"{_MIGRATION}/start", SECURITY, True, _AT),
    Operation("migrate rollback", "POST", f"{_MIGRATION}/rollback", SECURITY, True, _AT),
    Operation("migrate status", "GET", _MIGRATION, READ, target=_AT),
    Operation("migrate verify", "POST", f"{_MIGRATION}/verify", OPERATE, True, _AT),
    Operation("migrate purge", "DELETE", f"{_MIGRATION}/trash", OPERATE, True, _AT),
    Operation("migrate cancel", "DELETE", _MIGRATION, OPERATE, True, _AT),
    Operation("key ls", "GET", "/keys", READ),
    Operation("key show", "GET", "/keys/{fs}/{key}", READ),
    Operation("key adopt", "PUT", "/keys/{fs}", KEYS),
    Operation("key rescan", "POST", "/keys/{fs}/rescan", KEYS),
    Operation("key destruction ls", "GET", "/destructions", READ),
    Operation("key destruction request", "POST", "/destructions/{fs}/{key}", KEYS),
    Operation("key destruction approve", "POST", "/destructions/{fs}/{key}/approval", SECURITY),
    Operation("key destruction withdraw", "DELETE", "/destructions/{fs}/{key}", KEYS),
    Operation("key unlock", "POST", "/resident-keys/{key}", KEYS),
    Operation("key lock", "DELETE", "/resident-keys/{key}", KEYS),
    *(_line("key", verb) for verb in _KEY_LINES),
    Operation("tenant ls", "GET", "/tenants", READ),
    Operation("tenant adopt", "PUT", "/tenants/{fs}", KEYS),
    *(
        _line("tenant", verb)
        for verb in ["create", "rotate", "rotate-every", "add", "rewrap", "test", "remove"]
    ),
    Operation("kms ls", "GET", "/kms", READ),
    Operation("kms test", "POST", "/kms/{fs}/{kms}/test", KEYS),
    *(_line("kms", verb) for verb in ["add", "trust", "rm"]),
    Operation("job ls", "GET", "/jobs", READ, page=MOST_ON_PAGE),
    Operation("job show", "GET", "/jobs/{job}", READ),
    *(
        Operation(
            f"job {verb}", "POST", f"/jobs/{{job}}/{verb}", OPERATE, shown_by="job show", held_by="job show"
        )
        for verb in ("pause", "resume", "cancel")
    ),
    Operation("job forget", "DELETE", "/jobs/{job}", OPERATE, shown_by="job show", held_by="job show"),
    Operation("client ls", "GET", "/clients", READ),
    Operation("client explain", "GET", "/clients/{session}", READ),
    Operation("gate show", "GET", "/gates", READ),
    Operation("gate preview", "GET", "/gates/{fs}/preview", READ, target=_AT),
    Operation("gate set", "PUT", "/gates/{fs}", SECURITY, target=_AT, held_by="gate show"),
    Operation("audit ls", "GET", "/audit", READ),
    Operation("audit verify", "GET", "/audit/verify", READ),
    Operation("show", "GET", "/resources", READ),
    Operation("apply", "PUT", "/resources", SECURITY, document=True),
    Operation("api show", "GET", "/doors", READ),
    Operation("api access ls", "GET", "/access", SECURITY),
    Operation("api access revoke", "DELETE", "/access/{name}", SECURITY),
    Operation("api token create", "POST", "/access/tokens", SECURITY),
    Operation("api certificate add", "POST", "/access/certificates", SECURITY),
    Operation("api user add", "POST", "/access/users", SECURITY),
    Operation("api session ls", "GET", "/sessions", SECURITY),
    Operation("api session revoke", "DELETE", "/sessions/{name}", SECURITY),
    Operation("api login", "POST", "/links", SECURITY),
)
"""All of them. A test compares the list with the commands."""

BY_COMMAND: Mapping[str, Operation] = {each.command: each for each in OPERATIONS}


def parameters(operation: Operation, command: Callable[..., Any]) -> tuple[Parameter, ...]:
    """What an operation takes, by the signature of its command's method."""
    found = []
    for each in inspect.signature(command).parameters.values():
        if each.name in _NOT_ASKED:
            continue
        (kind,) = {each.annotation, *typing.get_args(each.annotation)} & JSON_KINDS.keys()
        place = _place(operation, each.name)
        found.append(Parameter(each.name, kind, each.default is each.empty, place))
    return tuple(found)


def _place(operation: Operation, name: str) -> str:
    if f"{{{name}}}" in operation.path:
        return "path"
    if (
        operation.method in ("GET", "DELETE")
        or name in operation.target
        or name == "dry_run"
        or operation.document
    ):
        return "query"
    return "body"
