"""What whoever made or met an encrypted subtree reports about it to the manager.

The report holds what anybody with read access to the directory can see (its context without the nonce, its
inode number and mode) and nothing that helps to decrypt. The file system and the path are not in it: they
are arguments of the command or the resource that carries the report.
"""

import json
import re
from dataclasses import asdict, dataclass
from typing import Any, Self

KIND = "fscrypt.subtree"
VERSION = 1
MAX_TEXT = 4096
"""Characters that a report may have; a real one has about 300."""

MODES = ("engine", "kernel")
CIPHERS = (("AES-256-XTS", "AES-256-CBC-CTS"), ("AES-128-CBC-ESSIV", "AES-128-CBC-CTS"))
"""The pairs of contents and names modes that we write."""
PADDINGS = (4, 8, 16, 32)

_IDENTIFIER = re.compile(r"[0-9a-f]{32}")


class MessageError(ValueError):
    """A message that does not say what its kind must say. The text names the field and what it should be."""


@dataclass(frozen=True)
class Policy:
    """A version 2 encryption policy without its flags' other bits: the public part of a subtree's context.

    Args:
        contents: the contents mode's name, first of a pair in `CIPHERS`.
        names: the file names mode's name, second of the same pair.
        padding: names are padded with zeros to a multiple of this many bytes.
        key_identifier: the master key's public name, 32 hexadecimal digits.

    Raises:
        MessageError: a field is outside its range.
    """

    contents: str
    names: str
    padding: int
    key_identifier: str

    def __post_init__(self) -> None:
        pairs = " or ".join(f"{contents} with {names}" for contents, names in CIPHERS)
        _expect((self.contents, self.names) in CIPHERS, "policy.contents and policy.names", pairs)
        _expect(type(self.padding) is int and self.padding in PADDINGS, "policy.padding", "4, 8, 16 or 32")
        _expect(
            _IDENTIFIER.fullmatch(self.key_identifier) is not None,
            "policy.key_identifier",
            "32 lower-case hexadecimal digits",
        )


@dataclass(frozen=True)
class SubtreeFacts:
    """One encrypted subtree as it was found.

    Args:
        inode: the top directory's inode number.
        mode: what new files in it follow, "engine" or "kernel".
        policy: the top directory's policy.

    Raises:
        MessageError: a field is outside its range.
    """

    inode: int
    mode: str
    policy: Policy

    def __post_init__(self) -> None:
        _expect(type(self.inode) is int and 0 < self.inode < 2**63, "inode", "a number from 1 to 2^63 - 1")
        _expect(self.mode in MODES, "mode", "engine or kernel")

    def encode(self) -> str:
        """Give the message as JSON text."""
        return json.dumps({"kind": KIND, "version": VERSION, **asdict(self)})

    @classmethod
    def decode(cls, text: str) -> Self:
        """Read a message.

        Raises:
            MessageError: the text is not JSON, not this kind and version, or has other fields than these.
        """
        _expect(len(text) <= MAX_TEXT, "the message", f"at most {MAX_TEXT} characters")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            msg = f"the message is not JSON: {error}"
            raise MessageError(msg) from error
        fields = _fields(value, "the message", {"kind", "version", "inode", "mode", "policy"})
        _expect(fields["kind"] == KIND, "kind", KIND)
        # not `==` alone, to which true and 1.0 are 1
        _expect(type(fields["version"]) is int and fields["version"] == VERSION, "version", str(VERSION))
        policy = _fields(fields["policy"], "policy", {"contents", "names", "padding", "key_identifier"})
        for name in ("contents", "names", "key_identifier"):
            _expect(isinstance(policy[name], str), f"policy.{name}", "a string")
        return cls(inode=fields["inode"], mode=fields["mode"], policy=Policy(**policy))


def _fields(value: object, name: str, expected: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        msg = f"{name} must be a JSON object"
        raise MessageError(msg)
    missing = sorted(expected - value.keys())
    unknown = sorted(value.keys() - expected)
    _expect(not missing, name, f"complete, without {', '.join(missing)} missing")
    _expect(not unknown, name, f"without the unknown field {', '.join(unknown)}")
    return value


def _expect(holds: bool, name: str, what: str) -> None:
    if not holds:
        msg = f"{name} must be {what}"
        raise MessageError(msg)
