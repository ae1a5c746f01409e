"""What an MDS tells of the entries of a directory that it has in its cache (`dump dir PATH --dentry_dump`)."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any


def alternate_names(fragments: Sequence[Mapping[str, Any]]) -> dict[bytes, bytes]:
    """The alternate names of the entries that have one, by their names; what is told in another shape is left out."""
    found = {}
    for fragment in fragments:
        for entry in fragment.get("dentries", ()):
            name = entry.get("path", "").rpartition("/")[2].encode("utf-8", "surrogateescape")
            try:
                alternate = base64.b64decode(entry.get("alternate_name", ""), validate=True)
            except binascii.Error:
                continue
            if alternate:
                found[name] = alternate
    return found
