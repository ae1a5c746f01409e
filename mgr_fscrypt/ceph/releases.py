"""Which releases of Ceph this program writes to.

Measured on 18.2.7 and 20.2.4 (doc/facts.md). Below 18 the fscrypt attributes answer EINVAL. Above 20 setting
`ceph.fscrypt.file` truncates the file: nothing may be written before that is handled.
"""

import errno
import re
from collections.abc import Iterable
from dataclasses import dataclass

from .errors import UnsupportedReleaseError

OLDEST = 18
NEWEST = 20


@dataclass(frozen=True, order=True)
class Release:
    """A version of Ceph, such as 20.2.4."""

    major: int
    minor: int = 0
    patch: int = 0

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @classmethod
    def parse(cls, text: str) -> "Release":
        """From a line such as `ceph version 20.2.4 (7f79...) tentacle (stable)`.

        Raises:
            ValueError: no version stands in it.
        """
        found = re.search(r"\b(\d+)\.(\d+)\.(\d+)", text)
        if found is None:
            raise ValueError(f"no Ceph version in {text!r}")
        return cls(*(int(part) for part in found.groups()))


def require_usable(library: Release, servers: Iterable[Release]) -> None:
    """Refuse what is too old to hold the encryption attributes.

    Raises:
        UnsupportedReleaseError: libcephfs or an MDS is below 18.
    """
    for what, release in _named(library, servers):
        if release.major < OLDEST:
            raise UnsupportedReleaseError(
                errno.EOPNOTSUPP,
                f"{what} is Ceph {release}; encryption needs {OLDEST} or newer. Nothing was changed. "
                f"Upgrade it, then try again",
            )


def require_writable(library: Release, servers: Iterable[Release]) -> None:
    """Refuse to write through, or to, a release that was not proven.

    Raises:
        UnsupportedReleaseError: libcephfs or an MDS is below 18 or above 20.
    """
    require_usable(library, (servers := tuple(servers)))
    for what, release in _named(library, servers):
        if release.major > NEWEST:
            raise UnsupportedReleaseError(
                errno.EROFS,
                f"{what} is Ceph {release}; this program writes to Ceph {OLDEST} to {NEWEST} only. "
                f"Nothing was changed, and reading works. Install a newer cephfs-fscrypt to write",
            )


def _named(library: Release, servers: Iterable[Release]) -> list[tuple[str, Release]]:
    return [("libcephfs here", library), *(("an MDS of the cluster", release) for release in servers)]
