"""The kinds of jobs that the service knows; what one is, is told by `service.jobs.interface`."""

from ..jobs import Kind
from .changing import Hold, Release
from .creating import Create
from .looking import Look
from .place import Reach
from .removing import Remove
from .scan import FindingsReach, Scan
from .verify import Verify


def kinds_of(reach: Reach, findings: FindingsReach) -> tuple[Kind, ...]:
    """All of them.

    Args:
        reach: connects to the file system that they work on.
        findings: connects to where scans keep what they find.
    """
    return (
        Create(reach),
        Release(reach),
        Hold(reach),
        Remove(reach),
        Look(reach),
        Verify(reach),
        Scan(reach, findings),
    )
