"""What is reported of a tenant's key to the manager: how old it is, and how often it is to be rotated.

By whoever reads the lockboxes, or by the engine service. Nothing of it wraps or opens anything.
"""

import json
from dataclasses import asdict, dataclass
from typing import Self

from .strict import decoded, expect, expect_version, fields, parsed

KIND = "fscrypt.tenant"
VERSION = 1
MAX_TEXT = 1 << 14
_LONGEST = 300
_LATEST = 1 << 40


@dataclass(frozen=True)
class TenantFacts:
    """The key of a tenant. Times are seconds since the epoch.

    Args:
        tenant: whose it is.
        version: its newest version.
        rotated: when that was made.
        rotate_every: seconds after which another one is to be made; 0: never by itself.
        managers: names of the key managers that open it.
        others: names of its protectors that only people open.

    Raises:
        MessageError: a field is outside its range.
    """

    tenant: str
    version: int
    rotated: int
    rotate_every: int
    managers: tuple[str, ...]
    others: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("version", "rotated", "rotate_every"):
            expect(0 <= getattr(self, name) < _LATEST, name, "a number from 0 to 2^40 - 1")
        for text in (self.tenant, *self.managers, *self.others):
            expect(0 < len(text) <= _LONGEST, "tenant, managers and others", "names")

    def encode(self) -> str:
        """Give the message as JSON text."""
        return json.dumps({"kind": KIND, "version": VERSION, "tenant": asdict(self)})

    @classmethod
    def decode(cls, text: str) -> Self:
        """Read a message.

        Raises:
            MessageError: the text is not JSON, not this kind and version, or has other fields than these.
        """
        found = fields(parsed(text, MAX_TEXT), "the message", {"kind", "version", "tenant"})
        expect(found["kind"] == KIND, "kind", KIND)
        expect_version(found["version"], VERSION)
        return decoded(cls, found["tenant"], "tenant")
