"""Arguments, results and errors of a `Mount` as plain values, for `frames`, and back."""

from pathlib import Path
from typing import Any

from .. import errors
from ..access import Access
from ..errors import CephError
from ..interface import Capacity, Entry, Identity, Kind, Layout, Session, Stat

Plain = tuple[Any, ...]

_ERRORS = {
    kind.__name__: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, CephError)
}


def of_fields(value: Stat | Identity | Layout | Session | Capacity) -> Plain:
    """A value whose fields are plain, as they stand in its class."""
    return tuple(vars(value).values())


def of_entry(entry: Entry) -> Plain:
    """A name in a directory."""
    return entry.name, entry.ino, entry.kind.value


def entry_of(plain: Plain) -> Entry:
    """The way back."""
    name, ino, kind = plain
    return Entry(name, ino, Kind(kind))


def of_access(access: Access) -> dict[str, Any]:
    """How the cluster is reached, from any directory: successors start late. No secret is in it, only where one is."""
    return vars(access) | {
        "conf": access.conf_file and str(Path(access.conf_file).absolute()),
        "keyring": access.keyring and str(access.keyring.absolute()),
        "announce": dict(access.announce),
        "settings": dict(access.settings),
    }


def access_of(plain: dict[str, Any]) -> Access:
    """The way back."""
    conf, keyring = plain["conf"], plain["keyring"]
    return Access(**plain | {"conf": Path(conf) if conf else None, "keyring": keyring and Path(keyring)})


def of_error(error: CephError) -> Plain:
    """What a call raised."""
    return type(error).__name__, error.errno, error.strerror, error.filename


def error_of(plain: Plain) -> CephError:
    """The way back."""
    kind, number, text, filename = plain
    return _ERRORS[kind](number, text) if filename is None else _ERRORS[kind](number, text, filename)
