"""What people declare: how things should be, one resource each, as `ceph fscrypt apply` takes and `show` prints them.

A subtree and a key are declared by what was reported of them. A tenant and a key manager can be declared too, though
only a client can make one: it takes a secret, or credentials.
"""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self, TypeAlias

from .key import KeyFacts
from .strict import decoded, expect, expect_version, fields
from .subtree import SubtreeFacts

VERSION = 1
INTENTS = ("present", "removed")
_LONGEST = 300
_COMMON = {"kind", "version", "intent", "fs"}


@dataclass(frozen=True)
class SubtreeResource:
    """A registered subtree; `facts` is None where it is to be removed from the register."""

    KIND: ClassVar = "fscrypt.subtree"
    fs: str
    path: str
    facts: SubtreeFacts | None

    @property
    def name(self) -> str:
        """What tells it from others of its kind and file system."""
        return self.path

    def simplified(self) -> dict[str, Any]:
        """Give plain JSON types."""
        facts = {} if self.facts is None else asdict(self.facts)
        return _head(self.KIND, removed=self.facts is None) | {"fs": self.fs, "path": self.path} | facts

    @classmethod
    def read(cls, value: dict[str, Any], *, removed: bool) -> Self:
        """Give what an object declares. Raises `MessageError`."""
        facts = {"inode", "mode", "policy"}
        found = _fields(value, {"path"}, facts, removed=removed)
        for name in ("fs", "path"):
            expect(isinstance(found[name], str), name, "text: put it in quotes")
        if removed:
            return cls(found["fs"], found["path"], None)
        return cls(
            found["fs"], found["path"], SubtreeFacts.of({name: found[name] for name in facts}, "the resource")
        )


@dataclass(frozen=True)
class KeyResource:
    """A master key as its lockbox was reported; `facts` is None where it is to be destroyed."""

    KIND: ClassVar = "fscrypt.key"
    fs: str
    identifier: str
    facts: KeyFacts | None

    @property
    def name(self) -> str:
        """What tells it from others of its kind and file system."""
        return self.identifier

    def simplified(self) -> dict[str, Any]:
        """Give plain JSON types."""
        facts = {"identifier": self.identifier} if self.facts is None else _listed(asdict(self.facts))
        return _head(self.KIND, removed=self.facts is None) | {"fs": self.fs} | facts

    @classmethod
    def read(cls, value: dict[str, Any], *, removed: bool) -> Self:
        """Give what an object declares. Raises `MessageError`."""
        names = set(KeyFacts.__dataclass_fields__)
        found = _fields(value, {"identifier"}, names - {"identifier"}, removed=removed)
        for name in ("fs", "identifier"):
            expect(isinstance(found[name], str), name, "text: put it in quotes")
        if removed:
            return cls(found["fs"], found["identifier"], None)
        facts = decoded(KeyFacts, {name: found[name] for name in names}, "the resource")
        return cls(found["fs"], facts.identifier, facts)


@dataclass(frozen=True)
class TenantResource:
    """A tenant, and the key manager that wraps its key."""

    KIND: ClassVar = "fscrypt.tenant"
    fs: str
    name: str
    kms: str

    @classmethod
    def read(cls, value: dict[str, Any], *, removed: bool) -> Self:
        """Give what an object declares. Raises `MessageError`."""
        expect(not removed, "intent", "present: a tenant ends with the last of its keys")
        found = _texts(_fields(value, {"name", "kms"}, set(), removed=False))
        return cls(found["fs"], found["name"], found["kms"])


@dataclass(frozen=True)
class KmsResource:
    """A key manager: its kind, where it is, and which of its keys is meant. No credentials."""

    KIND: ClassVar = "fscrypt.kms"
    fs: str
    name: str
    type: str
    address: str
    key: str
    removed: bool = False

    @classmethod
    def read(cls, value: dict[str, Any], *, removed: bool) -> Self:
        """Give what an object declares. Raises `MessageError`."""
        found = _texts(_fields(value, {"name"}, {"type", "address", "key"}, removed=removed))
        type_, address, key = (found.get(name, "") for name in ("type", "address", "key"))
        return cls(found["fs"], found["name"], type_, address, key, removed)


Resource: TypeAlias = SubtreeResource | KeyResource | TenantResource | KmsResource
_KINDS: dict[str, type[SubtreeResource | KeyResource | TenantResource | KmsResource]] = {
    each.KIND: each for each in (SubtreeResource, KeyResource, TenantResource, KmsResource)
}


def resource_of(value: object) -> Resource:
    """Give the resource that an object declares: all of its fields and no others, each of its type.

    Of what is to be removed, its name is enough.

    Raises:
        MessageError: it declares none.
    """
    expect(isinstance(value, dict), "the resource", "an object with the fields kind, version, fs and others")
    found: dict[str, Any] = value  # type: ignore[assignment] # `expect` has seen that it is one
    kind = found.get("kind")
    expect(isinstance(kind, str) and kind in _KINDS, "kind", f"one of {', '.join(_KINDS)}")
    intent = found.get("intent", "present")
    expect(isinstance(intent, str) and intent in INTENTS, "intent", " or ".join(INTENTS))
    resource = _KINDS[str(kind)].read({"intent": intent} | found, removed=intent == "removed")
    expect_version(found["version"], VERSION)
    expect(0 < len(resource.fs) <= _LONGEST, "fs", "the name of a file system")
    return resource


def _head(kind: str, *, removed: bool) -> dict[str, Any]:
    intent = {"intent": "removed"} if removed else {}
    return {"kind": kind, "version": VERSION} | intent


def _fields(value: dict[str, Any], name: set[str], rest: set[str], *, removed: bool) -> dict[str, Any]:
    asked = rest & value.keys() if removed else rest
    return fields(value, "the resource", _COMMON | name | asked)


def _texts(found: dict[str, Any]) -> dict[str, str]:
    for name in found.keys() - {"version"}:
        expect(isinstance(found[name], str), name, "text: put it in quotes")
        expect(0 < len(found[name]) <= _LONGEST, name, f"of 1 to {_LONGEST} characters")
    return found


def _listed(facts: dict[str, Any]) -> dict[str, Any]:
    """Lists instead of tuples, as they come out of a document."""
    return facts | {"protectors": list(facts["protectors"])}
