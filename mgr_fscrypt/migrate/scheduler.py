"""Where those are known who copy on other hosts."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Scheduler:
    """A scheduler of Dask's, and what both ends of a connection show each other.

    Attributes:
        address: `tls://HOST:PORT`.
        authority, certificate, key: files in the form PEM.
    """

    address: str
    authority: Path
    certificate: Path
    key: Path
