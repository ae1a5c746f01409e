"""A bundle: wrapped keys in one file, to be kept off site, used without a cluster, and brought back.

It holds what the cluster holds and nothing more: whoever has it and one protector's secret can read the data. Version 2
has the settings of key managers, too, without credentials; version 1 had lockboxes only.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from . import register
from .container import ELSEWHERE
from .errors import ChangedError, ContainerError, DestroyedError, NoSuchKeyError, RefusedError
from .kms.interface import Settings
from .lockbox import Lockbox, decode
from .managed import Managed
from .objects import Held, Stored
from .safe import Safe
from .tenant_key import TenantKey, called, version_of

VERSION = 2
_HOLDS = {1: "lockboxes", 2: "objects"}
"""What each version calls what it holds: base64 by the name of the object that it was kept in; from version 2 on with
its SHA-256, since what stands around a container is not authenticated by it."""
_KIND = "key bundle"
_LARGEST = 64 << 20
_HEAD = re.compile(r' "kind": "([a-z ]+)",\n "version": ([0-9]{1,9}),')
_LINE = re.compile(r'  "([a-z0-9_.-]+)": "([A-Za-z0-9+/= ]*)",?')


def encode(boxes: Iterable[Lockbox], kms: Iterable[Settings] = ()) -> bytes:
    """A bundle of these, and of the settings of key managers.

    Raises:
        ChangedError: a key needs a version of its tenant's key that is not among them: it was rotated meanwhile.
    """
    boxes = list(boxes)
    kept = {(box.binding, box.key) for box in boxes if box.is_tenant_key}
    for box in boxes:
        if any((box.binding, each) not in kept for each in _needed(box)):
            raise ChangedError(
                f"what opens key {box.name} for tenant {box.binding.tenant} is not kept any more; no bundle was made",
                remedy="Run it again; if this stays, name the other keys.",
            )
    objects = {box.place: box.encode() for box in boxes}
    objects |= {register.place_of(each.name): register.encode(each) for each in kms}
    held = {place: f"{base64.b64encode(data).decode()} {_sum(data)}" for place, data in objects.items()}
    return json.dumps({"kind": _KIND, "version": VERSION, _HOLDS[VERSION]: held}, indent=1).encode()


class DamagedEntryError(ContainerError):
    """An entry of a bundle that cannot be read.

    Attributes:
        place: where it was kept, as far as that can be read.
    """

    def __init__(self, place: str, happened: str) -> None:
        super().__init__(happened, remedy="Take it out of another bundle, or make it anew.")
        self.place = place


def decoded(data: bytes) -> list[Lockbox | DamagedEntryError]:
    """The lockboxes of a bundle, tenants' keys first: others are opened by them. Each entry stands for itself: what is
    damaged is an error among those that are not.

    Raises:
        ContainerError: it is no bundle, or newer than this release.
    """
    found = [_lockbox(place, each) for place, each in _entries(data).items() if not _is_settings(place)]
    return sorted(found, key=lambda each: not (isinstance(each, Lockbox) and each.is_tenant_key))


def settings_in(data: bytes) -> list[Settings | DamagedEntryError]:
    """The settings of key managers that a bundle has. As `decoded`."""
    return [_settings(place, each) for place, each in _entries(data).items() if _is_settings(place)]


def _is_settings(place: str) -> bool:
    return place.startswith(register.PREFIX)


def _lockbox(place: str, data: bytes | DamagedEntryError) -> Lockbox | DamagedEntryError:
    if isinstance(data, DamagedEntryError):
        return data
    try:
        box = decode(data)
    except ContainerError as error:
        return _damaged(place, str(error))
    if isinstance(box, Lockbox) and box.place == place:
        return box
    return _damaged(place, "it is something else")


def _settings(place: str, data: bytes | DamagedEntryError) -> Settings | DamagedEntryError:
    if isinstance(data, DamagedEntryError):
        return data
    try:
        return register.decode(place.removeprefix(register.PREFIX), data)
    except ContainerError as error:
        return _damaged(place, str(error))


def _entries(data: bytes) -> dict[str, bytes | DamagedEntryError]:
    """What each entry holds, by its place."""
    try:
        value = json.loads(data[:_LARGEST])
        kind, version = value["kind"], value["version"]
        texts = dict[str, str](value[_HOLDS[version]]) if kind == _KIND and version in _HOLDS else {}
    except (UnicodeDecodeError, json.JSONDecodeError):
        # cut off, or one byte of it is no JSON any more: it has a line for each entry
        kind, version, texts = _salvaged(data[:_LARGEST])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ContainerError(f"this is no bundle of keys ({type(error).__name__})") from error
    if kind != _KIND or version not in _HOLDS:
        raise ContainerError("this is no bundle of keys of a version that this release knows")
    return {place: _held(place, text, summed=version > 1) for place, text in texts.items()}


def _salvaged(data: bytes) -> tuple[str, int, dict[str, str]]:
    """What its lines tell, as `encode` writes them: kind, version, entries."""
    first, *lines = data.decode("utf-8", "replace").split("\n")
    head = _HEAD.match("\n".join(lines[:2])) if first == "{" else None
    if head is None:
        raise ContainerError("this is no bundle of keys")
    entries = {}
    for number, line in enumerate(lines[3:], 5):
        found = _LINE.fullmatch(line)
        if found is not None:
            entries[found[1]] = found[2]
        elif line not in (" }", "}"):
            entries[f"line {number}"] = ""
    if lines[-1:] != ["}"]:
        entries["its end"] = ""
    return head[1], int(head[2]), entries


def _held(place: str, text: str, *, summed: bool) -> bytes | DamagedEntryError:
    try:
        encoded, _, told = text.partition(" ")
        data = base64.b64decode(encoded, validate=True)
    except (ValueError, TypeError, AttributeError) as error:
        return _damaged(place, type(error).__name__)
    if summed and told != _sum(data):
        return _damaged(place, "it is not what was written")
    return data


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _damaged(place: str, why: str) -> DamagedEntryError:
    return DamagedEntryError(place, f"{place} of the bundle cannot be read ({why})")


def place_of(entry: Lockbox | Settings | DamagedEntryError) -> str:
    """Name of the object that an entry is kept in."""
    return register.place_of(entry.name) if isinstance(entry, Settings) else entry.place


class BundleObjects:
    """A bundle as `Objects`, to be read only: what opens a key on the cluster opens it here.

    What is damaged is there, and cannot be read: it stands in the way of nothing else.

    Attributes:
        fsid, fscid: the cluster and the file system that it is of.

    Raises:
        ContainerError: it is no bundle, or nothing of it can be read.
    """

    def __init__(self, file: Path) -> None:
        data = file.read_bytes()
        found = [*decoded(data), *settings_in(data)]
        boxes = [each for each in found if isinstance(each, Lockbox)]
        self._data = {each.place: b"" for each in found if isinstance(each, DamagedEntryError)}
        self._data |= {box.place: box.encode() for box in boxes}
        self._data |= {
            register.place_of(each.name): register.encode(each)
            for each in found
            if isinstance(each, Settings)
        }
        self._data |= {f"name.{box.name}": box.key.encode() for box in boxes if not box.is_tenant_key}
        places = {(box.binding.fsid, box.binding.fscid) for box in boxes}
        if len(places) != 1:
            raise ContainerError("this bundle is not of one file system")
        ((self.fsid, self.fscid),) = places

    def read(self, name: str) -> Stored | None:
        """See `Objects`."""
        data = self._data.get(name)
        return None if data is None else Held(data, 1)

    def names(self) -> Iterator[str]:
        """See `Objects`."""
        return iter(self._data)

    def create(self, name: str, data: bytes) -> bool:
        """Refused: nothing is written into a bundle."""
        raise PermissionError(f"a bundle is not changed: {name}, {len(data)} bytes")

    def replace(self, name: str, data: bytes, version: int) -> bool:
        """Refused."""
        return self.create(name, data)

    def remove(self, name: str, version: int) -> bool:
        """Refused."""
        return self.create(name, b"")


def managers_of(boxes: Iterable[Lockbox]) -> list[str]:
    """Names of the key managers that open these."""
    return sorted({each.name for box in boxes for each in box.in_use() if each.kind == Managed.kind})


def bring_in_settings(known: register.Register, settings: Settings) -> bool:
    """Make a key manager of a bundle known that is not; False where it is already.

    Raises:
        RefusedError: there is another one of its name.
    """
    try:
        there = known.find(settings.name)
    except NoSuchKeyError:
        known.add(settings)
        return True
    if there != settings:
        raise RefusedError(
            f"key manager {settings.name} has other settings here than in the bundle; those here stand",
            remedy="Compare them with `cephfs-fscrypt kms trust`, which shows what is stored.",
        )
    return False


def bring_in(
    safe: Safe,
    box: Lockbox,
    *,
    destroyed: Callable[[str], bool] = lambda _: False,
    missing: Collection[str] = (),
) -> bool:
    """Keep a lockbox of a bundle that is missing here, as a whole or not at all; False where it is there already.

    Args:
        safe: where.
        box: which.
        destroyed: is it known elsewhere that a key of this identifier was destroyed?
        missing: places of tenants' keys that the bundle has, and that were not brought in.

    Raises:
        DestroyedError: the key was destroyed here; a bundle does not bring it back.
        RefusedError: there is another key of its name, or another key of its tenant of the same version; or the key of
            its tenant that opens it is not kept here.
        ContainerError: it is of another cluster or file system.
    """
    if box.binding != safe.binding(box.binding.tenant):
        raise ContainerError(
            f"key {box.name} is of {box.binding}",
            remedy=ELSEWHERE,
        )
    try:
        _require_tenant_key(safe, box) if box.is_tenant_key else safe.find(box.key)
    except NoSuchKeyError:
        if not box.is_tenant_key:
            if destroyed(box.key):
                raise DestroyedError(
                    f"key {box.title} was destroyed, as the manager knows, though no tombstone stands here",
                    remedy="A subtree of it can be removed; nothing can read it.",
                ) from None
            _require_openable(safe, box, missing)
        safe.add(box)
        return True
    return False


def _require_openable(safe: Safe, box: Lockbox, missing: Collection[str]) -> None:
    """A key whose tenant's key is not here would be one that nothing opens, and look as if it were whole."""
    lost = sorted(each for each in _needed(box) if not _is_kept(safe, box.binding.tenant, each, missing))
    if lost:
        raise RefusedError(
            f"key {box.title} was not brought in: {', '.join(lost)} of tenant {box.binding.tenant}, which opens it, is "
            "not here",
            remedy="Bring that in from another bundle first; other protectors open the key by "
            "`cephfs-fscrypt key recover --bundle`.",
        )


def _is_kept(safe: Safe, tenant: str, called: str, missing: Collection[str]) -> bool:
    try:
        return safe.tenant_key(tenant, int(called.rpartition(" ")[2])).place not in missing
    except (NoSuchKeyError, ContainerError):
        return False


def _needed(box: Lockbox) -> set[str]:
    """The versions of its tenant's key that open it."""
    return {
        called(version_of(each.container.header.parameters))
        for each in box.in_use()
        if each.kind == TenantKey.kind
    }


def _require_tenant_key(safe: Safe, box: Lockbox) -> None:
    there = safe.again(box)
    if not {entry.id for entry in there.entries} & {entry.id for entry in box.entries}:
        raise RefusedError(
            f"{box.key} of tenant {box.name} was made anew here: it does not open what the bundle's opens",
            remedy="`cephfs-fscrypt key recover --bundle` takes keys out of the bundle.",
        )
