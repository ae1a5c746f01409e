"""Migrations whose processes are killed at random moments: in full size."""

import random
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.errors import ExistsError, SessionLostError
from mgr_fscrypt.migrate import Direction
from qa.load.migration_kills import Killed, drawn

from .state import main
from .workers import Cases

_SIZE = 300
_MOST = 3
"""Kills in one migration."""


def case(home: bytes, direction: Direction, chance: random.Random) -> str | None:
    """One migration in a directory of its own, which stays only where something was wrong with it."""
    migrated = Killed(home, f"migrated-{chance.randrange(1 << 64):016x}".encode(), direction)
    if wrong := migrated.run([drawn(chance) for _ in range(chance.randint(1, _MOST))]):
        return f"{wrong} ({migrated.root.decode()})"
    return None


@contextmanager
def _cases() -> Iterator[Cases]:
    home = f"/soak-migrate-{uuid.uuid4().hex[:16]}".encode()
    _make(home)
    yield {direction.value: partial(case, home, direction) for direction in Direction}


def _make(home: bytes) -> None:
    """Others, who are at work already, may take the client that does it for a stranger, and evict it."""
    while True:
        try:
            with connect(Access()) as mount:
                mount.mkdir(home, 0o755)
                mount.sync()
        except SessionLostError:
            continue
        except ExistsError:
            pass
        return


if __name__ == "__main__":
    sys.exit(main("migrate", _SIZE, _cases, sys.argv[1:]))
