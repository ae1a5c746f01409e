"""The commands `ceph fscrypt NOUN VERB`, a file for each noun. What they mean is decided in `control`.

Each noun is a class that `module.Module` inherits from; a method that is a command carries its help as docstring,
which ``ceph fscrypt -h`` prints.
"""

from .api import ApiCommands
from .audit import AuditCommands
from .clients import ClientCommands
from .destructions import DestructionCommands
from .doctor import DoctorCommands
from .gates import GateCommands
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

__all__ = [
    "ApiCommands",
    "AuditCommands",
    "ClientCommands",
    "DestructionCommands",
    "DoctorCommands",
    "GateCommands",
    "JobCommands",
    "KeyCommands",
    "KeyLineCommands",
    "KmsCommands",
    "MetricsCommands",
    "MigrateCommands",
    "ResourceCommands",
    "ScanCommands",
    "ServiceCommands",
    "SubtreeCommands",
    "TenantCommands",
]
