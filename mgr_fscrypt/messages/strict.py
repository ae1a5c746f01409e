"""JSON into typed values, strictly: no other fields, no other types, no other sizes."""

import dataclasses
import json
import re
import types
from collections.abc import Mapping
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

KEY_IDENTIFIER = re.compile(r"[0-9a-f]{32}")
"""A master key's public name."""
KEY_IDENTIFIER_IS = "32 lower-case hexadecimal digits"

HALVES = re.compile("[\ud800-\udfff]")
"""Of characters: JSON can escape them, which nothing can store."""

T = TypeVar("T")


class MessageError(ValueError):
    """A message that does not say what its kind must say. The text names the field and what it should be."""


def expect(holds: bool, name: str, what: str) -> None:
    """Raise ``MessageError`` saying that `name` must be `what`, unless it holds."""
    if not holds:
        msg = f"{name} must be {what}"
        raise MessageError(msg)


def parsed(text: str, longest: int) -> object:
    """The JSON value that a text of at most `longest` characters is.

    Raises:
        MessageError: it is longer, or no JSON.
    """
    expect(len(text) <= longest, "the message", f"at most {longest} characters")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        msg = f"the message is not JSON: {error}"
        raise MessageError(msg) from error


def fields(value: object, name: str, expected: set[str]) -> dict[str, Any]:
    """A JSON object with exactly these fields.

    Raises:
        MessageError: it is none, or has others.
    """
    found = _expect_object(value, name)
    missing = sorted(expected - found.keys())
    unknown = sorted(found.keys() - expected)
    expect(not missing, name, f"complete, without {', '.join(missing)} missing")
    expect(not unknown, name, f"without the unknown field {', '.join(unknown)}")
    return found


def expect_version(value: object, version: int) -> None:
    """Raise ``MessageError`` unless the field `version` is this one; to `==`, true and 1.0 are 1 as well."""
    expect(type(value) is int and value == version, "version", str(version))


def decoded(kind: type[T], value: object, name: str) -> T:
    """The dataclass whose fields are those of a JSON object, each of its declared type.

    Declared may be: str, int, float, bool, None, a tuple of one type, a mapping from names to one type, another
    dataclass; a union of one of these with None, and a union of plain types.

    Raises:
        MessageError: it has others, or the class refuses them.
    """
    expected = get_type_hints(kind)
    found = fields(value, name, {each.name for each in dataclasses.fields(kind)})  # type: ignore[arg-type] # it is one
    return kind(**{each: _typed(expected[each], found[each], f"{name}.{each}") for each in found})


def _typed(expected: Any, value: object, name: str) -> Any:
    if get_origin(expected) in (Union, types.UnionType):
        return _one_of(get_args(expected), value, name)
    if get_origin(expected) is Mapping:
        return {
            _typed(str, each, f"{name} has a name that"): _typed(
                get_args(expected)[1], found, f"{name}.{each}"
            )
            for each, found in _expect_object(value, name).items()
        }
    if get_origin(expected) is tuple:
        expect(isinstance(value, list), name, "a list")
        element = get_args(expected)[0]
        # `expect` has seen that it is a list
        return tuple(_typed(element, each, f"{name}[]") for each in value)  # type: ignore[attr-defined]
    if dataclasses.is_dataclass(expected):
        return decoded(expected, value, name)  # type: ignore[arg-type] # a class, not an instance
    if expected is float and type(value) is int:
        return float(value)
    # exactly: a bool is an int to isinstance
    expect(type(value) is expected, name, f"of the type {getattr(expected, '__name__', expected)}")
    if isinstance(value, str):
        expect(not HALVES.search(value), name, "Unicode text")
    return value


def _one_of(choices: tuple[Any, ...], value: object, name: str) -> Any:
    if value is None and type(None) in choices:
        return None
    others = [choice for choice in choices if choice is not type(None)]
    # among plain types the value's own tells which is meant
    return _typed(type(value) if type(value) in others else others[0], value, name)


def _expect_object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        msg = f"{name} must be a JSON object"
        raise MessageError(msg)
    return value
