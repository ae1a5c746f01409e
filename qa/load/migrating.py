"""``python3 -m qa.load.migrating ROOT DIRECTION WORKERS``: one whole migration of what is `/tree` of that root, by a
process that can be killed. It says each step as it begins."""

import os
import sys
from functools import partial

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.migrate import Copied, Direction, Migration, State, copying
from mgr_fscrypt.migrate.workers import workers
from qa.fakes.migration_cases import KEYS, Subject, file_system

from .migration_kills import way_of

SHARD = 8
"""Entries: so small a tree has several."""


def main(root: str, direction: str, count: int) -> None:
    """Begin, or go on with what another one left."""
    copying.BATCH = SHARD
    access, way = Access(root=os.fsencode(root)), way_of(Direction(direction))
    hands = partial(workers, access, list(KEYS.values()), count) if count else None
    with connect(access) as mount, file_system(mount) as files:
        migration = Migration(mount, files, way.path, lambda step: print(step.value, flush=True), hands=hands)
        if migration.start(way, "").state is State.COPYING:
            migration.converge(Copied())
            migration.cut_over(Copied(), Subject(mount, files, way).verify, evict=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
