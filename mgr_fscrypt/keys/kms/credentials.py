"""What opens a key manager: one file of the caller's own in the directory for them, JSON with text fields."""

import json
from pathlib import Path

from ..errors import KmsSettingsError
from ..private_files import AbsentFileError, UnsafeFileError, read_private
from .interface import Settings

_LIMIT = 64 * 1024
_WHAT = "credentials file"


class Credentials:
    """The fields of one credentials file, and the files that lie beside it. Shows none of them."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        """Read the file that `settings` name; where they name none, there are no fields.

        Raises:
            KmsSettingsError: it is not there, not safe, or not of its form.
        """
        self._directory = directory
        self._name = settings.credentials
        self._fields = self._read() if settings.credentials else {}

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

    def _read(self) -> dict[str, str]:
        file = _beside(self._directory, self._name)
        try:
            fields = json.loads(_read(file, _WHAT))
        except ValueError:
            # the error would quote what is in it
            fields = None
        if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
            raise KmsSettingsError(
                f"{_WHAT} {file} is not a JSON object of text fields",
                remedy="doc/kms.md shows one for each kind",
            )
        return fields


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
