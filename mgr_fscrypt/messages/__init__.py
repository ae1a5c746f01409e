"""The typed JSON messages between the manager module, the engine service, its workers and the clients.

Plain values with a strict decoder: whatever text comes in, the answer is a value or a `MessageError`.
No message has a place for a secret.
"""

from .key import BY_TENANT, KeyFacts, ProtectorFacts
from .release import RELEASE
from .strict import MessageError
from .subtree import Policy, SubtreeFacts
from .tenant import TenantFacts

__all__ = [
    "BY_TENANT",
    "RELEASE",
    "KeyFacts",
    "MessageError",
    "Policy",
    "ProtectorFacts",
    "SubtreeFacts",
    "TenantFacts",
]
