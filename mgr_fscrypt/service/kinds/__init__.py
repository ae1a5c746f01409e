"""The kinds of jobs that the service knows; what one is, is told by `service.jobs.interface`."""

from ..jobs import Kind
from .changing import Hold, Release
from .creating import Create
from .crew import Crew
from .looking import Look
from .migrated import Cancel, Compare, Purge, Rollback
from .migrated import Look as MigrateLook
from .migrating import Migrate, MigratePlan
from .place import Reach
from .removing import Remove
from .scan import FindingsReach, Scan
from .verify import Verify


def kinds_of(reach: Reach, findings: FindingsReach, crew: Crew) -> tuple[Kind, ...]:
    """All of them.

    Args:
        reach: connects to the file system that they work on.
        findings: connects to where scans keep what they find.
        crew: copies and compares for migrations.
    """
    return (
        Create(reach),
        Release(reach),
        Hold(reach),
        Remove(reach),
        Look(reach),
        Verify(reach),
        Scan(reach, findings),
        MigratePlan(reach),
        Migrate(reach, crew),
        Compare(reach, crew),
        Rollback(reach, crew),
        Purge(reach),
        Cancel(reach),
        MigrateLook(reach),
    )
