"""The wrapped form of one key: a header that everybody may read, and a body that one protector opens.

    magic "cfskey"    6 bytes
    version           2, big endian; this is version 1
    header's length   4, big endian; at most 65,536
    header            JSON in UTF-8
    nonce             12, random
    body              the key, under AES-256-GCM (NIST SP 800-38D), and its tag of 16

All that comes before the nonce is the associated data as it stands, so nobody can change a byte of it, put the body
under another header, or present it in another place. The wrapping key is the protector's matter (`opener`). Told in
doc/keys.md; versions that were ever written stay readable.
"""

import json
import os
import re
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .binding import TENANT, Binding
from .errors import ContainerError, WrongSecretError
from .opener import KINDS, Opener, Parameters

VERSION = 1
LARGEST_HEADER = 1 << 16
LARGEST_KEY = 64
_MAGIC = b"cfskey"
_FIXED = struct.Struct(">6sHI")
_NONCE = 12
_TAG = 16
LATEST = 253_402_300_800
"""The end of the year 9999 in seconds since the epoch: no time is later."""
LONGEST_ACTOR = 300
MASTER = re.compile(r"[0-9a-f]{32}")
"""Identifiers of master keys."""
TENANT_VERSION = re.compile(r"tenant key [1-9][0-9]{0,8}")
"""What versions of a tenant's key are called."""
_PROTECTOR = re.compile(r"[0-9a-f]{16}")
ELSEWHERE = (
    "Bring the key into a file with `cephfs-fscrypt key recover`, and keep it by `key create --from FILE`."
)
_DAMAGED = (
    "Use another protector of the key, or take it out of a bundle with `cephfs-fscrypt key recover --bundle`."
)


@dataclass(frozen=True)
class Protector:
    """One way to unwrap a key, as people see it.

    Attributes:
        id: 16 hexadecimal digits, random.
        name: what people call it, unique for its key.
        kind: a name of `opener.KINDS`.
        creator: who made it, as the maker's host told it: `user@host as client.admin`.
        created: seconds since the epoch.
    """

    id: str
    name: str
    kind: str
    creator: str
    created: int

    def __post_init__(self) -> None:
        _require(bool(_PROTECTOR.fullmatch(self.id)), "a protector's id has 16 hexadecimal digits")
        _require(bool(TENANT.fullmatch(self.name)), "a protector's name has 1 to 63 small letters and digits")
        _require(self.kind in KINDS, "it is of a kind that this release does not know")
        _require(type(self.created) is int and 0 <= self.created < LATEST, "its time is none")
        # what cannot be printed could move a terminal's cursor
        _require(
            type(self.creator) is str and len(self.creator) <= LONGEST_ACTOR and self.creator.isprintable(),
            "its creator's name is none",
        )


