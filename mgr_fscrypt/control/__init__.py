"""The brain: what is encrypted where, decided without knowing ceph-mgr, Ceph's bindings or any cipher.

Everything outside comes in as a `Protocol`; every answer is a `Result`, never an exception.
"""

from .audit import ActLine, ActPage, ActStore, Audit, AuditWatch, Verdict
from .cluster import FileSystem, FileSystemMap
from .keys import KeyLine, KeyPage, Keys, KeyStore
from .refusal import RefusalError
from .resources import Applied, Declared, Outcome, Resources
from .results import Result
from .subtree_detail import SubtreeDetail
from .subtrees import Subtrees, SubtreeStore
from .tenants import TenantLine, TenantPage, Tenants, TenantStore
from .values import FileSystemCount, Overview, Simplified, SubtreeLine, SubtreePage

__all__ = [
    "ActLine",
    "ActPage",
    "ActStore",
    "Applied",
    "Audit",
    "AuditWatch",
    "Declared",
    "FileSystem",
    "FileSystemCount",
    "FileSystemMap",
    "KeyLine",
    "KeyPage",
    "KeyStore",
    "Keys",
    "Outcome",
    "Overview",
    "RefusalError",
    "Resources",
    "Result",
    "Simplified",
    "SubtreeDetail",
    "SubtreeLine",
    "SubtreePage",
    "SubtreeStore",
    "Subtrees",
    "TenantLine",
    "TenantPage",
    "TenantStore",
    "Tenants",
    "Verdict",
]
