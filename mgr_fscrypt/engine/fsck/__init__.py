"""Finding what is damaged, interrupted or half made in a subtree, and repairing what can be (doc/fsck.md).

`Fsck` is one run; `Finding`, `Code`, `Severity` and `Repair` are what it speaks in.
"""

from .contents import ObjectExtents
from .findings import Code, Finding, Repair, Severity
from .run import PATIENCE, Fsck

__all__ = ["PATIENCE", "Code", "Finding", "Fsck", "ObjectExtents", "Repair", "Severity"]
