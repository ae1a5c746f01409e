"""The typed JSON messages between the manager module, the engine service, its workers and the clients.

Plain values with a strict decoder: whatever text comes in, the answer is a value or a `MessageError`.
No message has a place for a secret.
"""

from .release import RELEASE
from .subtree import MessageError, Policy, SubtreeFacts

__all__ = ["RELEASE", "MessageError", "Policy", "SubtreeFacts"]
