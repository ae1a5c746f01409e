"""Directories that are listed before their entries are looked at one by one.

A listing tells libcephfs all of an entry's attributes, hundreds at a time. Whoever has not listed a directory asks the
MDS for each entry by itself, which takes half a millisecond.
"""

from collections import Counter, deque
from collections.abc import Iterable
from contextlib import closing, suppress
from itertools import islice

from .trees import Tree

_MANY = 8
"""Entries of a directory in one shard, from which on it is listed first."""
_AHEAD = 1024
"""Entries that are listed of it, at most: there may be any number, of which a shard is a small part."""


class Ahead:
    """What one process lists of one tree; shards that follow each other share a directory."""

    def __init__(self) -> None:
        self._listed: bytes | None = None

    def look(self, tree: Tree, top: bytes, entries: Iterable[bytes]) -> None:
        """List the directories that many of these entries lie in, which are paths below the top.

        What keeps one from being listed is told of its entries, by whoever looks at them next.
        """
        in_each = Counter(below.rpartition(b"/")[0] for below in entries)
        for above, count in in_each.items():
            if count < _MANY or above == self._listed:
                continue
            self._listed = above
            with suppress(OSError), closing(tree.scandir(top + above)) as listing:
                deque(islice(listing, _AHEAD), maxlen=0)
