"""Who copies and compares for a migration that is a job."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from ...format import MasterKey
from ...migrate import Verdict
from ...migrate.pace import Limits
from ...migrate.shards import Hands
from ...migrate.turns import Turn


class Crew(Protocol):
    """What a migration has others for."""

    def hands(
        self, keys: Sequence[MasterKey], count: int, turn: Turn, limits: Limits
    ) -> AbstractContextManager[Hands]:
        """So many who copy, each no faster than `limits`; they have let go of both trees when it is closed."""
        ...

    def compare(
        self,
        path: bytes,
        keys: Sequence[MasterKey],
        count: int,
        told: Callable[[Verdict], None],
        *,
        manifest: bool = False,
    ) -> Verdict:
        """Have so many compare what is migrated at `path`; `told` and `manifest` as `proving.compared` has them, and
        what is raised."""
        ...
