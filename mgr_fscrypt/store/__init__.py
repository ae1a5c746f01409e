"""Where control keeps its state: SQLite, in ceph-mgr through libcephsqlite, elsewhere in a file or memory.

The state is an index: the truth about what is encrypted is on the inodes.
"""

from .database import Database, LocalDatabase, NewerSchemaError, NotReadyError, prepare
from .gates import Gate, GatedCaps, GateTable
from .keys import Key, KeyTable
from .subtrees import Subtree, SubtreeTable

__all__ = [
    "Database",
    "Gate",
    "GateTable",
    "GatedCaps",
    "Key",
    "KeyTable",
    "LocalDatabase",
    "NewerSchemaError",
    "NotReadyError",
    "Subtree",
    "SubtreeTable",
    "prepare",
]