@dataclass(frozen=True)
class Header:
    """What is known of a wrapped key without opening it.

    Attributes:
        binding: whose it is.
        key: which key it is: a master key's identifier in 32 hexadecimal digits, or `tenant key N`.
        protector: what opens it.
        parameters: what its kind needs for that: salts, costs, sealed bytes. Nothing secret.
    """

    binding: Binding
    key: str
    protector: Protector
    parameters: Parameters

    def __post_init__(self) -> None:
        _require(
            bool(MASTER.fullmatch(self.key) or TENANT_VERSION.fullmatch(self.key)),
            "it names no key that we know",
        )

    def encode(self) -> bytes:
        """As it stands in the container."""
        fields = {"key": self.key, "parameters": dict(self.parameters)}
        fields |= asdict(self.binding) | {"protector": asdict(self.protector)}
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises `ContainerError` for anything that `encode` does not make."""
        try:
            value = json.loads(data)
            protector = Protector(**_only(value.pop("protector"), Protector))
            binding = Binding(*(value.pop(name) for name in ("fsid", "fscid", "tenant")))
            parameters = value.pop("parameters")
            header = cls(binding, value.pop("key"), protector, parameters)
            whole = not value and all(isinstance(each, (str, int)) for each in parameters.values())
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ContainerError(
                f"its header cannot be read ({type(error).__name__})", remedy=_DAMAGED
            ) from error
        _require(whole and header.encode() == data, "its header is not as it is written")
        return header


@dataclass(frozen=True)
class Container:
    """One wrapped key. `sealed` is its nonce and body."""

    header: Header
    sealed: bytes
    version: int = VERSION

    def encode(self) -> bytes:
        """The bytes that are stored."""
        return _associated(self.header.encode(), self.version) + self.sealed

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a container; that it is whole is shown by opening it.

        Raises:
            ContainerError: it is none, damaged as far as one can see, or newer than this release.
        """
        _require(len(data) >= _FIXED.size, "it is cut off")
        magic, version, length = _FIXED.unpack_from(data)
        _require(magic == _MAGIC, "it is no container of a key")
        if version != VERSION:
            raise ContainerError(
                f"it is of version {version}, this release knows {VERSION}", remedy="Use a newer release."
            )
        rest = len(data) - _FIXED.size - length - _NONCE - _TAG
        _require(length <= LARGEST_HEADER and 0 < rest <= LARGEST_KEY, "its lengths do not fit")
        header = Header.decode(data[_FIXED.size : _FIXED.size + length])
        return cls(header, data[_FIXED.size + length :], version)


def wrap(secret: bytes, binding: Binding, key: str, protector: Protector, opener: Opener) -> Container:
    """Wrap a key of up to 64 bytes for one protector.

    Raises:
        KmsError: the key manager that is asked for it refuses or cannot be reached.
    """
    parameters, wrapping_key = opener.begin(binding)
    header = Header(binding, key, protector, parameters)
    nonce = os.urandom(_NONCE)
    encoded = header.encode()
    _require(len(encoded) <= LARGEST_HEADER, "its header is too long")
    body = AESGCM(wrapping_key).encrypt(nonce, secret, _associated(encoded, VERSION))
    return Container(header, nonce + body)


def unwrap(container: Container, binding: Binding, key: str, opener: Opener) -> bytes:
    """The key in it, if it is the one of that place and name.

    Raises:
        ContainerError: it is another key's, or of another place.
        WrongSecretError: what was given does not open it, or it was changed: no one can tell which.
        KmsError: as `wrap`.
    """
    header = container.header
    if header.binding != binding:
        raise ContainerError(
            f"this is a key of {header.binding}, not of {binding}",
            remedy=ELSEWHERE,
        )
    if header.key != key:
        raise ContainerError(f"this is {header.key}, not {key}", remedy=_DAMAGED)
    if header.protector.kind != opener.kind:
        raise WrongSecretError(
            f"protector {header.protector.name} is of kind {header.protector.kind}, not {opener.kind}",
            remedy="See `cephfs-fscrypt key show`.",
        )
    nonce, body = container.sealed[:_NONCE], container.sealed[_NONCE:]
    wrapping_key = opener.wrapping_key(header.parameters, binding)
    try:
        return AESGCM(wrapping_key).decrypt(nonce, body, _associated(header.encode(), container.version))
    except InvalidTag:
        raise WrongSecretError(
            f"{KINDS[header.protector.kind]} does not open protector {header.protector.name}, or it was damaged",
            remedy="Try again, or use another protector: see `cephfs-fscrypt key show`.",
        ) from None


def _associated(header: bytes, version: int) -> bytes:
    return _FIXED.pack(_MAGIC, version, len(header)) + header


def _only(value: Mapping[str, Any], kind: type) -> Mapping[str, Any]:
    _require(value.keys() == kind.__dataclass_fields__.keys(), "its header has other fields")  # type: ignore[attr-defined]
    return value


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ContainerError(f"this is no wrapped key: {what}", remedy=_DAMAGED)
