"""When the cluster's health has to tell about us, and how."""

from collections.abc import Callable

from .results import Result
from .values import Simplified

DATABASE = "FSCRYPT_DATABASE"
GRACE = 60.0
"""Seconds without a database before health tells: OSDs take their time after a start."""


class DatabaseWatch:
    """Turns what the database answers now and then into a health check.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._answered = clock()

    def checks(self, state: Result) -> Simplified:
        """Give the health checks, as ceph-mgr takes them, after one more answer of the database."""
        if state.success:
            self._answered = self._clock()
        silent = self._clock() - self._answered
        if silent < GRACE:
            return {}
        return {
            DATABASE: {
                "severity": "warning",
                "summary": "the fscrypt module's database does not answer: no subtree can be listed",
                "count": 1,
                "detail": [
                    f"for {silent:.0f} s: {state.status}",
                    "encrypted files stay usable; see `ceph osd stat`",
                ],
            }
        }
