"""Random operations on files and trees, beside a model, in every cell of the table of doc/testing.md: in full size."""

import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.format import MasterKey
from qa.fakes.engine_cases import remove
from qa.load.cells import CELLS, Cell

from .state import main
from .workers import Cases

_SIZE = 1000
_OPERATIONS = 1000
_SECRET = bytes(range(64))


class Loads:
    """One case is one load of one cell in a subtree of its own, which stays only where something was wrong with it."""

    def __init__(self, mount: CephMount, key: Path) -> None:
        keyring = Keyring()
        self._identifier = keyring.add(MasterKey(key.read_bytes()))
        self._mount = mount
        self._files = FileSystem(mount, keyring)
        self._key = key

    def case(self, cell: Cell, chance: random.Random) -> str | None:
        """The load of this cell; what was wrong, or None."""
        subtree = f"/soak-fsx-{chance.randrange(1 << 64):016x}"
        self._files.mkdir(subtree)
        self._files.create_subtree(subtree, self._identifier)
        ran = cell.run(subtree, self._key, chance, _OPERATIONS)
        if ran.wrong is not None:
            return f"{subtree}: {ran.wrong}"
        remove(self._mount, subtree.encode())
        return None


@contextmanager
def _cases() -> Iterator[Cases]:
    with connect(Access()) as mount, tempfile.TemporaryDirectory() as folder:
        key = Path(folder, "key")
        key.touch(0o600)
        key.write_bytes(_SECRET)
        loads = Loads(mount, key)
        yield {str(cell): partial(loads.case, cell) for cell in CELLS}


if __name__ == "__main__":
    sys.exit(main("fsx", _SIZE, _cases, sys.argv[1:], operations=_OPERATIONS))
