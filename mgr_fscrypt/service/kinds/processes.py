"""Processes of the service's host that copy and compare for migrations, and end with it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from ...ceph.access import Access
from ...format import MasterKey
from ...migrate import Verdict
from ...migrate.pace import Limits
from ...migrate.proving import compared
from ...migrate.shards import Hands
from ...migrate.turns import Turn
from ...migrate.workers import workers


class Processes:
    """A `Crew`."""

    def __init__(self, access: Access) -> None:
        """They connect by this."""
        self._access = access

    def hands(
        self, keys: Sequence[MasterKey], count: int, turn: Turn, limits: Limits
    ) -> AbstractContextManager[Hands]:
        """See `Crew`."""
        return workers(self._access, keys, count, turn, limits)

    def compare(
        self,
        path: bytes,
        keys: Sequence[MasterKey],
        count: int,
        told: Callable[[Verdict], None],
        *,
        manifest: bool = False,
    ) -> Verdict:
        """See `Crew`."""
        return compared(self._access, path, keys, told, manifest=manifest, workers=count)
