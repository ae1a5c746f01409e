"""What a node needs to open a key by key managers of its own accord: wrapped containers, and how these are reached."""

import threading
from dataclasses import replace

from ..custody import Custody
from ..keys import bundle
from ..keys.errors import KeyStoreError, NoSuchKeyError, RefusedError
from ..keys.kms import Settings
from ..keys.lockbox import Lockbox, State
from ..keys.managed import Managed
from ..keys.tenant_key import TenantKey, version_of
from ..messages.service import LONGEST_BUNDLE, Bundled, BundleQuestion
from ..reported import kms_facts
from .clock import Clock

FORGOTTEN = 5.0
"""Seconds after which it is forgotten where nobody comes for it: the command that asked has ended by then."""
MOST = 20
"""That are asked for at a time."""
_READING = Bundled("reading")


class Handouts:
    """What is asked for, until the command that asked comes for it once. For any threads; in memory alone."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._turn = threading.Lock()
        self._found: dict[BundleQuestion, tuple[Bundled, float]] = {}

    def take(self, asked: BundleQuestion) -> Bundled:
        """It, if it was read; else it is wanted from now on."""
        with self._turn:
            self._forget()
            found, _ = self._found.get(asked, (None, 0.0))
            if found is not None and found is not _READING:
                del self._found[asked]
                return found
            if found is None and len(self._found) >= MOST:
                return Bundled("failed", "too many others ask for what nodes need")
            if found is None:
                self._found[asked] = (_READING, self._clock.now())
        return _READING

    def read(self, custody: Custody) -> None:
        """Read all that is wanted."""
        with self._turn:
            self._forget()
            wanted = [asked for asked, (found, _) in self._found.items() if found is _READING]
        for asked in wanted:
            self._put(asked, for_node(custody, asked))

    def fail(self, why: str) -> None:
        """What is wanted cannot be read."""
        with self._turn:
            wanted = [asked for asked, (found, _) in self._found.items() if found is _READING]
        for asked in wanted:
            self._put(asked, Bundled("failed", why))

    def _put(self, asked: BundleQuestion, found: Bundled) -> None:
        with self._turn:
            self._found[asked] = (found, self._clock.now())

    def _forget(self) -> None:
        now = self._clock.now()
        self._found = {each: found for each, found in self._found.items() if now - found[1] < FORGOTTEN}


def for_node(custody: Custody, asked: BundleQuestion) -> Bundled:
    """Read it, and note in the audit of keys that it was given out: `key destroy` lists it among what it cannot reach.

    No protector that people open is in it: a node has no business with these.
    """
    if custody.safe.home[1] != asked.fscid:
        return Bundled("refused", "the engine service works for another file system")
    try:
        box = custody.safe.find(asked.key_identifier)
        with custody.keeper.told("export-bundle", f"{box.title} for a node"):
            boxes = _needed(custody, box)
            managers = _settings(custody, boxes)
            text = bundle.encode(boxes, managers).decode()
            if len(text) > LONGEST_BUNDLE:
                raise RefusedError(f"what opens key {box.name} is too much for one answer")
    except KeyStoreError as error:
        return Bundled("refused", f"{error}; {error.remedy}" if error.remedy else str(error))
    return Bundled("read", "", text, tuple(map(kms_facts, managers)))


def _needed(custody: Custody, box: Lockbox) -> list[Lockbox]:
    """The key and the versions of its tenant's key that open it, with no other protectors. Raises `KeyStoreError`."""
    if box.state is not State.ACTIVE:
        raise RefusedError(f"key {box.name} is {box.state.value}: it opens for nobody")
    wraps = tuple(entry for entry in box.in_use() if entry.kind == TenantKey.kind)
    versions = sorted({version_of(entry.container.header.parameters) for entry in wraps})
    tenants = [custody.safe.tenant_key(box.binding.tenant, version) for version in versions]
    if not bundle.managers_of(tenants):
        raise NoSuchKeyError(
            f"no key manager opens key {box.name}",
            remedy=f"Wrap it under the key of its tenant with `cephfs-fscrypt key add {box.name} --with kms`.",
        )
    opened = [
        replace(each, entries=tuple(entry for entry in each.in_use() if entry.kind == Managed.kind))
        for each in tenants
    ]
    return [replace(box, entries=wraps), *opened]


def _settings(custody: Custody, boxes: list[Lockbox]) -> list[Settings]:
    """Of the key managers that open these. Raises `NoSuchKeyError`: one is not known any more."""
    return [custody.kms.find(name) for name in bundle.managers_of(boxes)]
