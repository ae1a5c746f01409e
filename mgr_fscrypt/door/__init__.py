"""The commands `ceph fscrypt NOUN VERB`, a file for each noun. What they mean is decided in `control`.

Each noun is a class, and whoever gives the commands inherits from all: `module.Module` for ceph-mgr, `api.desk.ApiDesk`
for the API. A method that is a command carries its help as docstring, which ``ceph fscrypt -h`` prints.
"""

from .api import ApiCommands
from .audit import AuditCommands
from .clients import ClientCommands
from .destructions import DestructionCommands
from .doctor import DoctorCommands
from .gates import GateCommands
from .history import HistoryCommands
from .jobs import JobCommands
from .key_lines import KeyLineCommands
from .keys import KeyCommands
from .kms import KmsCommands
from .metrics import MetricsCommands
from .migrate import MigrateCommands
from .resources import ResourceCommands
from .scan import ScanCommands
from .service import ServiceCommands
from .subtrees import SubtreeCommands
from .tenants import TenantCommands

__all__ = ["Commands"]


class Commands(
    SubtreeCommands,
    KeyCommands,
    KeyLineCommands,
    KmsCommands,
    TenantCommands,
    ServiceCommands,
    JobCommands,
    ClientCommands,
    GateCommands,
    DoctorCommands,
    MetricsCommands,
    HistoryCommands,
    MigrateCommands,
    ScanCommands,
    AuditCommands,
    ResourceCommands,
    ApiCommands,
    DestructionCommands,
):
    """All of them."""
