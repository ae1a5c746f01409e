"""When the cluster's health has to tell about us, and how."""

from collections.abc import Callable, Sequence

from ..messages.job import JobBrief, Jobs
from ..messages.service import RotationState
from .keys import KeyLine
from .raised import NAMED, Warned, raised
from .results import Result
from .tenants import TenantLine
from .text import moment, one_line, shell_word
from .values import Simplified

DATABASE = "FSCRYPT_DATABASE"
EXPIRING = "FSCRYPT_KEY_EXPIRING"
UNTESTED = "FSCRYPT_RECOVERY_UNTESTED"
ROTATION = "FSCRYPT_ROTATION_OVERDUE"
AHEAD = 30 * 86400
"""Seconds before a key expires at which health begins to tell."""
LATE = 86400
"""Seconds after which a rotation that is due is overdue: the service has tried several times by then."""
JOB_FAILED = "FSCRYPT_JOB_FAILED"
JOB_WAITING = "FSCRYPT_JOB_WAITING"
LONG = 60.0
"""Seconds that a job waits for a key or a cluster before health tells: most outages are shorter."""
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


def expiring_keys(keys: Sequence[KeyLine], now: float) -> list[KeyLine]:
    """Those that are to be replaced within `AHEAD`, or late."""
    return [key for key in _living(keys) if 0 < key.expires <= now + AHEAD]


def untested_keys(keys: Sequence[KeyLine], now: float) -> list[KeyLine]:
    """Those whose recovery drill is overdue."""
    return [key for key in _living(keys) if 0 < key.drill_due <= now]


def key_checks(keys: Sequence[KeyLine], now: float) -> Simplified:
    """Give the health checks about keys that were reported: those that expire, and those nobody knows can be recovered.

    Args:
        keys: those that may be meant, or more: see `Keys.due`.
        now: seconds since the epoch.
    """
    expiring, untested = expiring_keys(keys, now), untested_keys(keys, now)
    found = {
        EXPIRING: Warned(
            "{} master keys are to be replaced within 30 days, or late",
            [f"key {key.name} of {key.tenant} on {key.fs_name}: {moment(key.expires)}" for key in expiring],
            "encrypt their data anew under other keys, or set another day with `cephfs-fscrypt key expire`",
        ),
        UNTESTED: Warned(
            "the recovery drill of {} master keys is overdue",
            [
                f"key {key.name} of {key.tenant} on {key.fs_name}: since {moment(key.drill_due)}"
                for key in untested
            ],
            "do it with `cephfs-fscrypt key drill KEY PROTECTOR --open ...`",
        ),
    }
    return raised(found)


def rotation_checks(late: Sequence[TenantLine], states: Sequence[RotationState]) -> Simplified:
    """Give the health check about tenants' keys whose rotation is overdue.

    Args:
        late: those that it tells of: see `Tenants.due` with `LATE`.
        states: what the engine service tells of them.
    """
    if not late:
        return {}
    errors = {(state.fscid, state.facts.tenant): state for state in states if state.error}
    detail = [_overdue(line, errors.get((line.fscid, line.tenant))) for line in late[:NAMED]]
    return {
        ROTATION: {
            "severity": "warning",
            "summary": f"the rotation of {len(late)} tenants' keys is overdue",
            "count": len(late),
            "detail": detail,
        }
    }


def job_checks(jobs: Jobs, now: float) -> Simplified:
    """Give the health checks about jobs that failed, and that wait for what somebody may have to see to.

    Args:
        jobs: as the engine service told of them.
        now: seconds since the epoch.
    """
    failed = [job for job in jobs.told if job.state == "failed"]
    waiting = [job for job in jobs.told if job.state == "waiting" and job.since <= now - LONG]
    found = {
        JOB_FAILED: Warned(
            "{} jobs failed",
            _told_of(failed),
            "see `ceph fscrypt job show JOB`; then `job resume JOB`, or drop its record with `job forget JOB`",
            count=jobs.failed,
        ),
        JOB_WAITING: Warned(
            "{} jobs wait for a key or for the cluster",
            _told_of(waiting),
            "they go on by themselves once they can; `ceph fscrypt job pause JOB` or `job cancel JOB` ends the waiting",
        ),
    }
    return raised(found)


def _told_of(jobs: Sequence[JobBrief]) -> list[str]:
    return [f"job {job.id}, {job.kind} {job.about}: {job.why}" for job in jobs]


def _living(keys: Sequence[KeyLine]) -> list[KeyLine]:
    return [key for key in keys if key.state in ("active", "disabled")]


def _overdue(line: TenantLine, state: RotationState | None) -> str:
    command = f"cephfs-fscrypt tenant rotate {shell_word(line.tenant)} --fs {shell_word(line.fs_name)}"
    if not line.managers:
        why = "no key manager opens it, so the engine service cannot"
    elif line.others:
        why = f"{', '.join(line.others)} must be given by people, so the engine service cannot"
    elif state is None:
        why = "no engine service has done it, see `ceph fscrypt service status`"
    else:
        why = f"the engine service could not since {moment(state.since)}: {state.error}"
    return one_line(
        f"tenant {line.tenant} on {line.fs_name}: since {moment(line.due)}; {why}; run `{command}`"
    )
