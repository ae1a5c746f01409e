"""Typed access to the fields of untrusted JSON: a value, or a ``FieldError`` that says where."""

from collections.abc import Iterator
from typing import Any

LARGEST_PART = 1 << 26
"""Bytes of generated content that a vector file may ask for at once."""
LARGEST_INTEGER = 1 << 64


class FieldError(Exception):
    """A field that is missing, or not of the shape that it should have."""


class Record:
    """A JSON object and its place in the file."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise FieldError(f"{where}: not a JSON object")
        self._fields: dict[str, Any] = value
        self.where = where

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def place(self, name: str) -> str:
        """Where the field is, for messages."""
        return f"{self.where}.{name}"

    def names(self) -> list[str]:
        """The names of the fields."""
        return list(self._fields)

    def value(self, name: str) -> Any:
        """The field, whatever it is."""
        if name not in self._fields:
            raise FieldError(f"{self.place(name)}: missing")
        return self._fields[name]

    def one_of(self, *names: str) -> str:
        """The one of these fields that is there."""
        there = [name for name in names if name in self]
        if len(there) != 1:
            raise FieldError(f"{self.where}: one of the fields {', '.join(names)} is wanted")
        return there[0]

    def text(self, name: str) -> str:
        """A string of ASCII characters."""
        value = self.value(name)
        if not isinstance(value, str) or not value.isascii():
            raise FieldError(f"{self.place(name)}: not ASCII text")
        return value

    def hex(self, name: str) -> bytes:
        """Bytes, in lower-case hexadecimal digits."""
        text = self.text(name)
        try:
            data = bytes.fromhex(text)
        except ValueError:
            data = None
        if data is None or data.hex() != text:
            raise FieldError(f"{self.place(name)}: not lower-case hexadecimal")
        return data

    def integer(self, name: str) -> int:
        """A number from 0 up, in 64 bits."""
        value = self.value(name)
        if type(value) is not int or not 0 <= value < LARGEST_INTEGER:
            raise FieldError(f"{self.place(name)}: not a number of 64 bits")
        return value

    def true(self, name: str) -> None:
        """Nothing but ``true``."""
        if self.value(name) is not True:
            raise FieldError(f"{self.place(name)}: not true")

    def items(self, name: str) -> list[Any]:
        """A list."""
        value = self.value(name)
        if not isinstance(value, list):
            raise FieldError(f"{self.place(name)}: not a list")
        return value

    def record(self, name: str) -> "Record":
        """An object inside."""
        return Record(self.value(name), self.place(name))

    def records(self, name: str) -> Iterator["Record"]:
        """The objects of a list."""
        for index, value in enumerate(self.items(name)):
            yield Record(value, f"{self.place(name)}[{index}]")
