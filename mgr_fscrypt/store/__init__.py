"""Where control keeps its state: SQLite, in ceph-mgr through libcephsqlite, elsewhere in a file or memory.

The state is an index: the truth about what is encrypted is on the inodes.
"""

from .acts import FIRST, Act, ActTable, Kept
from .database import Database, Joined, LocalDatabase, NewerSchemaError, NotReadyError, prepare
from .destructions import Destruction, DestructionTable
from .evictions import Ended, Eviction, EvictionTable
from .gates import Gate, GatedCaps, GateTable
from .identities import Identity, IdentityTable
from .keys import Key, KeyTable
from .left_migrations import LeftMigration, LeftMigrationTable
from .measures import COARSE, COARSE_KEPT, FINE, FINE_KEPT, Measure, MeasureTable
from .ordering import OWN, Order, Spot
from .subtrees import ALL, Found, Place, Subtree, SubtreeTable, Wanted
from .tenants import Tenant, TenantTable

__all__ = [
    "ALL",
    "COARSE",
    "COARSE_KEPT",
    "FINE",
    "FINE_KEPT",
    "FIRST",
    "OWN",
    "Act",
    "ActTable",
    "Database",
    "Destruction",
    "DestructionTable",
    "Ended",
    "Eviction",
    "EvictionTable",
    "Found",
    "Gate",
    "GateTable",
    "GatedCaps",
    "Identity",
    "IdentityTable",
    "Joined",
    "Kept",
    "Key",
    "KeyTable",
    "LeftMigration",
    "LeftMigrationTable",
    "LocalDatabase",
    "Measure",
    "MeasureTable",
    "NewerSchemaError",
    "NotReadyError",
    "Order",
    "Place",
    "Spot",
    "Subtree",
    "SubtreeTable",
    "Tenant",
    "TenantTable",
    "Wanted",
    "prepare",
]
