"""What people declare: how things should be, one resource each, as `ceph fscrypt apply` takes and `show` prints them.

A subtree and a key are declared by what was reported of them, a gate by what `gate set` is given. A tenant and a key
manager can be declared too, though only a client can make one: it takes a secret, or credentials.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Self, TypeAlias

from .key import KeyFacts
from .strict import HALVES, decoded, expect, expect_version, fields
from .subtree import SubtreeFacts

VERSION = 1
INTENTS = ("present", "removed")
RUNGS = ("require", "isolate", "exclude")
"""Of gates that are there."""
_LONGEST = 300
_COMMON = {"kind", "version", "intent", "fs"}
_LISTS = ("admitted", "kept", "open")
_ORDER = ("namespace", *_LISTS)


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
    """A tenant, and a key manager that wraps its key."""

    KIND: ClassVar = "fscrypt.tenant"
    fs: str
    name: str
    kms: str

    def simplified(self) -> dict[str, Any]:
        """Give plain JSON types."""
        return _head(self.KIND, removed=False) | asdict(self)

    @classmethod
    def read(cls, value: dict[str, Any], *, removed: bool) -> Self:
        """Give what an object declares. Raises `MessageError`."""
        expect(not removed, "intent", "present: a tenant ends with the last of its keys")
        found = _texts(_fields(value, {"name", "kms"}, set(), removed=False))
        return cls(found["fs"], found["name"], found["kms"])


@dataclass(frozen=True)
class KmsResource:
    """A key manager as its settings have it. No credentials: `file` is the name of the file with them, on each host."""

    KIND: ClassVar = "fscrypt.kms"
    fs: str
    name: str
    type: str = ""
    address: str = ""
    key: str = ""
    file: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    removed: bool = False

    def simplified(self) -> dict[str, Any]:
        """Give plain JSON types."""
        plain = {name: value for name, value in asdict(self).items() if name != "removed"}
        if not self.options:
            del plain["options"]
        return _head(self.KIND, removed=False) | plain

    @classmethod
    def read(cls, value: dict[str, Any], *, removed: bool) -> Self:
        """Give what an object declares. Raises `MessageError`."""
        options = value.get("options", {})
        expect(isinstance(options, dict), "options", "an object: names with texts")
        settings = {"type", "address", "key", "file"}
        found = _fields({"options": options} | value, {"name", "options"}, settings, removed=removed)
        _texts({"version": VERSION} | options)
        said = _texts({name: each for name, each in found.items() if name != "options"})
        given = {name: said.get(name, "") for name in settings}
        return cls(said["fs"], said["name"], **given, options=options, removed=removed)


@dataclass(frozen=True)
class GateResource:
    """A gate: who is kept out of a subtree, or of the file system (`/`); `rung` is None where it is to be taken back.

    Args:
        fs, path: of what.
        rung: one of `RUNGS`.
        namespace: the RADOS namespace of the subtree's files.
        admitted: the entities that are let in.
        kept: namespaces that others keep.
        open: directories that others keep, for `exclude`.
    """

    KIND: ClassVar = "fscrypt.gate"
    fs: str
    path: str
    rung: str | None
    namespace: str = ""
    admitted: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    open: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What tells it from others of its kind and file system."""
        return self.path

    def simplified(self) -> dict[str, Any]:
        """Give plain JSON types."""
        shown = {"fs": self.fs, "path": self.path}
        if self.rung is None:
            return _head(self.KIND, removed=True) | shown
        told = {
            name: getattr(self, name) for name in ("rung", *sorted(_of_rung(self.rung), key=_ORDER.index))
        }
        lists = {name: list(each) for name, each in told.items() if isinstance(each, tuple)}
        return _head(self.KIND, removed=False) | shown | told | lists

    @classmethod
    def read(cls, value: dict[str, Any], *, removed: bool) -> Self:
        """Give what an object declares. Raises `MessageError`."""
        rung = value.get("rung")
        if not removed:
            says = f'{", ".join(RUNGS)}; to take a gate back, its intent is "removed"'
            expect(isinstance(rung, str) and rung in RUNGS, "rung", f"one of {says}")
        # of what is removed each field may be there, and says nothing
        rest = set(_ORDER) if removed else _of_rung(rung)
        found = _fields(value, {"path"}, {"rung"} | rest, removed=removed)
        for name in ("fs", "path"):
            expect(isinstance(found[name], str), name, "text: put it in quotes")
        if removed:
            return cls(found["fs"], found["path"], None)
        lists = {name: _names(found[name], name) for name in _LISTS if name in found}
        namespace = _texts({"namespace": found["namespace"]})["namespace"] if "namespace" in found else ""
        return cls(found["fs"], found["path"], found["rung"], namespace, **lists)


Resource: TypeAlias = KmsResource | TenantResource | KeyResource | SubtreeResource | GateResource
KINDS: Mapping[str, type[Resource]] = {
    each.KIND: each for each in (KmsResource, TenantResource, KeyResource, SubtreeResource, GateResource)
}
"""What can be declared, in the order in which one needs the other."""


def resource_of(value: object) -> Resource:
    """Give the resource that an object declares: all of its fields and no others, each of its type.

    Of what is to be removed, its name is enough.

    Raises:
        MessageError: it declares none.
    """
    expect(isinstance(value, dict), "the resource", "an object with the fields kind, version, fs and others")
    found: dict[str, Any] = value  # type: ignore[assignment] # `expect` has seen that it is one
    kind = found.get("kind")
    expect(isinstance(kind, str) and kind in KINDS, "kind", f"one of {', '.join(KINDS)}")
    intent = found.get("intent", "present")
    expect(isinstance(intent, str) and intent in INTENTS, "intent", " or ".join(INTENTS))
    resource = KINDS[str(kind)].read({"intent": intent} | found, removed=intent == "removed")
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


def _of_rung(rung: object) -> set[str]:
    """What a gate of that rung needs said."""
    if rung == "exclude":
        return set(_ORDER)
    return {"namespace", "admitted", "kept"} if rung == "isolate" else set()


def _names(value: object, name: str) -> tuple[str, ...]:
    expect(isinstance(value, list), name, "a list")
    names: list[Any] = value  # type: ignore[assignment] # `expect` has seen that it is one
    for each in names:
        expect(isinstance(each, str) and bool(each.strip()), name, "a list of texts: put them in quotes")
        # `gate set` has commas between them
        expect("," not in each and not HALVES.search(each), name, "Unicode text, without commas")
    return tuple(names)


def _listed(facts: dict[str, Any]) -> dict[str, Any]:
    """Lists instead of tuples, as they come out of a document."""
    return facts | {"protectors": list(facts["protectors"])}
