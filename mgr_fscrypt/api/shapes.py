"""JSON schemas of answers, made of the classes that they are values of: strict, so that no field is there untold."""

import dataclasses
import types
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

Schema = dict[str, Any]
_PLAIN: Mapping[type, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
}
ALL = None
"""None of the fields is told as it is."""
ANYTHING: Schema = {"type": "object", "additionalProperties": True}
"""An object whose fields are told elsewhere."""


@dataclasses.dataclass(frozen=True)
class Shape:
    """How a value is told, where that is not just by its fields.

    Args:
        named: of the schema, which is the class's where it is empty.
        without: fields that are not told; `ALL`: none is.
        more: what is told beside the fields, or in another form: a type, or a schema.
        optional: what may be missing.
    """

    named: str = ""
    without: frozenset[str] | None = frozenset()
    more: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    optional: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Record:
    """An object that no class is there for.

    Args:
        named: of the schema.
        fields: by name: a type, or a schema.
    """

    named: str
    fields: Mapping[str, Any]


class Schemas:
    """Schemas by their names, each made once.

    Args:
        shapes: of classes that are told in another form than by their fields.
    """

    def __init__(self, shapes: Mapping[type, Shape]) -> None:
        self._shapes = shapes
        self._made: dict[str, Any] = {}
        self.components: dict[str, Schema] = {}

    def of(self, kind: Any) -> Schema:
        """The schema of values of a type.

        Args:
            kind: a plain type, a class of values, a tuple, sequence or mapping of such, a union of them, a `Record`, a
                list with one of these in it for many of them, or a schema.

        Raises:
            TypeError: nobody said how such a value is told.
        """
        if isinstance(kind, dict):
            return kind
        if isinstance(kind, list):
            return {"type": "array", "items": self.of(kind[0])}
        if isinstance(kind, Record):
            return self._reference(kind.named, kind, kind.fields)
        if kind in _PLAIN:
            return dict(_PLAIN[kind])
        if isinstance(kind, type) and issubclass(kind, Enum):
            return {"type": "string", "enum": [each.value for each in kind]}
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            return self._of_class(kind)
        origin, inside = get_origin(kind), get_args(kind)
        if origin in (Union, types.UnionType):
            return _either([self.of(each) for each in inside])
        if origin in (tuple, Sequence, list):
            return {"type": "array", "items": self.of(inside[0])}
        if origin is Mapping:
            return {"type": "object", "additionalProperties": self.of(inside[1])}
        msg = f"nobody said how a value of {kind} is told"
        raise TypeError(msg)

    def _of_class(self, kind: type) -> Schema:
        shape = self._shapes.get(kind, Shape())
        hints = get_type_hints(kind)
        told = {
            field.name: hints[field.name]
            for field in dataclasses.fields(kind)
            if shape.without is not ALL and field.name not in shape.without
        }
        return self._reference(shape.named or kind.__name__, kind, {**told, **shape.more}, shape.optional)

    def _reference(
        self, name: str, made_of: Any, fields: Mapping[str, Any], optional: frozenset[str] = frozenset()
    ) -> Schema:
        if self._made.setdefault(name, made_of) != made_of:
            msg = f"two kinds of values are called {name}"
            raise TypeError(msg)
        if name not in self.components:
            self.components[name] = {}  # it may have some of its own kind inside
            self.components[name] = {
                "type": "object",
                "properties": {each: self.of(kind) for each, kind in fields.items()},
                "required": [each for each in fields if each not in optional],
                "additionalProperties": False,
            }
        return {"$ref": f"#/components/schemas/{name}"}


def _either(schemas: Sequence[Schema]) -> Schema:
    names = [schema.get("type") for schema in schemas]
    if all(isinstance(name, str) and len(schema) == 1 for name, schema in zip(names, schemas, strict=True)):
        return {"type": names}
    return {"anyOf": list(schemas)}
