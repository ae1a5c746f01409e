"""The kinds of jobs that the service knows; what one is, is told by `service.jobs.interface`."""

from ..jobs import Kind
from .changing import Hold, Release
from .creating import Create
from .looking import Look
from .place import Reach
from .removing import Remove
from .verify import Verify


def kinds_of(reach: Reach) -> tuple[Kind, ...]:
    """All of them, on the file system that `reach` connects to."""
    return (Create(reach), Release(reach), Hold(reach), Remove(reach), Look(reach), Verify(reach))
