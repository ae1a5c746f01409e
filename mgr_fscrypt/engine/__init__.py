"""The encrypted file system on CephFS.

`FileSystem` is the way in: give it a mount (`ceph.connect.connect`) and a `Keyring`. Everything here depends on the
`Mount` protocol only, so it can be read and tested without Ceph's bindings.
"""

from ..format import Mode
from .attributes import Attributes
from .directories import DirEntry, NameKind
from .disk_cache import DiskCache
from .errors import (
    BusyError,
    DamagedError,
    EngineError,
    LockedError,
    NotFencedError,
    RefusedError,
)
from .files import File
from .filesystem import FileSystem
from .inodes import FileMode
from .kernel_names import KernelNames
from .keyring import Keyring
from .modes import Problem, Report
from .prospects import Prospect, State, Wish
from .subtrees import Subtree, policy_of

__all__ = [
    "Attributes",
    "BusyError",
    "DamagedError",
    "DirEntry",
    "DiskCache",
    "EngineError",
    "File",
    "FileMode",
    "FileSystem",
    "KernelNames",
    "Keyring",
    "LockedError",
    "Mode",
    "NameKind",
    "NotFencedError",
    "Problem",
    "Prospect",
    "RefusedError",
    "Report",
    "State",
    "Subtree",
    "Wish",
    "policy_of",
]
