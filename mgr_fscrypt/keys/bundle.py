"""A bundle: wrapped keys in one file, to be kept off site, used without a cluster, and brought back.

It holds what the cluster holds and nothing more: whoever has it and one protector's secret can read the data. Version 2
has the settings of key managers, too, without credentials; version 1 had lockboxes only.
"""

import base64
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from . import register
from .container import ELSEWHERE
from .errors import ChangedError, ContainerError, NoSuchKeyError, RefusedError
from .kms.interface import Settings
from .lockbox import Lockbox, decode
from .managed import Managed
from .objects import Held, Stored
from .safe import Safe
from .tenant_key import TenantKey, called, version_of

VERSION = 2
_HOLDS = {1: "lockboxes", 2: "objects"}
"""What each version calls what it holds: base64 by the name of the object that it was kept in."""
_KIND = "key bundle"
_LARGEST = 64 << 20


def encode(boxes: Iterable[Lockbox], kms: Iterable[Settings] = ()) -> bytes:
    """A bundle of these, and of the settings of key managers.

    Raises:
        ChangedError: a key needs a version of its tenant's key that is not among them: it was rotated meanwhile.
    """
    boxes = list(boxes)
    kept = {(box.binding, box.key) for box in boxes if box.is_tenant_key}
    for box in boxes:
        needed = {
            called(version_of(each.container.header.parameters))
            for each in box.in_use()
            if each.kind == TenantKey.kind
        }
        if any((box.binding, each) not in kept for each in needed):
            raise ChangedError(
                f"what opens key {box.name} for tenant {box.binding.tenant} is not kept any more; no bundle was made",
                remedy="Run it again; if this stays, name the other keys.",
            )
    objects = {box.place: box.encode() for box in boxes}
    objects |= {register.place_of(each.name): register.encode(each) for each in kms}
    held = {place: base64.b64encode(data).decode() for place, data in objects.items()}
    return json.dumps({"kind": _KIND, "version": VERSION, _HOLDS[VERSION]: held}, indent=1).encode()


def decoded(data: bytes) -> list[Lockbox]:
    """The lockboxes of a bundle. Raises `ContainerError`: it is none, damaged, or newer than this release."""
    boxes = [decode(each) for place, each in _objects(data).items() if not _is_settings(place)]
    found = [box for box in boxes if isinstance(box, Lockbox)]
    if len(found) != len(boxes):
        raise ContainerError("in a bundle of keys lies something else")
    return found


def settings_in(data: bytes) -> list[Settings]:
    """The settings of key managers that a bundle has. Raises as `decoded`."""
    return [
        register.decode(place.removeprefix(register.PREFIX), each)
        for place, each in _objects(data).items()
        if _is_settings(place)
    ]


def _objects(data: bytes) -> dict[str, bytes]:
    try:
        value = json.loads(data[:_LARGEST])
        holds = _HOLDS.get(value["version"]) if value["kind"] == _KIND else None
        if holds is None:
            raise ContainerError("this is no bundle of keys of a version that this release knows")
        return {place: base64.b64decode(each, validate=True) for place, each in value[holds].items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ContainerError(f"this is no bundle of keys ({type(error).__name__})") from error


def _is_settings(place: str) -> bool:
    return place.startswith(register.PREFIX)


class BundleObjects:
    """A bundle as `Objects`, to be read only: what opens a key on the cluster opens it here.

    Attributes:
        fsid, fscid: the cluster and the file system that it is of.

    Raises:
        ContainerError: it is no bundle, or empty.
    """

    def __init__(self, file: Path) -> None:
        data = file.read_bytes()
        boxes = decoded(data)
        self._data = {box.place: box.encode() for box in boxes}
        self._data |= {register.place_of(each.name): register.encode(each) for each in settings_in(data)}
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


def bring_in(safe: Safe, box: Lockbox) -> bool:
    """Keep a lockbox of a bundle that is missing here; False where it is there already.

    Raises:
        DestroyedError: the key was destroyed here; a bundle does not bring it back.
        RefusedError: there is another key of its name, or another key of its tenant of the same version.
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
        safe.add(box)
        return True
    return False


def _require_tenant_key(safe: Safe, box: Lockbox) -> None:
    there = next((each for each in safe.tenant_keys(box.binding.tenant) if each.key == box.key), None)
    if there is None:
        raise NoSuchKeyError(f"{box.key} of {box.name} is not kept here")
    if not {entry.id for entry in there.entries} & {entry.id for entry in box.entries}:
        raise RefusedError(
            f"{box.key} of tenant {box.name} was made anew here: it does not open what the bundle's opens",
            remedy="`cephfs-fscrypt key recover --bundle` takes keys out of the bundle.",
        )
