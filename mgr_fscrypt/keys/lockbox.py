"""A lockbox: one key, wrapped by one or more protectors, as one document that is replaced as a whole.

What people may know of a key stands in it in the clear; the keys in the containers do not.
"""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from typing import Any, Self

from .binding import TENANT, Binding
from .container import LATEST, LONGEST_ACTOR, MASTER, TENANT_VERSION, Container
from .errors import ChangedError, ContainerError, DestroyedError, NoSuchKeyError, RefusedError

VERSION = 2
"""2: with `left`. What needs no newer one is written as version 1, which older releases read."""
LARGEST = 1 << 20
"""Bytes of a document: room for hundreds of protectors."""


class State(Enum):
    """What may be done with a key."""

    ACTIVE = "active"
    DISABLED = "disabled"
    """It unwraps for nobody, until it is enabled again."""
    DESTROYING = "destroying"
    """As disabled; it is destroyed when the waiting time is over."""


@dataclass(frozen=True)
class Entry:
    """A container in a lockbox.

    Attributes:
        container: the wrapped key.
        proven: when it was last seen to open, in seconds since the epoch; 0: never.
        replaces: the id of the protector in whose place it comes once it is proven, or "".
    """

    container: Container
    proven: int = 0
    replaces: str = ""

    @property
    def id(self) -> str:
        """Of its protector."""
        return self.container.header.protector.id

    @property
    def name(self) -> str:
        """Of its protector."""
        return self.container.header.protector.name

    @property
    def kind(self) -> str:
        """Of its protector."""
        return self.container.header.protector.kind


