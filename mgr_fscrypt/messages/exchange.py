"""Requests and answers between the manager and the engine service, each with the number that joins them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from .lines import LONGEST
from .service import ANSWERS, ASKS, Ask, Said
from .strict import MessageError, decoded, expect, expect_version, fields, parsed

VERSION = 1
REQUEST, ANSWER = "fscrypt.service.request", "fscrypt.service.answer"


@dataclass(frozen=True)
class Request:
    """What the manager sends."""

    number: int
    ask: Ask

    def encode(self) -> str:
        """Give the message as one line of JSON text."""
        return _encoded(REQUEST, ASKS, self.number, self.ask)

    @classmethod
    def decode(cls, text: str) -> Self:
        """Read a message.

        Raises:
            MessageError: the text is not JSON, not this kind and version, or asks what this release does not know.
        """
        return cls(*_opened(REQUEST, ASKS, text))


@dataclass(frozen=True)
class Answer:
    """What the service sends. Number 0 answers what could not be read."""

    number: int
    said: Said

    def encode(self) -> str:
        """Give the message as one line of JSON text."""
        return _encoded(ANSWER, ANSWERS, self.number, self.said)

    @classmethod
    def decode(cls, text: str) -> Self:
        """Read a message. Raises as `Request.decode`."""
        return cls(*_opened(ANSWER, ANSWERS, text))


def _encoded(kind: str, known: Mapping[str, Any], number: int, content: Ask | Said) -> str:
    (says,) = [name for name, each in known.items() if each is type(content)]
    return json.dumps(
        {"kind": kind, "version": VERSION, "id": number, "says": says, "content": asdict(content)}
    )


def _opened(kind: str, known: Mapping[str, Any], text: str) -> tuple[int, Any]:
    found = fields(parsed(text, LONGEST), "the message", {"kind", "version", "id", "says", "content"})
    expect(found["kind"] == kind, "kind", kind)
    expect_version(found["version"], VERSION)
    number, says = found["id"], found["says"]
    expect(type(number) is int and 0 <= number < 2**63, "id", "a number from 0 to 2^63 - 1")
    if not (isinstance(says, str) and says in known):
        msg = f"says must be one of {', '.join(known)}"
        raise MessageError(msg)
    return number, decoded(known[says], found["content"], "content")
