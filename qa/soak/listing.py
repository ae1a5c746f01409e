"""A directory of a million entries is listed as a stream, in bounded memory."""

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.format import MasterKey
from qa.load.listing import FIRST_ENTRY, MOST_MEMORY, OF_OURS, SECRET, fill, judge, listed, listed_plain

from .state import main
from .workers import Cases

_SIZE = 1
_ENTRIES = 1_000_000


def case(files: FileSystem, chance: random.Random) -> str | None:
    """One directory, which stays: to remove it would take as long as to make it, and its cluster goes."""
    top = f"/soak-listing-{chance.randrange(1 << 64):016x}"
    fill(files, top, _ENTRIES)
    found, plain = listed(top, _ENTRIES), listed_plain(top)
    sys.stderr.write(f"listing: {found}; libcephfs alone had {plain >> 20} MiB\n")
    late = None if found.first < FIRST_ENTRY else f"the first entry came after {found.first:.1f} s"
    return judge(found, _ENTRIES, max(MOST_MEMORY, plain + OF_OURS)) or late


@contextmanager
def _cases() -> Iterator[Cases]:
    keyring = Keyring()
    keyring.add(MasterKey(SECRET))
    with connect(Access()) as mount, FileSystem(mount, keyring) as files:
        yield {"entries": lambda chance: case(files, chance)}


if __name__ == "__main__":
    sys.exit(main("listing", _SIZE, _cases, sys.argv[1:], operations=_ENTRIES))
