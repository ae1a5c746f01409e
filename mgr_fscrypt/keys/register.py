"""The key managers that are known on a file system: their settings, without what opens them."""

import json
from collections.abc import Iterator
from dataclasses import asdict

from .binding import TENANT
from .errors import ChangedError, ContainerError, NoSuchKeyError, RefusedError
from .kms.interface import Settings
from .objects import Objects

VERSION = 1
PREFIX = "kms."


class Register:
    """Settings by name, beside the keys."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def add(self, settings: Settings) -> None:
        """Make known.

        Raises:
            RefusedError: there is one of that name, or it is no name.
        """
        if not TENANT.fullmatch(settings.name):
            raise RefusedError("a key manager's name has 1 to 63 small letters, digits, '-', '_' and '.'")
        if not self._objects.create(place_of(settings.name), encode(settings)):
            raise RefusedError(
                f"there is a key manager {settings.name} already",
                remedy="Choose another name, or remove it first.",
            )

    def find(self, name: str) -> Settings:
        """Settings by name. Raises `NoSuchKeyError`."""
        stored = self._objects.read(place_of(name))
        if stored is None:
            raise NoSuchKeyError(f"there is no key manager {name}", remedy="See `cephfs-fscrypt kms ls`.")
        return decode(name, stored.data)

    def remove(self, name: str) -> None:
        """Forget one; what it wrapped stays wrapped. Raises `NoSuchKeyError`, `ChangedError`."""
        self.find(name)
        stored = self._objects.read(place_of(name))
        if stored is not None and not self._objects.remove(place_of(name), stored.version):
            raise ChangedError(f"somebody else changed {name} at the same time", remedy="Run it again.")

    def __iter__(self) -> Iterator[Settings]:
        for name in sorted(each for each in self._objects.names() if each.startswith(PREFIX)):
            yield self.find(name.removeprefix(PREFIX))


def place_of(name: str) -> str:
    """Name of the object that the settings of a key manager are kept in."""
    return PREFIX + name


def encode(settings: Settings) -> bytes:
    """The bytes that are stored."""
    return json.dumps({"kind": "kms", "version": VERSION, "settings": asdict(settings)}, indent=1).encode()


def decode(name: str, data: bytes) -> Settings:
    """Read them. Raises `ContainerError`: they are damaged, or another one's."""
    try:
        value = json.loads(data)
        known = (value["kind"], value["version"]) == ("kms", VERSION)
        settings = Settings(**value["settings"])
        texts = [
            *(each for key, each in asdict(settings).items() if key != "options"),
            *settings.options.values(),
        ]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ContainerError(
            f"the settings of key manager {name} cannot be read ({type(error).__name__})"
        ) from error
    if not known or settings.name != name or not all(isinstance(each, str) for each in texts):
        raise ContainerError(f"the settings of key manager {name} are not as they are written")
    return settings
