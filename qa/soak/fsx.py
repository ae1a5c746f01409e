"""One file under random operations, beside a model: engine and mount in turn, in full size."""

import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.format import MasterKey
from qa.load.fsx import EngineFile, PathFile, Sequence
from qa.load.mounted import mounted

from .state import main

_SIZE = 1000
_OPERATIONS = 1000
_SECRET = bytes(range(64))
_SUBTREE = "/soak-fsx"


class Sequences:
    """One case is one sequence on a new file, which stays only where something was wrong with it."""

    def __init__(self, files: FileSystem, place: Path) -> None:
        self._files = files
        self._place = place

    def case(self, chance: random.Random) -> str | None:
        name = f"{chance.randrange(1 << 64):016x}"
        through_mount = chance.random() < 0.5
        path = f"{_SUBTREE}/{name}".encode()
        file = PathFile(self._place / name) if through_mount else EngineFile(self._files, path)
        wrong = Sequence(file, chance).run(_OPERATIONS)
        file.close()
        if wrong is not None:
            return f"{'mount' if through_mount else 'engine'}, {name}: {wrong}"
        self._files.unlink(path)
        return None


@contextmanager
def _sequences() -> Iterator[Sequences]:
    key = MasterKey(_SECRET)
    keyring = Keyring()
    keyring.add(key)
    with connect(Access()) as mount, tempfile.TemporaryDirectory() as folder:
        files = FileSystem(mount, keyring)
        if not files.exists(_SUBTREE):
            files.mkdir(_SUBTREE)
        files.create_subtree(_SUBTREE, key.identifier)
        secret, place = Path(folder, "key"), Path(folder, "mount")
        secret.touch(0o600)
        secret.write_bytes(_SECRET)
        place.mkdir()
        with mounted(_SUBTREE, place, secret):
            yield Sequences(files, place)


if __name__ == "__main__":
    with _sequences() as sequences:
        sys.exit(main("fsx", _SIZE, sequences.case, sys.argv[1:]))