@dataclass(frozen=True)
class Lockbox:
    """One key and all that wraps it. Times are seconds since the epoch, 0 for never.

    Attributes:
        binding: whose key it is.
        key: a master key's identifier in 32 hexadecimal digits, or `tenant key N`.
        name: what people call it.
        creator, created: who made it, and when.
        generation: how often it was changed.
        state: whether it unwraps.
        expires: when it is to be replaced by another one: a warning, nothing stops.
        due: when it is destroyed, while it waits for that.
        drill_every: seconds after which somebody has to prove again that it can be recovered.
        drilled: when that was done last.
        left: when it was last given out as it is, by `key recover`: whoever has it needs no protector.
        entries: its protectors, in the order in which they were added.
    """

    binding: Binding
    key: str
    name: str
    creator: str
    created: int
    generation: int = 1
    state: State = State.ACTIVE
    expires: int = 0
    due: int = 0
    drill_every: int = 0
    drilled: int = 0
    left: int = 0
    entries: tuple[Entry, ...] = field(default=())

    def __post_init__(self) -> None:
        if not TENANT.fullmatch(self.name):
            raise RefusedError(
                "a key's name has 1 to 63 small letters, digits, '-', '_' and '.', and begins with one of the first two"
            )
        if MASTER.fullmatch(self.name):
            raise RefusedError("32 hexadecimal digits are a key's identifier, and no name of one")
        _require_key(self.key)
        _require_actor(self.creator)
        moments = (self.created, self.expires, self.due, self.drilled, self.left)
        for moment in (*moments, self.drill_every, self.drill_due):
            _require_moment(moment)
        if type(self.generation) is not int or not 0 < self.generation < 1 << 40:
            raise RefusedError("its generation is none")

    @property
    def place(self) -> str:
        """Name of the object that it is kept in."""
        if self.is_tenant_key:
            return f"tenant.{self.binding.tenant}.{self.key.rpartition(' ')[2]}"
        return f"key.{self.key}"

    @property
    def is_tenant_key(self) -> bool:
        """Is it a tenant's key, and not a master key?"""
        return " " in self.key

    @property
    def title(self) -> str:
        """Its name and its identifier, for people."""
        return f"{self.name} ({self.key})"

    @property
    def whose(self) -> str:
        """Which key it is, in a sentence."""
        return f"the key of tenant {self.name}" if self.is_tenant_key else f"key {self.name}"

    @property
    def command(self) -> str:
        """What does things to its protectors."""
        return f"cephfs-fscrypt {'tenant' if self.is_tenant_key else 'key'}"

    @property
    def drill_due(self) -> int:
        """When the next recovery drill is due."""
        return (self.drilled or self.created) + self.drill_every if self.drill_every else 0

    def in_use(self) -> Iterator[Entry]:
        """Entries but for those that were to replace others and were never proven."""
        return (entry for entry in self.entries if not entry.replaces)

    def entry(self, named: str) -> Entry:
        """The protector of that name or id.

        Raises:
            NoSuchKeyError: there is none.
        """
        for entry in self.in_use():
            if named in (entry.name, entry.id):
                return entry
        names = ", ".join(entry.name for entry in self.in_use())
        raise NoSuchKeyError(f"{self.whose} has no protector {named}", remedy=f"It has {names or 'none'}.")

    def has(self, id_: str) -> bool:
        """Is a protector of that id there?"""
        return any(entry.id == id_ for entry in self.entries)

    def changed(self, **fields: Any) -> Self:
        """The next generation."""
        return replace(self, generation=self.generation + 1, **fields)

    def require_free(self, protector: str) -> None:
        """Raises `RefusedError`: there is a protector of that name."""
        if any(each.name == protector for each in self.in_use()):
            raise RefusedError(
                f"{self.whose} has a protector {protector} already",
                remedy=f"Choose another name, or `{self.command} rewrap` it.",
            )

    def with_entry(self, entry: Entry) -> Self:
        """With one protector more.

        Raises:
            RefusedError: there is one of that name.
        """
        if not entry.replaces:
            self.require_free(entry.name)
        return self.changed(entries=(*self.entries, entry))

    def with_proof(self, id_: str, at: int) -> Self:
        """With the time at which a protector was seen to open."""
        proven = tuple(replace(each, proven=at) if each.id == id_ else each for each in self.entries)
        return self.changed(entries=proven)

    def without(self, id_: str) -> Self:
        """Without a protector.

        Raises:
            RefusedError: it is the last one, or the last that was ever seen to open.
        """
        left = [each for each in self.in_use() if each.id != id_]
        if not left:
            raise RefusedError(
                f"this is the last protector of {self.whose}: without it nobody can read its data again",
                remedy="Add another one first; or destroy the key, if that is what you want.",
            )
        if not any(each.proven for each in left):
            raise RefusedError(
                f"no other protector of {self.whose} was ever seen to open it",
                remedy=f"Prove one with `{self.command} test` first.",
            )
        return self.changed(entries=tuple(each for each in self.entries if each.id != id_))

    def exchanged(self, old: str, new: str, proven: int) -> Self:
        """With a protector in place of the one that it was to replace.

        Raises:
            NoSuchKeyError: the old one is gone meanwhile.
            ChangedError: the new one is gone meanwhile.
            RefusedError: then no protector would be left that was seen to open.
        """
        name = self.entry(old).name
        if not self.has(new):
            raise ChangedError(
                f"somebody else wrapped {self.whose} anew at the same time; the old container of {name} stands",
                remedy="Run it again.",
            )
        entries = tuple(
            replace(each, replaces="", proven=proven) if each.id == new else each
            for each in self.entries
            if each.id != old
        )
        if not any(each.proven for each in entries if not each.replaces):
            raise RefusedError(
                f"no protector of {self.whose} would be left that was ever seen to open it; the old one stands",
                remedy=f"Prove another one with `{self.command} test` first.",
            )
        return self.changed(entries=entries)

    def settled(self, old: str) -> Self:
        """Without what was to replace that protector, or one that is gone, and was never proven: what a rewrap left
        that ended early. What is to replace others may be under way."""
        others = {entry.id for entry in self.in_use()} - {old}
        kept = (each for each in self.entries if not each.replaces or each.replaces in others)
        return replace(self, entries=tuple(kept))

    def encode(self) -> bytes:
        """The bytes that are stored."""
        value = {name: each for name, each in asdict(replace(self, entries=())).items() if name != "entries"}
        value["state"] = self.state.value
        version = VERSION if self.left else 1
        if not self.left:
            del value["left"]
        value["protectors"] = [
            {
                "container": base64.b64encode(each.container.encode()).decode(),
                "proven": each.proven,
                "replaces": each.replaces,
            }
            for each in self.entries
        ]
        return _document("lockbox", value, version)


