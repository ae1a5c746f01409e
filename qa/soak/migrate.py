"""Migrations whose processes are killed at random moments: in full size."""

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.migrate import Direction
from qa.fakes.engine_cases import remove
from qa.load.migration_kills import Killed, drawn

from .state import main
from .workers import Cases

_SIZE = 300
_MOST = 3
"""Kills in one migration."""


def case(direction: Direction, chance: random.Random) -> str | None:
    """One migration in a directory of its own, which stays only where something was wrong with it."""
    top = f"/soak-migrate-{chance.randrange(1 << 64):016x}".encode()
    migrated = Killed(top, direction)
    if wrong := migrated.run([drawn(chance) for _ in range(chance.randint(1, _MOST))]):
        return f"{wrong} ({top.decode()})"
    with connect(Access()) as mount:
        remove(mount, top)
    return None


@contextmanager
def _cases() -> Iterator[Cases]:
    yield {direction.value: partial(case, direction) for direction in Direction}


if __name__ == "__main__":
    sys.exit(main("migrate", _SIZE, _cases, sys.argv[1:]))
