"""When the cluster's health has to tell about us, and how."""

from collections.abc import Callable, Sequence

from .keys import KeyLine
from .results import Result
from .text import moment, one_line
from .values import Simplified

DATABASE = "FSCRYPT_DATABASE"
EXPIRING = "FSCRYPT_KEY_EXPIRING"
UNTESTED = "FSCRYPT_RECOVERY_UNTESTED"
AHEAD = 30 * 86400
"""Seconds before a key expires at which health begins to tell."""
_NAMED = 20
"""Keys that a check names; it counts all."""
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


def key_checks(keys: Sequence[KeyLine], now: float) -> Simplified:
    """Give the health checks about keys that were reported: those that expire, and those nobody knows can be recovered.

    Args:
        keys: those that may be meant, or more: see `Keys.due`.
        now: seconds since the epoch.
    """
    living = [key for key in keys if key.state in ("active", "disabled")]
    expiring = [key for key in living if 0 < key.expires <= now + AHEAD]
    untested = [key for key in living if 0 < key.drill_due <= now]
    found = {
        EXPIRING: (
            expiring,
            "{} master keys are to be replaced within 30 days, or late",
            [f"key {key.name} of {key.tenant} on {key.fs_name}: {moment(key.expires)}" for key in expiring],
            "encrypt their data anew under other keys, or set another day with `cephfs-fscrypt key expire`",
        ),
        UNTESTED: (
            untested,
            "the recovery drill of {} master keys is overdue",
            [
                f"key {key.name} of {key.tenant} on {key.fs_name}: since {moment(key.drill_due)}"
                for key in untested
            ],
            "do it with `cephfs-fscrypt key drill KEY PROTECTOR --open ...`",
        ),
    }
    return {
        code: {
            "severity": "warning",
            "summary": summary.format(len(keys_)),
            "count": len(keys_),
            "detail": [*map(one_line, detail[:_NAMED]), remedy],
        }
        for code, (keys_, summary, detail, remedy) in found.items()
        if keys_
    }