@dataclass(frozen=True)
class Tombstone:
    """What stands in place of a key that was destroyed, for good.

    Attributes:
        key, name: which one it was.
        destroyed: when, in seconds since the epoch.
        by: who.
    """

    key: str
    name: str
    destroyed: int
    by: str

    def __post_init__(self) -> None:
        _require_key(self.key)
        _require_moment(self.destroyed)
        _require_actor(self.by)
        if not TENANT.fullmatch(self.name):
            raise RefusedError("its name is none")

    def error(self) -> DestroyedError:
        """For whoever asks for the key."""
        return DestroyedError(
            f"key {self.name} ({self.key}) was destroyed by {self.by}: what it encrypted is lost",
            remedy="A subtree of it can be removed; nothing can read it.",
        )

    def encode(self) -> bytes:
        """The bytes that are stored."""
        return _document("tombstone", asdict(self), 1)


def decode(data: bytes) -> Lockbox | Tombstone:
    """Read either.

    Raises:
        ContainerError: it is neither, damaged, or newer than this release.
    """
    try:
        found = _decoded(json.loads(data[:LARGEST]))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, RefusedError) as error:
        raise ContainerError(
            f"a stored lockbox cannot be read ({type(error).__name__})",
            remedy="Take the key out of a bundle with `cephfs-fscrypt key recover --bundle`.",
        ) from error
    if found.encode() != data:
        raise ContainerError("a stored lockbox is not as it is written")
    return found


def _decoded(value: dict[str, Any]) -> Lockbox | Tombstone:
    kind, version = value.pop("kind"), value.pop("version")
    if type(version) is int and version > VERSION:
        raise ContainerError(f"this {kind} is of version {version}", remedy="Use a newer release.")
    if kind == "tombstone":
        return Tombstone(**value)
    entries = tuple(map(_entry, value.pop("protectors")))
    binding, state = Binding(**value.pop("binding")), State(value.pop("state"))
    return Lockbox(binding=binding, state=state, entries=entries, **value)


def _entry(value: Mapping[str, Any]) -> Entry:
    try:
        data = base64.b64decode(value["container"], validate=True)
    except binascii.Error as error:
        raise ContainerError("a container is not base64") from error
    if value.keys() != {"container", "proven", "replaces"}:
        raise ContainerError("a protector has other fields")
    _require_moment(value["proven"])
    if not isinstance(value["replaces"], str):
        raise ContainerError("what a protector replaces is no text")
    return Entry(Container.decode(data), value["proven"], value["replaces"])


def _require_key(key: str) -> None:
    if not (MASTER.fullmatch(key) or TENANT_VERSION.fullmatch(key)):
        raise RefusedError("it names no key that we know")


def _require_actor(who: str) -> None:
    # what cannot be printed could move a terminal's cursor
    if type(who) is not str or len(who) > LONGEST_ACTOR or not who.isprintable():
        raise RefusedError(f"who did it is told in up to {LONGEST_ACTOR} characters that can be printed")


def _require_moment(seconds: int) -> None:
    if type(seconds) is not int or not 0 <= seconds < LATEST:
        raise RefusedError("a time of a key lies between the years 1970 and 9999")


def _document(kind: str, value: Mapping[str, Any], version: int) -> bytes:
    data = json.dumps({"kind": kind, "version": version, **value}, sort_keys=True, indent=1).encode()
    if len(data) > LARGEST:
        raise RefusedError(
            f"this would be more than a {kind} can hold", remedy="Remove protectors that nobody needs."
        )
    return data
