"""The cache folder: what is made once and kept between runs."""

import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .report import LabError

VARIABLE = "FSCRYPT_QA_CACHE"
_DEFAULT = "/var/cache/cephfs-fscrypt-qa"


@dataclass(frozen=True)
class Cache:
    """Rootfs folders, Python environments, clusters and logs below one folder.

    `FSCRYPT_QA_CACHE` names it; everything in it can be deleted when nothing runs.
    """

    folder: Path

    @classmethod
    def from_environment(cls) -> "Cache":
        """The folder that the environment names, else the default one; it is made if need be."""
        folder = Path(os.environ.get(VARIABLE, _DEFAULT))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LabError(f"no cache folder: {error}; name a writable one in {VARIABLE}") from error
        return cls(folder.resolve())

    def place(self, *parts: str) -> Path:
        """A folder of the cache, made if it is not there."""
        path = self.folder.joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True)
        return path

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the lock NAME: one maker at a time; a dead holder holds nothing."""
        with (self.place("locks") / name).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def remove_tree(path: Path) -> None:
    """Delete a folder, never crossing into a mount (a device folder bound into it, say)."""
    subprocess.run(["rm", "-rf", "--one-file-system", str(path)], check=True)
