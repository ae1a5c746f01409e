"""The API's description in OpenAPI 3.1, made of the table of operations and of the commands' signatures and help."""

import inspect
from typing import Any

from ..control.outages import Outage
from ..messages import RELEASE
from .answers import SHAPES, answers_of
from .exchange import MEDIA_TYPE, ROOT
from .interface import Route
from .operations import JSON_KINDS, Operation, Parameter
from .shapes import Schemas

_ERRORS = {
    "400": "What was sent is not what the operation takes; nothing was changed.",
    "401": "Nobody who may come in.",
    "403": "The role, or what is about to happen, does not allow it; nothing was changed.",
    "404": "There is no such thing.",
    "409": "It cannot be done as things are.",
    "412": "It is not any more as If-Match says; nothing was changed.",
    "413": "The body is too large; nothing was changed.",
    "415": "Another version or type than the API speaks.",
    "429": "Too many requests, or too many attempts to get in; Retry-After says how long to wait.",
    "500": "A mistake of the module.",
    "503": "Something does not work now; `down` tells what, and `works` what answers all the same.",
}
Description = dict[str, Any]


def described(routes: dict[str, Route]) -> Description:
    """The whole description, as JSON types."""
    paths: dict[str, Description] = {}
    schemas = Schemas(SHAPES)
    schemas.of(Outage)
    for route in routes.values():
        place = paths.setdefault(f"{ROOT}{route.operation.path}", {})
        place[route.operation.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Encryption for CephFS",
            "version": RELEASE,
            "description": "Each operation is a command of `ceph fscrypt`, and means what the command means.",
            "license": {"name": "LGPL-2.1-or-later", "identifier": "LGPL-2.1-or-later"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {"session": []}],
        "tags": [{"name": name} for name in sorted({_tag(route) for route in routes.values()})],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "__Host-fscrypt"},
            },
            "schemas": {**dict(sorted(schemas.components.items())), "Task": _task(), "Problem": _problem()},
        },
    }


def _operation(route: Route, schemas: Schemas) -> Description:
    operation = route.operation
    outside = [_parameter(each) for each in route.parameters if each.place != "body"]
    if operation.shown_by:
        outside.append(
            {
                "name": "If-Match",
                "in": "header",
                "required": False,
                "description": f"The ETag of `{operation.shown_by}`: nothing is done where that is another one by now.",
                "schema": {"type": "string"},
            }
        )
    responses: Description = {
        "200": _answer(
            "What was asked for, or what was done.", _done(operation, schemas), etag=not operation.changes
        )
    }
    if operation.long:
        responses["202"] = _answer("A job was begun.", _begun(operation, schemas))
    left_out = set() if operation.shown_by else {"412"}
    left_out |= set() if operation.changes else {"413"}
    problem = {"$ref": "#/components/schemas/Problem"}
    responses |= {code: _answer(said, problem) for code, said in _ERRORS.items() if code not in left_out}
    return {
        "operationId": operation.command.replace(" ", "_").replace("-", "_"),
        "summary": operation.command,
        "description": f"{inspect.getdoc(route.command)}.\n\nTakes the role {operation.role}.",
        "tags": [_tag(route)],
        "parameters": outside,
        **_body(route),
        "responses": responses,
    }


def _tag(route: Route) -> str:
    return route.operation.command.split()[0]


def _parameter(parameter: Parameter) -> Description:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.needed or parameter.place == "path",
        "schema": _kind(parameter),
    }


def _kind(parameter: Parameter) -> Description:
    kind: Description = {"type": JSON_KINDS[parameter.kind]}
    if parameter.kind is int:
        kind["format"] = "int64"
    if parameter.kind is str and parameter.place == "path":
        kind["minLength"] = 1
    return kind


def _body(route: Route) -> Description:
    if route.operation.document:
        resources = {"type": ["object", "array"], "description": "Resources, as doc/resources.md has them."}
        kinds = {kind: {"schema": resources} for kind in ("application/json", "application/yaml")}
        return {"requestBody": {"required": True, "content": kinds}}
    inside = [each for each in route.parameters if each.place == "body"]
    if not inside:
        return {}
    needed = [each.name for each in inside if each.needed]
    properties = {each.name: _report() if each.name == "report" else _kind(each) for each in inside}
    schema: Description = {"type": "object", "properties": properties, "additionalProperties": False}
    if needed:
        schema["required"] = needed
    return {"requestBody": {"required": bool(needed), "content": {"application/json": {"schema": schema}}}}


def _report() -> Description:
    return {"type": ["string", "object"], "description": "A report of `cephfs-fscrypt`, or its text."}


def _answer(description: str, schema: Description, *, etag: bool = False) -> Description:
    answer: Description = {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}
    if etag:
        answer["headers"] = {
            "ETag": {"description": "Of this very answer.", "schema": {"type": "string"}},
        }
    return answer


def _done(operation: Operation, schemas: Schemas) -> Description:
    """What the command answers with `--format json`. What is looked at is told; a change may have its status alone."""
    kinds = [schemas.of(each) for each in answers_of(operation)]
    if operation.changes or not kinds:
        kinds.append({"type": "null"})
    return {
        "type": "object",
        "required": ["status", "value"],
        "properties": {
            "status": {"type": "string", "description": "One line for a person; may be empty."},
            "value": kinds[0] if len(kinds) == 1 else {"anyOf": kinds},
        },
        "additionalProperties": False,
    }


def _begun(operation: Operation, schemas: Schemas) -> Description:
    schema = _done(operation, schemas)
    schema["required"] = [*schema["required"], "task"]
    schema["properties"]["task"] = {"$ref": "#/components/schemas/Task"}
    return schema


def _task() -> Description:
    return {
        "type": "object",
        "required": ["name", "id", "href"],
        "properties": {
            "name": {"type": "string", "description": "The command."},
            "id": {"type": "string", "description": "The job."},
            "href": {"type": "string", "description": "Where its progress is read."},
        },
        "additionalProperties": False,
    }


def _problem() -> Description:
    return {
        "type": "object",
        "required": ["code", "detail", "next"],
        "properties": {
            "code": {"type": "string", "description": "The name of the errno, or another word for programs."},
            "detail": {"type": "string", "description": "What happened, and what was left as it was."},
            "next": {"type": "string", "description": "What to do next; may be empty."},
            "down": {
                "type": "array",
                "items": {"$ref": "#/components/schemas/Outage"},
                "description": "What does not work now; nothing where others were only before.",
            },
            "works": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Operations that answer whoever asked all the same: method and path.",
            },
            "value": {
                "type": "object",
                "description": "What the command answered all the same.",
                "additionalProperties": True,
            },
        },
        "additionalProperties": False,
    }
