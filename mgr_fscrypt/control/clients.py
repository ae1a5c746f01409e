"""Client sessions of a file system, as its MDSs list them."""

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

ENGINE = "fscrypt_engine"
"""The key of a session's metadata by which our engine announces itself (doc/facts.md M9)."""
ALTERNATE_NAME = 15
"""The feature bit that `ceph fs required_client_features FS add alternate_name` asks for (doc/facts.md G2)."""
_GATEWAYS = ("nfs.", "smb.")
"""What the entities of Ceph's own gateways begin with."""


class Software(StrEnum):
    """What a client is, by what it says of itself: advice and no proof, since any client may say anything."""

    ENGINE = "engine"
    KERNEL = "kernel"
    FUSE = "ceph-fuse"
    LIBRARY = "libcephfs"
    GATEWAY = "gateway"
    MANAGER = "ceph-mgr"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Client:
    """One session.

    Args:
        number: as `session ls` and `client evict` know it.
        entity: who authenticated, `client.NAME`.
        host: the name that its host gives itself.
        address: `ip:port/nonce`.
        root: the directory of the file system that it mounted.
        software: what it is.
        release: its kernel's or library's version; empty where it says none.
        text: how it says so.
        features: the bits that it speaks; None where the MDS does not tell.
        since: when it connected, in seconds since the epoch.
        state: "open", or what the MDS thinks of it.
        capabilities: how many it holds.
    """

    number: int
    entity: str
    host: str
    address: str
    root: str
    software: Software
    release: tuple[int, ...]
    text: str
    features: int | None
    since: float
    state: str
    capabilities: int

    @property
    def speaks_alternate_names(self) -> bool:
        """Would it still be let in if the file system required `alternate_name`?"""
        return self.features is None or bool(self.features >> ALTERNATE_NAME & 1)

    @property
    def gateway(self) -> bool:
        """Does it serve others, by what it says or by the name of its entity?"""
        return self.software is Software.GATEWAY or self.entity.partition(".")[2].startswith(_GATEWAYS)

    @property
    def program(self) -> str:
        """What it is, with its version."""
        return " ".join((self.software.value, ".".join(map(str, self.release)))).strip()

    def reaches(self, path: str) -> bool:
        """Can it meet what lies at `path` or below it, by what it mounted?"""
        return at_or_below(path, self.root) or at_or_below(self.root, path)


def at_or_below(path: str, top: str) -> bool:
    """Is `path` the directory `top` or something in it? Both absolute and normal."""
    return path == top or path.startswith(top.rstrip("/") + "/")


def client_of(listed: Mapping[str, Any], managers: Set[str], now: float) -> Client:
    """One element of `session ls`.

    Args:
        listed: the element.
        managers: the addresses of ceph-mgr's own clients.
        now: when the MDS was asked, in seconds since the epoch.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is none.
    """
    metadata = listed["client_metadata"]
    address = listed["entity"]["addr"]
    where = f"{address['addr']}/{address['nonce']}"
    kind = listed.get("auth_name", {}).get("type_str", "client")
    bits = metadata.get("client_features", {}).get("feature_bits")
    text = str(metadata.get("kernel_version") or metadata.get("ceph_version", ""))
    entity = f"{kind}.{metadata.get('entity_id', '?')}"
    return Client(
        number=int(listed["id"]),
        entity=entity,
        host=str(metadata.get("hostname", "?")),
        address=where,
        root=str(metadata.get("root", "/")),
        software=_software(metadata, entity, manager=kind == "mgr" or where in managers),
        release=_release(text),
        text=text,
        features=None if bits is None else int(bits, 16),
        since=now - float(listed.get("uptime", 0)),
        state=str(listed.get("state", "?")),
        capabilities=int(listed.get("num_caps", 0)),
    )


def _software(metadata: Mapping[str, Any], entity: str, *, manager: bool) -> Software:
    if manager:
        return Software.MANAGER
    if ENGINE in metadata:
        return Software.ENGINE
    if "kernel_version" in metadata:
        return Software.KERNEL
    if str(metadata.get("uuid", "")).startswith("ganesha") or entity.partition(".")[2].startswith(_GATEWAYS):
        return Software.GATEWAY
    if "ceph_version" not in metadata:
        return Software.UNKNOWN
    # only ceph-fuse says where it is mounted
    return Software.FUSE if "mount_point" in metadata else Software.LIBRARY


def _release(text: str) -> tuple[int, ...]:
    """From `6.12.48+deb13-amd64` or `ceph version 20.2.4 (hash) tentacle (stable)`."""
    found = re.search(r"(?:^|\s)(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else ()
