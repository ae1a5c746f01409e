"""What whoever reads the lockboxes reports of a master key to the manager.

The report holds what anybody with caps for the lockboxes can see, and nothing that wraps: no container, salt or sealed
bytes. The file system is not in it: it is an argument of the command that carries the report.
"""

import json
from dataclasses import asdict, dataclass
from typing import Self

from .strict import KEY_IDENTIFIER, KEY_IDENTIFIER_IS, decoded, expect, expect_version, fields, parsed

KIND = "fscrypt.key"
VERSION = 1
MAX_TEXT = 1 << 16
"""Characters that a report may have: room for some hundred protectors."""
STATES = ("active", "disabled", "destroying", "destroyed")
BY_TENANT = "tenant"
"""The kind of protectors that the key of the tenant opens (doc/keys.md)."""
_LONGEST = 300
_LATEST = 1 << 40


@dataclass(frozen=True)
class ProtectorFacts:
    """One way to open a key: its name, its kind, when it was made, and when it was last seen to open (0: never)."""

    name: str
    kind: str
    created: int
    proven: int

    def __post_init__(self) -> None:
        for name in ("name", "kind"):
            expect(0 < len(getattr(self, name)) <= _LONGEST, name, "a name")
        for name in ("created", "proven"):
            expect(0 <= getattr(self, name) < _LATEST, name, "seconds since the epoch")


@dataclass(frozen=True)
class KeyFacts:
    """A master key as its lockbox tells it. Times are seconds since the epoch, 0 for never.

    Args:
        identifier: 32 hexadecimal digits.
        name: what people call it.
        tenant: whose it is; empty where it is destroyed.
        state: one of `STATES`.
        generation: how often it was changed: of two reports the one with more holds.
        created: when it was made; of a destroyed one, when that was.
        expires: when it is to be replaced.
        due: when its waiting time ends and it may be destroyed.
        drill_due: when its next recovery drill is due.
        protectors: what opens it.

    Raises:
        MessageError: a field is outside its range.
    """

    identifier: str
    name: str
    tenant: str
    state: str
    generation: int
    created: int
    expires: int
    due: int
    drill_due: int
    protectors: tuple[ProtectorFacts, ...]

    def __post_init__(self) -> None:
        expect(KEY_IDENTIFIER.fullmatch(self.identifier) is not None, "identifier", KEY_IDENTIFIER_IS)
        expect(self.state in STATES, "state", ", ".join(STATES))
        for name in ("name", "tenant"):
            expect(len(getattr(self, name)) <= _LONGEST, name, "a name")
        for name in ("generation", "created", "expires", "due", "drill_due"):
            expect(0 <= getattr(self, name) < _LATEST, name, "a number from 0 to 2^40 - 1")

    def encode(self) -> str:
        """Give the message as JSON text."""
        return json.dumps({"kind": KIND, "version": VERSION, "key": asdict(self)})

    @classmethod
    def decode(cls, text: str) -> Self:
        """Read a message.

        Raises:
            MessageError: the text is not JSON, not this kind and version, or has other fields than these.
        """
        found = fields(parsed(text, MAX_TEXT), "the message", {"kind", "version", "key"})
        expect(found["kind"] == KIND, "kind", KIND)
        expect_version(found["version"], VERSION)
        return decoded(cls, found["key"], "key")
