"""What opens a key manager: one file of the caller's own in the directory for them, JSON with text fields.

Settings lie in the cluster, where whoever may write them could have the credentials sent to an address of their own. So
a file says itself, in its field `for`, for which settings it is used.
"""

import json
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from ..errors import KmsSettingsError
from ..private_files import AbsentFileError, UnsafeFileError, read_private, replace_private
from .interface import Settings

_LIMIT = 64 * 1024
_WHAT = "credentials file"
_FOR = "for"
_TRUST = "`cephfs-fscrypt kms trust {name}` shows the settings that are stored, and pins them on this host"


class Standing(Enum):
    """What a credentials file on this host says of settings."""

    ABSENT = "there is no such file"
    UNPINNED = "it does not say for which settings it is"
    PINNED = "it is for these settings"
    ELSEWHERE = "it is for other settings"


def standing(directory: Path, settings: Settings) -> Standing:
    """Whether the file that settings name is used for them.

    Raises:
        KmsSettingsError: it is not safe, or not of its form.
    """
    file = _beside(directory, settings.credentials)
    if not file.exists():
        return Standing.ABSENT
    pin = _document(file).get(_FOR)
    if pin is None:
        return Standing.UNPINNED
    return Standing.PINNED if pin == _pin_of(settings) else Standing.ELSEWHERE


def trust(directory: Path, settings: Settings) -> None:
    """Have the file that settings name used for them, and for no others from now on.

    Raises:
        KmsSettingsError: it is not there, not safe, or not of its form; or settings name none.
        OSError: it cannot be written; it is as it was.
    """
    file = _beside(directory, settings.credentials)
    document = {**_document(file), _FOR: _pin_of(settings)}
    replace_private(file, json.dumps(document, indent=1).encode() + b"\n")


class Credentials:
    """The fields of one credentials file, and the files that lie beside it. Shows none of them."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        """Read the file that `settings` name; where they name none, there are no fields.

        Raises:
            KmsSettingsError: it is not there, not safe, not of its form, or not for these settings.
        """
        self._directory = directory
        self._name = settings.credentials
        self._fields = _fields_for(_beside(directory, self._name), settings) if self._name else {}

    def __repr__(self) -> str:
        return f"Credentials({self._name!r})"

    def get(self, field: str) -> str | None:
        """A field, if the file has it."""
        return self._fields.get(field)

    def require(self, field: str) -> str:
        """A field that must be there.

        Raises:
            KmsSettingsError: it is not.
        """
        found = self._fields.get(field)
        if not found:
            where = (
                f"{_WHAT} {self._directory / self._name}" if self._name else "settings without credentials"
            )
            raise KmsSettingsError(
                f"{where}: there is no {field!r}", remedy=f"doc/kms.md lists the fields; add {field!r}"
            )
        return found

    def only(self, *fields: str) -> None:
        """Hold that there are no fields but these: a misspelt one would be left out silently.

        Raises:
            KmsSettingsError: there are.
        """
        others = sorted(set(self._fields) - set(fields))
        if others:
            raise KmsSettingsError(
                f"{_WHAT} {self._directory / self._name} has fields that this kind does not know: {', '.join(others)}",
                remedy=f"it knows {', '.join(fields) or 'none'}",
            )

    def secrets(self) -> list[str]:
        """All values, to keep them out of messages."""
        return [value for value in self._fields.values() if value]

    def private_file(self, field: str) -> Path:
        """The file beside, of the caller's alone, that a field names.

        Raises:
            KmsSettingsError: it is not there, or not safe.
        """
        file = _beside(self._directory, self.require(field))
        _read(file, "private key")
        return file

    def public_file(self, name: str) -> Path:
        """A file beside with nothing secret in it, such as certificates.

        Raises:
            KmsSettingsError: it is not there.
        """
        file = _beside(self._directory, name)
        if not file.is_file():
            raise KmsSettingsError(
                f"there is no file {file}",
                remedy="put the certificates there, in the form PEM, or correct the name",
            )
        return file


def _fields_for(file: Path, settings: Settings) -> dict[str, str]:
    document = _document(file)
    pin = document.pop(_FOR, None)
    if pin is None:
        raise KmsSettingsError(
            f"{_WHAT} {file} does not say for which settings it is, so nothing was sent to {settings.name}",
            remedy=_TRUST.format(name=settings.name),
        )
    wanted = _pin_of(settings)
    if pin != wanted:
        raise KmsSettingsError(
            f"{_WHAT} {file} is for another {_differing(pin, wanted)} than key manager {settings.name} has in the "
            "cluster: somebody changed its settings, or it is another one's file. Nothing was sent",
            remedy=f"find out who changed them, and why; {_TRUST.format(name=settings.name)}",
        )
    return {name: str(value) for name, value in document.items()}


def _pin_of(settings: Settings) -> dict[str, object]:
    """All but what we call it, and the file itself: that decides where credentials go, and to what."""
    return {
        "kind": settings.kind,
        "address": settings.address,
        "key": settings.key,
        "options": dict(settings.options),
    }


def _differing(pin: object, wanted: Mapping[str, object]) -> str:
    """In which of its parts, in words."""
    found = pin if isinstance(pin, Mapping) else {}
    return " and ".join(name for name in wanted if found.get(name) != wanted[name]) or "form"


def _document(file: Path) -> dict[str, object]:
    """What is in a credentials file: text fields, and perhaps what it is for."""
    try:
        found = json.loads(_read(file, _WHAT))
    except ValueError:
        # the error would quote what is in it
        found = None
    if not isinstance(found, dict) or not all(
        isinstance(value, str) for name, value in found.items() if name != _FOR
    ):
        raise KmsSettingsError(
            f"{_WHAT} {file} is not a JSON object of text fields", remedy="doc/kms.md shows one for each kind"
        )
    return found


def _beside(directory: Path, name: str) -> Path:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise KmsSettingsError(
            f"{name!r} is not the name of a file in {directory}", remedy="give a name without a directory"
        )
    return directory / name


def _read(file: Path, what: str) -> bytes:
    try:
        return read_private(file, what, limit=_LIMIT)
    except AbsentFileError as error:
        raise KmsSettingsError(
            str(error), remedy="make it with mode 0600; doc/kms.md shows one for each kind"
        ) from None
    except UnsafeFileError as error:
        raise KmsSettingsError(str(error), remedy=error.remedy) from None
