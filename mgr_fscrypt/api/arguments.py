"""From what a request says to the arguments of a command: nothing is guessed, nothing unknown is passed over."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn
from urllib.parse import unquote_to_bytes

from .exchange import MEDIA_TYPE, Request
from .operations import JSON_KINDS, Operation, Parameter, Value
from .problems import ProblemError

DEEPEST = 32
"""How far values in a body may lie in one another."""
_LARGEST = 2**63
_LONGEST_INTEGER = 20
_LONGEST_QUERY = 16 << 10
_MOST_FIELDS = 64
_JSON_TYPES = ("application/json", MEDIA_TYPE)
_DOCUMENT_TYPES = (*_JSON_TYPES, "application/yaml")
_TOO_DEEP = f"values lie in one another more than {DEEPEST} times"
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def given(
    operation: Operation, parameters: Sequence[Parameter], places: Mapping[str, str], request: Request
) -> dict[str, Value]:
    """The arguments of an operation. Raises `ProblemError`.

    Args:
        operation: which one.
        parameters: what it takes.
        places: what stood in the path, by name.
        request: that has the rest.
    """
    said: dict[str, Value] = {}
    found: dict[str, dict[str, Any]] = {
        "path": dict(places),
        "query": dict(fields(request.query)),
        "body": {},
    }
    if operation.document:
        said["inbuf"] = _text(request, _DOCUMENT_TYPES)
    elif request.body:
        found["body"] = _object(request)
    known = {each.name: each for each in parameters}
    for place, values in found.items():
        for name, value in values.items():
            if name not in known or known[name].place != place:
                _wrong(f'there is no "{name[:100]}" in the {place} of this operation')
            if value is not None:
                said[name] = _value(known[name], value)
    missing = [each.name for each in parameters if each.needed and each.name not in said]
    if missing:
        _wrong(f"{', '.join(missing)} must be given")
    return said


def decoded(text: str) -> str:
    """A part of an address, without its escapes. Raises `ProblemError`."""
    if _BROKEN_ESCAPE.search(text):
        _wrong("an escape in the address is not %XX")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeError:
        _wrong("the address is not UTF-8")


def fields(text: str) -> dict[str, str]:
    """The fields of a query, or of a form. Raises `ProblemError`: it is none, or has one twice."""
    if len(text) > _LONGEST_QUERY:
        _wrong("the query is too long")
    found: dict[str, str] = {}
    pieces = [piece for piece in text.split("&") if piece]
    if len(pieces) > _MOST_FIELDS:
        _wrong("the query has too many fields")
    for piece in pieces:
        name, _, value = piece.replace("+", " ").partition("=")
        name = decoded(name)
        if name in found:
            _wrong(f'"{name[:100]}" is there twice')
        found[name] = decoded(value)
    return found


def _value(parameter: Parameter, value: object) -> Value:
    if isinstance(value, str) and parameter.place != "body":
        value = _read(parameter, value)
    if parameter.name == "report" and isinstance(value, dict):
        return json.dumps(value)
    if type(value) is not parameter.kind:
        _wrong(f"{parameter.name} must be of type {JSON_KINDS[parameter.kind]}")
    if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        _wrong(f"{parameter.name} is too large")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            _wrong(f"{parameter.name} has half a character")
        if "\0" in value:
            _wrong(f"{parameter.name} has a zero byte")
    return value  # type: ignore[return-value] # of that kind


def _read(parameter: Parameter, text: str) -> Value:
    if parameter.kind is bool and text in ("true", "false"):
        return text == "true"
    if parameter.kind is int and re.fullmatch(r"-?[0-9]{1,19}", text, re.ASCII):
        return int(text)
    return text


def _text(request: Request, types: Sequence[str]) -> str:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in types:
        raise ProblemError(
            415, "the body is of another type, nothing was changed", f"send Content-Type: {types[0]}"
        )
    try:
        return request.body.decode()
    except UnicodeError:
        _wrong("the body is not UTF-8")


def _object(request: Request) -> dict[str, Any]:
    text = _text(request, _JSON_TYPES)
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number, parse_int=_integer)
    except RecursionError:
        _wrong(_TOO_DEEP)
    except ValueError:
        _wrong("the body is not JSON")
    if _depth(value) > DEEPEST:
        _wrong(_TOO_DEEP)
    if not isinstance(value, dict):
        _wrong("the body is not a JSON object")
    return value


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        _wrong("a name is there twice in one object")
    return found


def _depth(value: object) -> int:
    depth, level = 0, [value]
    while level := [each for each in level if isinstance(each, dict | list)]:
        depth += 1
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return depth


def _integer(text: str) -> int:
    # older Pythons take the square of its length for it
    if len(text) > _LONGEST_INTEGER:
        _wrong("a number is too large")
    return int(text)


def _no_number(_text: str) -> NoReturn:
    raise ValueError


def _wrong(what: str) -> NoReturn:
    raise ProblemError(
        400, f"{what}, nothing was changed", "GET /api/fscrypt/openapi.json tells what there is"
    )
