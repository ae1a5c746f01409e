"""The brain: what is encrypted where, decided without knowing ceph-mgr, Ceph's bindings or any cipher.

Everything outside comes in as a `Protocol`; every answer is a `Result`, never an exception.
"""

from .cluster import FileSystem, FileSystemMap
from .keys import KeyLine, KeyPage, Keys, KeyStore
from .results import Result
from .subtrees import Subtrees, SubtreeStore
from .values import FileSystemCount, Overview, Simplified, SubtreeLine, SubtreePage

__all__ = [
    "FileSystem",
    "FileSystemCount",
    "FileSystemMap",
    "KeyLine",
    "KeyPage",
    "KeyStore",
    "Keys",
    "Overview",
    "Result",
    "Simplified",
    "SubtreeLine",
    "SubtreePage",
    "SubtreeStore",
    "Subtrees",
]
