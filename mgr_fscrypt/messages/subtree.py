"""What whoever made or met an encrypted subtree reports about it to the manager.

The report holds what anybody with read access to the directory can see (its context without the nonce, its
inode number and mode) and nothing that helps to decrypt. The file system and the path are not in it: they
are arguments of the command or the resource that carries the report.
"""

import json
from dataclasses import asdict, dataclass
from typing import Self

from .strict import KEY_IDENTIFIER, KEY_IDENTIFIER_IS, expect, expect_version, fields, parsed

KIND = "fscrypt.subtree"
VERSION = 1
MAX_TEXT = 4096
"""Characters that a report may have; a real one has about 300."""

MODES = ("engine", "kernel")
CIPHERS = (("AES-256-XTS", "AES-256-CBC-CTS"), ("AES-128-CBC-ESSIV", "AES-128-CBC-CTS"))
"""The pairs of contents and names modes that we write."""
PADDINGS = (4, 8, 16, 32)


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
        expect((self.contents, self.names) in CIPHERS, "policy.contents and policy.names", pairs)
        expect(type(self.padding) is int and self.padding in PADDINGS, "policy.padding", "4, 8, 16 or 32")
        expect(
            KEY_IDENTIFIER.fullmatch(self.key_identifier) is not None,
            "policy.key_identifier",
            KEY_IDENTIFIER_IS,
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
        expect(type(self.inode) is int and 0 < self.inode < 2**63, "inode", "a number from 1 to 2^63 - 1")
        expect(self.mode in MODES, "mode", "engine or kernel")

    def encode(self) -> str:
        """Give the message as JSON text."""
        return json.dumps({"kind": KIND, "version": VERSION, **asdict(self)})

    @classmethod
    def decode(cls, text: str) -> Self:
        """Read a message.

        Raises:
            MessageError: the text is not JSON, not this kind and version, or has other fields than these.
        """
        known = {"kind", "version", "inode", "mode", "policy"}
        found = fields(parsed(text, MAX_TEXT), "the message", known)
        expect(found["kind"] == KIND, "kind", KIND)
        expect_version(found["version"], VERSION)
        return cls.of({name: found[name] for name in ("inode", "mode", "policy")}, "the message")

    @classmethod
    def of(cls, value: object, name: str) -> Self:
        """Read the facts alone, without the head of a message.

        Raises:
            MessageError: these are other fields.
        """
        found = fields(value, name, {"inode", "mode", "policy"})
        policy = fields(found["policy"], "policy", {"contents", "names", "padding", "key_identifier"})
        for each in ("contents", "names", "key_identifier"):
            expect(isinstance(policy[each], str), f"policy.{each}", "a string")
        return cls(inode=found["inode"], mode=found["mode"], policy=Policy(**policy))
