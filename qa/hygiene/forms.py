"""How a secret looks when it leaks: as it is, as hexadecimal digits, in base64, as Python or JSON would print it."""

import base64
import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

_STANDARD, _URL = b"+/", b"-_"
# 3 bytes are 4 characters; in a longer text the secret may begin at any of the 3
_ALIGNMENTS = range(3)


@dataclass(frozen=True)
class Secret:
    """What must not be found.

    Args:
        name: what it is called in reports.
        value: at least 16 bytes that no chance repeats; without a newline, which grep's patterns cannot hold.
    """

    name: str
    value: bytes

    def __post_init__(self) -> None:
        if len(self.value) < 16 or b"\n" in self.value:
            raise ValueError("a secret to search for has 16 bytes or more, and no newline")


@dataclass(frozen=True, order=True)
class Leak:
    """A secret that was found.

    Args:
        where: the file, process, object or table.
        secret: its name.
        form: how it was written there.
    """

    where: str
    secret: str
    form: str


@dataclass(frozen=True)
class Searched:
    """What one searcher came to.

    Args:
        kind: of place.
        items: how many places were looked into; with none, nothing was proved.
        size: bytes that were looked at.
    """

    kind: str
    items: int
    size: int
    leaks: frozenset[Leak]

    def __str__(self) -> str:
        found = "".join(f"\n  {leak.secret} as {leak.form} in {leak.where}" for leak in sorted(self.leaks))
        return f"{self.kind}: {self.items} places, {self.size / 2**20:.1f} MiB: {found or 'nothing'}"

    def without(self, secret: Secret) -> "Searched":
        """What was found of other secrets."""
        others = frozenset(leak for leak in self.leaks if leak.secret != secret.name)
        return dataclasses.replace(self, leaks=others)


def forms(value: bytes) -> Iterator[tuple[str, bytes]]:
    """Give all that is searched for: (name of the form, bytes)."""
    yield "raw", value
    yield "hex", value.hex().encode()
    yield "HEX", value.hex().upper().encode()
    for alphabet, name in ((_STANDARD, "base64"), (_URL, "base64url")):
        for shift in _ALIGNMENTS:
            yield f"{name}+{shift}", _base64(value, shift, alphabet)
    # b'...' in a traceback, and \u00.. in JSON
    yield "repr", repr(value)[2:-1].encode()
    yield "json", json.dumps(_text(value))[1:-1].encode()


class Needles:
    """All forms of some secrets."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        self.named: Mapping[bytes, tuple[str, str]] = {
            pattern: (secret.name, form) for secret in secrets for form, pattern in forms(secret.value)
        }
        self.longest = max(map(len, self.named))

    def found_in(self, data: bytes, where: str) -> Iterator[Leak]:
        """Give what is in `data`."""
        for pattern, (secret, form) in self.named.items():
            if pattern in data:
                yield Leak(where, secret, form)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _base64(value: bytes, shift: int, alphabet: bytes) -> bytes:
    """The characters that hold nothing but the secret, `shift` bytes after a multiple of 3."""
    text = base64.b64encode(bytes(shift) + value, alphabet).rstrip(b"=")
    # characters of 6 bits: the first that holds a bit of what is before, and the last one, are left out
    first = -(-shift * 8 // 6)
    last = (shift + len(value)) * 8 // 6
    return text[first:last]
