"""The rootfs's own /usr, and odd files, migrated under users that have it mounted: in full size."""

import json
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from qa.load.migrated_tree import Journey

from .state import main
from .workers import Cases

_SPARSE = 3 << 30


def case(chance: random.Random) -> str | None:
    """One migration; its figures are told."""
    home = f"/soak-tree-{chance.randrange(1 << 64):016x}"
    journey = Journey(home.encode(), None, _SPARSE)
    try:
        wrong = journey.run()
    finally:
        sys.stderr.write(f"migrate_tree: {json.dumps(journey.told)}\n")
    return wrong and f"{wrong} ({home})"


@contextmanager
def _cases() -> Iterator[Cases]:
    yield {"encrypt": case}


if __name__ == "__main__":
    sys.exit(main("migrate_tree", 1, _cases, sys.argv[1:]))
