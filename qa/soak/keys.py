"""Keepers of keys killed at random moments: in full size."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from mgr_fscrypt.ceph.access import Access
from qa.load.key_kills import keeper, kill

from .state import main
from .workers import Cases

_SIZE = 500


@contextmanager
def _cases() -> Iterator[Cases]:
    with keeper(Access()) as survivor:
        yield {"kills": partial(kill, survivor)}


if __name__ == "__main__":
    sys.exit(main("keys", _SIZE, _cases, sys.argv[1:]))
