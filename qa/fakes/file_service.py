"""The engine service with keys out of files in the place of a key manager.

`python -m qa.fakes.file_service DIRECTORY ARGUMENT...`: a key lies in DIRECTORY under its identifier. While there is a
file `down`, this key manager cannot be reached.
"""

import shlex
import sys
from pathlib import Path

from mgr_fscrypt.format import MasterKey
from mgr_fscrypt.service.program import main
from mgr_fscrypt.service.unlocking import Unlocked, UnlockError

ROOT = Path(__file__).resolve().parents[2]


def interpreter(directory: Path, keys: Path, *more: str) -> Path:
    """Something in `directory` that ceph-mgr can take for the interpreter of its child: a service with these keys, that
    is told `more`."""
    for each in (directory.parent.parent, directory.parent, directory):
        each.chmod(0o755)
    script = directory / "python"
    words = shlex.join([sys.executable, "-m", "qa.fakes.file_service", str(keys), *more])
    # the first three words are -P -m mgr_fscrypt.service
    script.write_text(f'#!/bin/sh\nshift 3\ncd {ROOT}\nexec {words} "$@"\n')
    script.chmod(0o755)
    return script


class FileUnlocker:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def unlock(self, identifier: bytes) -> Unlocked:
        if (self._directory / "down").exists():
            raise UnlockError("no answer", kind="KmsUnreachableError", backend="files", again=True)
        try:
            secret = (self._directory / identifier.hex()).read_bytes()
        except FileNotFoundError as error:
            raise UnlockError("no such key", kind="NoSuchKeyError", backend="files") from error
        return Unlocked(MasterKey(secret), "files")


if __name__ == "__main__":
    sys.exit(main(sys.argv[2:], FileUnlocker(Path(sys.argv[1]))))
