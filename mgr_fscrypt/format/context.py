"""Contexts: the policy and the nonce that lie on every encrypted inode, bare and in Ceph's wrapper."""

import os
import struct
from dataclasses import dataclass

from .errors import ContextError
from .policy import DESCRIPTOR_SIZE, IDENTIFIER_SIZE, Policy

NONCE_SIZE = 16
"""Bytes of the random nonce that makes each inode's keys its own."""
AUTH_XATTR = "ceph.fscrypt.auth"
"""The vxattr that carries ``Context.encode_auth()``."""

_WRAPPER = struct.Struct("<II")
_WRAPPER_VERSION = 1
_HEAD = struct.Struct("<BBBB")
_V1_SIZE = 4 + DESCRIPTOR_SIZE + NONCE_SIZE
_V2_SIZE = 8 + IDENTIFIER_SIZE + NONCE_SIZE


@dataclass(frozen=True)
class Context:
    """An inode's policy and nonce (``union fscrypt_context`` in fs/crypto/fscrypt_private.h)."""

    policy: Policy
    nonce: bytes

    def __post_init__(self) -> None:
        if len(self.nonce) != NONCE_SIZE:
            raise ContextError(f"a nonce has {NONCE_SIZE} bytes, not {len(self.nonce)}")

    @classmethod
    def fresh(cls, policy: Policy) -> "Context":
        """A context for a new inode: the parent's policy, a random nonce of its own."""
        return cls(policy, os.urandom(NONCE_SIZE))

    def encode(self) -> bytes:
        """28 bytes (v1) or 40 bytes (v2), doc/format.md C1 and C2."""
        policy = self.policy
        head = _HEAD.pack(policy.version, policy.contents_mode, policy.names_mode, policy.flags)
        unit = b"" if policy.version == 1 else bytes([policy.log2_data_unit_size, 0, 0, 0])
        return head + unit + policy.key + self.nonce

    @classmethod
    def decode(cls, data: bytes) -> "Context":
        """Read a bare context.

        Raises:
            ContextError: other length or version, reserved bytes in use, or a policy no kernel accepts.
        """
        version = data[0] if data else None
        if version == 1 and len(data) == _V1_SIZE:
            unit, rest = 0, data[4:]
        elif version == 2 and len(data) == _V2_SIZE:
            if any(data[5:8]):
                raise ContextError(f"reserved bytes of the context are {data[5:8].hex()}, not zero")
            unit, rest = data[4], data[8:]
        else:
            raise ContextError(f"{len(data)} bytes with version byte {version} are no context")
        policy = Policy.from_fields(version, data[1], data[2], data[3], unit, rest[:-NONCE_SIZE])
        return cls(policy, bytes(rest[-NONCE_SIZE:]))

    def encode_auth(self) -> bytes:
        """The value of ``ceph.fscrypt.auth``: le32 1, le32 length, context (fs/ceph/crypto.h)."""
        context = self.encode()
        return _WRAPPER.pack(_WRAPPER_VERSION, len(context)) + context

    @classmethod
    def decode_auth(cls, data: bytes) -> "Context":
        """Read a ``ceph.fscrypt.auth`` value (36 or 48 bytes).

        Raises:
            ContextError: another wrapper version or length, or what ``decode`` refuses.
        """
        if len(data) < _WRAPPER.size:
            raise ContextError(f"{len(data)} bytes are no {AUTH_XATTR} value: its header alone has 8")
        version, length = _WRAPPER.unpack_from(data)
        if version != _WRAPPER_VERSION:
            raise ContextError(f"{AUTH_XATTR} has version {version}: only 1 is known")
        if length != len(data) - _WRAPPER.size:
            raise ContextError(
                f"{AUTH_XATTR} says {length} bytes of context and holds {len(data) - _WRAPPER.size}"
            )
        return cls.decode(data[_WRAPPER.size :])
